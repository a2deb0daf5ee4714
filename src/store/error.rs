//! The one error of this room.

use super::highwater::Mark;
use std::io;

/// Why a record was not read, or a batch not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An earlier failure made the store read-only, and this is why. Reads go on.
    #[error("the store is read-only: {0}")]
    Failed(String),
    /// A record is there and cannot be trusted.
    #[error("damaged: {record}: {why}")]
    Damaged {
        /// Which record or file, in words (`item "a" of collection 3`).
        record: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another process holds the directory.
    #[error("{0}: already open by another process")]
    Locked(String),
    /// A newer version wrote the directory, and this one cannot read it.
    #[error(
        "the data needs a reader of schema {found} or later, this version knows schema {supported}: \
         start a newer version"
    )]
    Newer {
        /// What the directory asks for.
        found: u32,
        /// What this version knows.
        supported: u32,
    },
    /// Less was recovered than was acknowledged: commits are missing from the end.
    #[error(
        "acknowledged up to {acknowledged}, recovered only up to {recovered}: what lies between \
         is missing. To go on without it, delete the file `highwater`"
    )]
    Behind {
        /// What the database holds.
        recovered: Mark,
        /// What it held when last asked.
        acknowledged: Mark,
    },
    /// A step to a newer schema failed.
    #[error("migration {number} ({name}): {why}")]
    Migration {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// What went wrong.
        why: String,
    },
    /// A record does not fit.
    #[error("{record}: {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Which record.
        record: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A batch speaks of a record that is not there.
    #[error("{0} does not exist")]
    Missing(String),
    /// A number is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What came back.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: what was tried, beside what came back.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn damaged(record: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged {
            record: record.into(),
            why: why.into(),
        }
    }
}
