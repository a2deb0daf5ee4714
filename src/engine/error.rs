//! What can go wrong, with its data; text and gRPC codes are made at the edge.

use crate::domain::Invalid;
use crate::domain::calibration::Shortage;
use crate::encoder::{ImageError, PoolError};
use crate::store;
use std::fmt;

/// The kinds of thing that can be missing or already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A collection, by name.
    Collection,
    /// An item, by id.
    Item,
    /// A label.
    Label,
    /// A model version.
    Model,
    /// A collection's calibration, by the collection's name.
    Calibration,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collection => "collection",
            Self::Item => "item",
            Self::Label => "label",
            Self::Model => "model",
            Self::Calibration => "calibration",
        })
    }
}

/// Why the engine refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be accepted.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An image cannot be accepted; `field` is where it stood.
    #[error("{field}: {error}")]
    Image {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        error: ImageError,
    },
    /// There is no such thing.
    #[error("there is no {resource} named {name:?}")]
    NotFound {
        /// What kind of thing.
        resource: Resource,
        /// Its name.
        name: String,
    },
    /// The name is taken.
    #[error("there is already a {resource} named {name:?}")]
    AlreadyExists {
        /// What kind of thing.
        resource: Resource,
        /// Its name.
        name: String,
    },
    /// A vector was made by another model than the collection's.
    #[error(
        "the collection {collection:?} pins the model {pinned:?}, which is not loaded; this server has {loaded:?}"
    )]
    ModelMismatch {
        /// The collection.
        collection: String,
        /// Its model version.
        pinned: String,
        /// The server's.
        loaded: String,
    },
    /// Only a calibration can answer that.
    #[error(
        "{asked}: the collection {collection:?} {}: calibrate it (CalibrateCollection)",
        match void {
            None => "is not calibrated".to_owned(),
            Some((of, now)) => format!("was calibrated for the model {of}, and has {now} now"),
        }
    )]
    NotCalibrated {
        /// The field.
        asked: String,
        /// The collection.
        collection: String,
        /// The model of the calibration it keeps, and its own now, where they differ.
        void: Option<(String, String)>,
    },
    /// There are too few labels for a target rate.
    #[error(transparent)]
    TooFew(#[from] Shortage),
    /// A queue is full: try again later.
    #[error("{queue} is full; try again in a moment")]
    Busy {
        /// Which queue.
        queue: &'static str,
    },
    /// There may be no more of these.
    #[error("there are {limit} {what} already, and no more are allowed")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The answer would be larger than a message may be.
    #[error("the answer would be larger than {limit} bytes; ask for fewer results or less of each")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The disk failed: reads go on, writes are refused until a restart.
    #[error("the store is read-only since a write to disk failed: {0}")]
    ReadOnly(String),
    /// The engine is shutting down.
    #[error("the server is shutting down")]
    Closed,
    /// A fault of ours or of the disk.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// Nothing of this kind has this name.
    pub fn not_found(resource: Resource, name: impl Into<String>) -> Self {
        Self::NotFound {
            resource,
            name: name.into(),
        }
    }

    /// The same failure, for another of those whose writes were committed together.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::ReadOnly(why) => Self::ReadOnly(why.clone()),
            other => Self::Internal(other.to_string()),
        }
    }

    /// An embedding failure, about the image at `field`.
    pub(super) fn embedding(field: &str, error: PoolError) -> Self {
        match error {
            PoolError::Image(error) => Self::Image {
                field: field.to_owned(),
                error,
            },
            PoolError::Busy { .. } => Self::Busy {
                queue: "the encoder's queue",
            },
            PoolError::Closed => Self::Closed,
            PoolError::Failed(why) => Self::Internal(why),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Failed(why) => Self::ReadOnly(why),
            other => Self::Internal(other.to_string()),
        }
    }
}
