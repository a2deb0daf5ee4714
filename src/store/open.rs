//! Opening a directory, and what can keep it read-only.

use super::commit::{Barrier, Committer};
use super::dir::Dir;
use super::disk::{Disk, LOCKED};
use super::highwater::{Highwater, Mark};
use super::migrations::{self, Migration};
use super::{Error, codec};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, OnceLock, RwLock};

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for pages of the database, in bytes. sled may take somewhat more.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
        }
    }
}

/// One directory of records, held by this process alone.
///
/// Reads run beside commits and may see one that is applied and not yet durable.
pub struct Store {
    pub(super) disk: Disk,
    /// Held while a batch is applied: a record in chunks is read between two batches.
    pub(super) applying: RwLock<()>,
    pub(super) committer: Mutex<Committer>,
    pub(super) failed: OnceLock<String>,
    /// Held while a segment's number is taken, and while segments are swept.
    pub(super) segments_gate: Mutex<()>,
    /// Last, so that the lock is let go after the database is closed.
    pub(super) dir: Dir,
}

impl Store {
    /// Opens a directory, or makes one, and brings it up to date.
    ///
    /// # Errors
    /// Held by another process, written by a newer version, damaged, or not to be read or
    /// written at all. A directory that recovered less than it had acknowledged opens
    /// read-only: see [`Store::failed`].
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        Self::open_with(dir, options, migrations::ALL, None)
    }

    /// Where it lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// [`Store::open`] with other migrations, and a barrier that may fail.
    pub(super) fn open_with(
        dir: &Path,
        options: &Options,
        steps: &[Migration],
        barrier: Option<Barrier>,
    ) -> Result<Self, Error> {
        let dir = Dir::take(dir)?;
        let disk = open_database(&dir, options)?;
        dir.check_blobs()?;
        let barrier = match barrier {
            Some(barrier) => barrier,
            None => data_barrier(&dir)?,
        };
        let (highwater, acknowledged) = Highwater::open(&dir.highwater())?;
        dir.sync()?;
        let store = Self {
            disk,
            applying: RwLock::new(()),
            committer: Mutex::new(Committer::new(barrier, highwater)),
            failed: OnceLock::new(),
            segments_gate: Mutex::new(()),
            dir,
        };
        store.admit(acknowledged, steps)?;
        Ok(store)
    }

    /// Decides whether the directory may be read and written, and writes what is due.
    fn admit(&self, acknowledged: Mark, steps: &[Migration]) -> Result<(), Error> {
        let known = steps.last().map_or(0, |step| step.number);
        let schema = migrations::schema(self, known)?;
        let recovered = Mark {
            commit: self.meta(codec::COMMIT)?.unwrap_or(0),
            sequence: self.meta(codec::SEQUENCE)?.unwrap_or(0),
        };
        if recovered.commit < acknowledged.commit {
            let behind = Error::Behind {
                recovered,
                acknowledged,
            };
            if schema != known {
                return Err(behind);
            }
            self.fail(behind.to_string());
            return Ok(());
        }
        if schema > known {
            self.fail(format!(
                "a newer version wrote the data (schema {schema}); this one knows schema {known} \
                 and may only read"
            ));
            return Ok(());
        }
        self.start_from(recovered)?;
        migrations::run(self, steps)?;
        self.condemn_unpublished()
    }
}

/// Opens sled's files; where that fails, once more without its snapshots.
fn open_database(dir: &Dir, options: &Options) -> Result<Disk, Error> {
    let first = match Disk::open(&dir.db(), options.cache_bytes) {
        Ok(disk) => return Ok(disk),
        Err(why) => why,
    };
    if first.contains(LOCKED) {
        return Err(Error::Locked(dir.db().display().to_string()));
    }
    let damaged = |why| Error::damaged(dir.data().display().to_string(), why);
    if dir.set_snapshots_aside()? == 0 {
        return Err(damaged(first));
    }
    tracing::warn!(why = first, "the snapshot was unreadable and is set aside");
    Disk::open(&dir.db(), options.cache_bytes).map_err(|why| damaged(format!("{first}; {why}")))
}

/// What makes a commit durable.
fn data_barrier(dir: &Dir) -> Result<Barrier, Error> {
    let path = dir.data();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Error::io(path.display().to_string()))?;
    Ok(Box::new(move || file.sync_data()))
}
