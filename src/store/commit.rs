//! One commit at a time: applied, flushed, synced, then acknowledged.

use super::disk::Standing;
use super::frame::{self, MAX_KEY, MAX_VALUE};
use super::highwater::{Highwater, Mark};
use super::keys::{self, Space};
use super::{Batch, Error, Store, codec};
use std::io;
use std::sync::{MutexGuard, PoisonError};

/// Makes what was flushed durable.
pub(crate) type Barrier = Box<dyn FnMut() -> io::Result<()> + Send>;

/// Commits between two looks at what should not be there.
const LOOK_EVERY: u64 = 64;

/// What belongs to the one who commits.
pub(crate) struct Committer {
    barrier: Barrier,
    highwater: Highwater,
    mark: Mark,
}

impl Committer {
    pub(crate) fn new(barrier: Barrier, highwater: Highwater) -> Self {
        Self {
            barrier,
            highwater,
            mark: Mark::default(),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // The mark may lag; it does no harm if this fails.
        let _ = self.highwater.sync();
    }
}

impl Store {
    /// Writes a batch: when this returns, all of it is on disk.
    ///
    /// # Errors
    /// Before anything is written: [`Error::TooLarge`], [`Error::Missing`] for a segment that
    /// was never put, [`Error::Damaged`] where the batch touches what cannot be read. After:
    /// [`Error::Failed`], and from then on always; whether the batch is kept is then unknown
    /// until the next start, all or nothing.
    pub fn commit(&self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut committer = self.committer()?;
        let sequence = batch.sequence();
        let writes = self.prepare(batch)?;
        self.write(&mut committer, writes, sequence)
    }

    /// Why the store is read-only, if it is.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.failed.get().cloned()
    }

    pub(super) fn fail(&self, why: String) -> Error {
        Error::Failed(self.failed.get_or_init(|| why).clone())
    }

    /// The right to commit.
    pub(super) fn committer(&self) -> Result<MutexGuard<'_, Committer>, Error> {
        let committer = self.hold();
        match self.failed.get() {
            None => Ok(committer),
            Some(why) => Err(Error::Failed(why.clone())),
        }
    }

    /// Keeps commits away for as long as it is held.
    pub(super) fn hold(&self) -> MutexGuard<'_, Committer> {
        self.committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the count of commits, and makes durable what was recovered.
    pub(super) fn start_from(&self, mark: Mark) -> Result<(), Error> {
        let mut committer = self.hold();
        committer.mark = mark;
        self.disk
            .flush()
            .and_then(|()| (committer.barrier)().map_err(|e| e.to_string()))
            .map_err(|why| self.fail(why))
    }

    /// Turns changes of records into changes of values, and fails where that cannot be done.
    fn prepare(&self, batch: Batch) -> Result<Vec<Write>, Error> {
        let mut writes = Vec::with_capacity(batch.len() + 1);
        for (key, body) in batch.writes {
            let space = Space::of(&key);
            self.admit_write(space, &key, body.as_deref())?;
            if space.is_some_and(Space::chunked) {
                for old in self.disk.scan(&keys::chunks(&key), None) {
                    writes.push((old?.0.to_vec(), None));
                }
            }
            let Some(body) = body else {
                writes.push((key, None));
                continue;
            };
            let (value, chunks) = frame::split(&key, &body);
            // Later writes to one key win, so new chunks come after the removal of old ones.
            writes.extend(chunks.into_iter().map(|(key, value)| (key, Some(value))));
            writes.push((key, Some(value)));
        }
        Ok(writes)
    }

    fn admit_write(
        &self,
        space: Option<Space>,
        key: &[u8],
        body: Option<&[u8]>,
    ) -> Result<(), Error> {
        let too_large = |bytes, limit| {
            Err(Error::TooLarge {
                record: keys::describe(key),
                bytes,
                limit,
            })
        };
        if key.len() > MAX_KEY {
            return too_large(key.len(), MAX_KEY);
        }
        let Some(body) = body else { return Ok(()) };
        if body.len() > frame::MAX_BODY && !space.is_some_and(Space::chunked) {
            return too_large(body.len(), MAX_VALUE);
        }
        if space == Some(Space::Segment) {
            let (collection, segment) = (keys::number_at(key, 1)?, keys::number_at(key, 9)?);
            self.publishable(collection, segment)?;
        }
        Ok(())
    }

    /// Writes values: the only way to the disk. `sequence`: if the writes set one. Where it
    /// fails, readers see again what they saw before.
    pub(super) fn write(
        &self,
        committer: &mut Committer,
        writes: Vec<Write>,
        sequence: Option<u64>,
    ) -> Result<(), Error> {
        let mark = Mark {
            commit: committer.mark.commit + 1,
            sequence: sequence.unwrap_or(committer.mark.sequence),
        };
        let before = self.before(&writes)?;
        if let Err(why) = self.make_durable(committer, writes, mark) {
            let failed = self.fail(why);
            let _applying = self
                .applying
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.disk.look_back(before);
            return Err(failed);
        }
        committer.mark = mark;
        Ok(())
    }

    /// What stands where these writes will. A page that cannot be read is found now, and not
    /// halfway through the batch.
    fn before(&self, writes: &[Write]) -> Result<Standing, Error> {
        let keys = writes.iter().map(|(key, _)| key);
        keys.map(|key| Ok((key.clone(), self.disk.get(key)?)))
            .collect()
    }

    fn make_durable(
        &self,
        committer: &mut Committer,
        writes: Vec<Write>,
        mark: Mark,
    ) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let key = keys::named(Space::Meta, codec::COMMIT.as_bytes());
        let count = frame::whole(&key, &mark.commit.to_le_bytes());
        batch.insert(key, count);
        {
            let _applying = self
                .applying
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.disk.apply(batch)?;
        }
        self.disk.flush()?;
        (committer.barrier)().map_err(|e| format!("sync of the database file: {e}"))?;
        if mark.commit.is_multiple_of(LOOK_EVERY) {
            self.dir.check_blobs().map_err(|e| e.to_string())?;
        }
        committer
            .highwater
            .set(mark)
            .map_err(|e| format!("high-water mark: {e}"))
    }
}

/// A key and its new value; `None` removes.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);
