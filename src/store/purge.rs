//! Removing much, a bounded piece at a time.

use super::commit::Write;
use super::keys::{self, Space};
use super::{Error, Store, codec};

impl Store {
    /// Numbers of collections that were dropped and are not wholly purged.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn orphans(&self) -> Result<Vec<u64>, Error> {
        self.disk
            .scan(&keys::named(Space::Dropped, &[]), None)
            .map(|record| keys::number_at(&record?.0, 1))
            .collect()
    }

    /// Removes up to `limit` values of a dropped collection, durably and in one commit; answers
    /// how many, 0 when nothing is left. A collection that was not dropped is left alone.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn purge(&self, collection: u64, limit: usize) -> Result<usize, Error> {
        let mut committer = self.committer()?;
        let marker = keys::numbered(Space::Dropped, collection);
        if self.disk.get(&marker)?.is_none() {
            return Ok(0);
        }
        let writes = self.belongings(collection, limit.max(1))?;
        let removed = writes.len();
        if removed == 0 {
            self.write(&mut committer, vec![(marker, None)], None)?;
        } else {
            self.write(&mut committer, writes, None)?;
        }
        Ok(removed)
    }

    /// The removal of up to `limit` values of a collection; a record goes after its chunks.
    fn belongings(&self, collection: u64, limit: usize) -> Result<Vec<Write>, Error> {
        let mut writes = Vec::new();
        for space in Space::OF_A_COLLECTION {
            for record in self.disk.scan(&keys::numbered(space, collection), None) {
                let key = record?.0;
                if space.chunked() {
                    let room = limit - writes.len();
                    for chunk in self.disk.scan(&keys::chunks(&key), None).take(room) {
                        writes.push((chunk?.0.to_vec(), None));
                    }
                }
                if writes.len() >= limit {
                    return Ok(writes);
                }
                writes.push((key.to_vec(), None));
                if writes.len() >= limit {
                    return Ok(writes);
                }
            }
        }
        Ok(writes)
    }

    /// Forgets up to `limit` answers given before `before_ms` (milliseconds since 1970),
    /// durably; answers how many entries it went through, 0 when none is left.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn forget_requests(&self, before_ms: u64, limit: usize) -> Result<usize, Error> {
        let mut committer = self.committer()?;
        let mut writes = Vec::new();
        let mut seen = 0;
        for entry in self.disk.scan(&keys::named(Space::RequestTime, &[]), None) {
            let key = entry?.0;
            let ms = keys::number_at(&key, 1)?;
            if ms >= before_ms || seen == limit {
                break;
            }
            seen += 1;
            let request = keys::named(Space::Request, key.get(9..).unwrap_or_default());
            // One answered again since then has an entry of that later time.
            let at = match self.decoded(&request, codec::read_request) {
                Ok(answer) => answer.map(|(at, _)| at),
                Err(Error::Damaged { .. }) => Some(ms),
                Err(e) => return Err(e),
            };
            if at == Some(ms) {
                for chunk in self.disk.scan(&keys::chunks(&request), None) {
                    writes.push((chunk?.0.to_vec(), None));
                }
                writes.push((request, None));
            }
            writes.push((key.to_vec(), None));
        }
        if seen > 0 {
            self.write(&mut committer, writes, None)?;
        }
        Ok(seen)
    }
}
