//! sled, behind the guard: no panic comes out, and what was torn is not written further.

use super::boundary::guarded;
use super::{Error, keys};
use sled::IVec;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pages larger than a quarter of this leave the database file. Fixed for good: sled refuses
/// a directory made with another.
const SEGMENT_BYTES: usize = 8 << 20;

/// What sled says of a file that is still locked, and how long that is waited for.
pub(crate) const LOCKED: &str = "could not acquire lock";
const PATIENCE: Duration = Duration::from_secs(5);

/// The database.
pub(crate) struct Disk {
    /// `None` only while dropping.
    db: Option<sled::Db>,
    torn: AtomicBool,
    /// What stood where the last commit, which failed, wrote.
    before: OnceLock<Standing>,
}

/// Keys, and what stands there.
pub(crate) type Standing = BTreeMap<Vec<u8>, Option<IVec>>;

impl Disk {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, String> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .use_compression(false)
            // Our own barrier follows every flush; a background one would only hide failures.
            .flush_every_ms(None);
        let begun = Instant::now();
        let db = loop {
            match guarded(|| config.open())?.map_err(|e| e.to_string()) {
                // The directory is ours by a lock of our own: a thread of sled's has not yet let
                // go of the database that was closed before.
                Err(why) if why.contains(LOCKED) && begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => break opened?,
            }
        };
        Ok(Self {
            db: Some(db),
            torn: AtomicBool::new(false),
            before: OnceLock::new(),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, String> {
        let db = self.db.as_ref().ok_or("the store is closing")?;
        guarded(|| f(db))?.map_err(|e| e.to_string())
    }

    /// The value at a key, not yet verified.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>, Error> {
        if let Some(stood) = self.before.get().and_then(|before| before.get(key)) {
            return Ok(stood.clone());
        }
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
        let range = (start, end);
        let before = self.before.get().map(|before| {
            let stood = before.range(range.clone());
            let stood = stood.map(|(key, value)| (key.clone(), value.clone()));
            stood.collect()
        });
        let inner = self
            .with(|db| Ok(db.range::<Vec<u8>, _>(range)))
            .map_err(Some);
        Scan {
            inner,
            at: prefix.to_vec(),
            before: before.unwrap_or_default(),
            ahead: None,
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

    /// Shows from now on what stood there before: a batch was applied that does not count.
    pub(crate) fn look_back(&self, before: Standing) {
        self.before.get_or_init(|| before);
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
    /// What stood in the range before a commit that failed.
    before: VecDeque<(Vec<u8>, Option<IVec>)>,
    /// The record read last, while others come before it.
    ahead: Option<(IVec, IVec)>,
}

impl Iterator for Scan {
    type Item = Result<(IVec, IVec), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = match self.ahead.take() {
                Some(record) => Some(record),
                None => match self.read() {
                    Some(Err(e)) => return Some(Err(e)),
                    next => next.and_then(Result::ok),
                },
            };
            let Some((key, _)) = self.before.front() else {
                return next.map(Ok);
            };
            match next {
                Some((at, value)) if at.as_ref() < key.as_slice() => return Some(Ok((at, value))),
                Some((at, _)) if at.as_ref() == key.as_slice() => {}
                later => self.ahead = later,
            }
            if let Some((key, Some(value))) = self.before.pop_front() {
                return Some(Ok((key.into(), value)));
            }
        }
    }
}

impl Scan {
    /// The next record of the database.
    fn read(&mut self) -> Option<Result<(IVec, IVec), Error>> {
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
