//! sled, behind the guard: no panic comes out, and what was torn is not written further.

use super::boundary::guarded;
use super::{Error, keys};
use sled::IVec;
use std::ops::Bound;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pages larger than a quarter of this leave the database file. Fixed for good: sled refuses
/// a directory made with another.
const SEGMENT_BYTES: usize = 8 << 20;

/// The database.
pub(crate) struct Disk {
    /// `None` only while dropping.
    db: Option<sled::Db>,
    torn: AtomicBool,
    /// Why it can no longer be read.
    lost: OnceLock<String>,
}

impl Disk {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .use_compression(false)
            // Our own barrier follows every flush; a background one would only hide failures.
            .flush_every_ms(None);
        let db = guarded(|| config.open())?.map_err(|e| e.to_string())?;
        Ok(Self {
            db: Some(db),
            torn: AtomicBool::new(false),
            lost: OnceLock::new(),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, String> {
        let db = self.db.as_ref().ok_or("the store is closing")?;
        if let Some(why) = self.lost.get() {
            return Err(why.clone());
        }
        guarded(|| f(db))?.map_err(|e| e.to_string())
    }

    /// The value at a key, not yet verified.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>, Error> {
        self.with(|db| db.get(key))
            .map_err(|why| Error::damaged(keys::describe(key), why))
    }

    /// Keys that begin with `prefix`, ascending, from the first after `after`.
    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> Scan {
        let start = match after {
            Some(after) => Bound::Excluded(after.to_vec()),
            None => Bound::Included(prefix.to_vec()),
        };
        let end = match beyond(prefix) {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        let inner = self
            .with(|db| Ok(db.range::<Vec<u8>, _>((start, end))))
            .map_err(Some);
        Scan {
            inner,
            at: prefix.to_vec(),
        }
    }

    /// Applies a batch, all or nothing, and hands it to the operating system.
    pub(crate) fn apply(&self, batch: sled::Batch) -> Result<(), String> {
        let applied = self.with(|db| db.apply_batch(batch));
        if applied.is_err() {
            // A part of it may stand in the log, without what makes it one.
            self.torn.store(true, Ordering::Release);
        }
        applied
    }

    /// Answers nothing any more: what stands there is not what was committed.
    pub(crate) fn give_up(&self, why: String) {
        self.lost.get_or_init(|| why);
    }

    pub(crate) fn flush(&self) -> Result<(), String> {
        self.with(|db| db.flush().map(drop))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let db = self.db.take();
        if self.torn.load(Ordering::Acquire) {
            // Closing would write out half a batch; the process had better end.
            std::mem::forget(db);
        } else if let Err(why) = guarded(|| drop(db)) {
            tracing::warn!(why, "closing the database");
        }
    }
}

/// The first key after all those that begin with `prefix`.
fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut beyond = prefix[..=last].to_vec();
    beyond[last] += 1;
    Some(beyond)
}

/// Records in the order of their keys, not yet verified. After an error it ends.
pub(crate) struct Scan {
    inner: Result<sled::Iter, Option<String>>,
    at: Vec<u8>,
}

impl Iterator for Scan {
    type Item = Result<(IVec, IVec), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let why = match &mut self.inner {
            Err(why) => why.take()?,
            Ok(iter) => match guarded(|| iter.next()) {
                Ok(None) => return None,
                Ok(Some(Ok((key, value)))) => {
                    key.as_ref().clone_into(&mut self.at);
                    return Some(Ok((key, value)));
                }
                Ok(Some(Err(e))) => e.to_string(),
                Err(why) => why,
            },
        };
        self.inner = Err(None);
        let record = format!("what follows {}", keys::describe(&self.at));
        Some(Err(Error::damaged(record, why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_a_prefix() {
        assert_eq!(beyond(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(beyond(&[1, 255]), Some(vec![2]));
        assert_eq!(beyond(&[255]), None);
    }
}
