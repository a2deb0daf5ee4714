//! Index segments: written in pieces, published in one step, removed in pieces.
//!
//! A segment is seen from when the manifest names it. Its bytes are written before that, and
//! removed after it is named no more; what a crash leaves between is swept.

use super::commit::Write;
use super::frame;
use super::keys::{self, Space};
use super::read::Body;
use super::{Batch, Error, Store, codec};
use std::sync::PoisonError;

/// Chunks written or removed in one commit, about 4 MiB: others' commits go between.
const CHUNKS_A_COMMIT: usize = 64;

impl Store {
    /// The published segments of a collection by number. Damage to one does not hide others.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the manifest cannot be read.
    #[expect(clippy::type_complexity, reason = "number and bytes, or what is wrong")]
    pub fn segments(&self, collection: u64) -> Result<Vec<(u64, Result<Vec<u8>, Error>)>, Error> {
        let mut segments = Vec::new();
        for named in self.records(&keys::numbered(Space::Segment, collection), None) {
            let segment = keys::number_at(&named?.0, 9)?;
            let key = keys::row(Space::SegmentBody, collection, segment);
            let bytes = match self.load(&key) {
                Ok(Some(body)) => Ok(Body::into_vec(body)),
                Ok(None) => Err(Error::damaged(keys::describe(&key), "it is missing")),
                Err(e) => Err(e),
            };
            segments.push((segment, bytes));
        }
        Ok(segments)
    }

    /// Writes a segment, durably and in several commits; [`Batch::add_segment`] publishes it.
    ///
    /// Takes [`Store::next_segment`] past `segment`, and sweeps some of what was removed.
    ///
    /// # Errors
    /// [`Error::Exists`] where the number is taken, and as [`Store::commit`].
    pub fn put_segment(&self, collection: u64, segment: u64, bytes: &[u8]) -> Result<(), Error> {
        let key = keys::row(Space::SegmentBody, collection, segment);
        let (head, chunks) = frame::split(&key, bytes);
        // As much goes as comes, so space does not run away. What is damaged must not keep
        // new segments from being written.
        match self.sweep(2 * chunks.len() + CHUNKS_A_COMMIT) {
            Err(failed @ Error::Failed(_)) => return Err(failed),
            Err(e) => tracing::warn!(%e, "sweeping removed segments"),
            Ok(_) => {}
        }
        self.take_number(segment, &key, head)?;
        let mut chunks = chunks.into_iter().map(|(key, value)| (key, Some(value)));
        loop {
            let part: Vec<Write> = chunks.by_ref().take(CHUNKS_A_COMMIT).collect();
            if part.is_empty() {
                return Ok(());
            }
            let mut committer = self.committer()?;
            self.write(&mut committer, part, None)?;
        }
    }

    /// Writes the head first: after a crash it tells that chunks may have been written.
    fn take_number(&self, segment: u64, key: &[u8], head: Vec<u8>) -> Result<(), Error> {
        let _gate = self.gate();
        if self.disk.get(key)?.is_some() {
            return Err(Error::Exists(keys::describe(key)));
        }
        let next = self.next_segment()?.max(segment.saturating_add(1));
        let counter = keys::named(Space::Meta, codec::NEXT_SEGMENT.as_bytes());
        let counted = frame::whole(&counter, &next.to_le_bytes());
        let writes = vec![(key.to_vec(), Some(head)), (counter, Some(counted))];
        let mut committer = self.committer()?;
        self.write(&mut committer, writes, None)
    }

    /// Whether a segment may be named in the manifest.
    pub(super) fn publishable(&self, collection: u64, segment: u64) -> Result<(), Error> {
        let body = keys::row(Space::SegmentBody, collection, segment);
        let garbage = keys::row(Space::SegmentGarbage, collection, segment);
        if self.disk.get(&body)?.is_none() || self.disk.get(&garbage)?.is_some() {
            return Err(Error::Missing(keys::describe(&body)));
        }
        Ok(())
    }

    /// Removes up to `limit` values of removed segments, durably; answers how many, 0 when
    /// nothing is left.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn sweep(&self, limit: usize) -> Result<usize, Error> {
        let _gate = self.gate();
        let mut swept = 0;
        while swept < limit {
            let prefix = keys::named(Space::SegmentGarbage, &[]);
            let Some(marker) = self.disk.scan(&prefix, None).next() else {
                break;
            };
            let marker = marker?.0;
            let (collection, segment) =
                (keys::number_at(&marker, 1)?, keys::number_at(&marker, 9)?);
            let body = keys::row(Space::SegmentBody, collection, segment);
            let room = CHUNKS_A_COMMIT.min(limit - swept);
            let mut writes = Vec::with_capacity(room);
            for chunk in self.disk.scan(&keys::chunks(&body), None).take(room) {
                writes.push((chunk?.0.to_vec(), None));
            }
            if writes.len() < room {
                writes.push((body, None));
                writes.push((marker.to_vec(), None));
            }
            swept += writes.len();
            let mut committer = self.committer()?;
            self.write(&mut committer, writes, None)?;
        }
        Ok(swept)
    }

    /// At the start: what was put and never published is garbage.
    pub(super) fn condemn_unpublished(&self) -> Result<(), Error> {
        let mut batch = Batch::new();
        for body in self.disk.scan(&keys::named(Space::SegmentBody, &[]), None) {
            let key = body?.0;
            let (collection, segment) = (keys::number_at(&key, 1)?, keys::number_at(&key, 9)?);
            let named = keys::row(Space::Segment, collection, segment);
            let garbage = keys::row(Space::SegmentGarbage, collection, segment);
            if self.disk.get(&named)?.is_none() && self.disk.get(&garbage)?.is_none() {
                batch.put(garbage, Vec::new());
            }
        }
        self.commit(batch)
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, ()> {
        self.segments_gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
