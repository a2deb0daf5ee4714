//! How far the store had come when it last acknowledged.
//!
//! A small file of its own, so that a database which forgot its end is found out. It is written
//! after every commit and synced after every [`SYNC_EVERY`]: it may lag behind the database
//! after a power cut, by so many commits at most, and is never ahead of it. Two slots are
//! written in turn, so that a torn write leaves the other.

use super::Error;
use super::codec::Reader;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

const SYNC_EVERY: u32 = 64;
const SLOT: usize = 512;
const MAGIC: &[u8; 8] = b"twindexH";

/// A point in the history of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark {
    /// Commits so far.
    pub commit: u64,
    /// The sequence number set last.
    pub sequence: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {} (sequence {})", self.commit, self.sequence)
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct Highwater {
    file: File,
    unsynced: u32,
}

impl Highwater {
    /// Opens the file and reads its mark: zero where there is no file, as at the first start.
    pub(crate) fn open(path: &Path) -> Result<(Self, Mark), Error> {
        let io = || Error::io(path.display().to_string());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io())?;
        let mark = if bytes.is_empty() {
            Mark::default()
        } else {
            bytes.chunks(SLOT).filter_map(read).max().ok_or_else(|| {
                Error::damaged(
                    path.display().to_string(),
                    "neither copy of the mark is intact; delete the file to go without",
                )
            })?
        };
        Ok((Self { file, unsynced: 0 }, mark))
    }

    /// Writes down what was just committed.
    pub(crate) fn set(&mut self, mark: Mark) -> std::io::Result<()> {
        let slot = mark.commit % 2 * SLOT as u64;
        self.file.seek(SeekFrom::Start(slot))?;
        self.file.write_all(&slot_of(mark))?;
        self.unsynced += 1;
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> std::io::Result<()> {
        self.unsynced = 0;
        self.file.sync_data()
    }
}

fn slot_of(mark: Mark) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&mark.commit.to_le_bytes());
    slot[16..24].copy_from_slice(&mark.sequence.to_le_bytes());
    let hash = xxh3_64(&slot[..24]);
    slot[24..32].copy_from_slice(&hash.to_le_bytes());
    slot
}

fn read(slot: &[u8]) -> Option<Mark> {
    let mut from = Reader(slot);
    let magic = from.bytes(8).ok()?;
    let mark = Mark {
        commit: from.u64().ok()?,
        sequence: from.u64().ok()?,
    };
    let hash = from.u64().ok()?;
    (magic == MAGIC && hash == xxh3_64(&slot[..24])).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_leaves_the_mark_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("highwater");
        let (mut file, mark) = Highwater::open(&path).unwrap();
        assert_eq!(mark, Mark::default());
        let at = |commit| Mark {
            commit,
            sequence: commit * 10,
        };
        for commit in 1..=200 {
            file.set(at(commit)).unwrap();
        }
        assert_eq!(Highwater::open(&path).unwrap().1, at(200));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Highwater::open(&path).unwrap().1, at(199));
        bytes[SLOT + 9] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(Highwater::open(&path), Err(Error::Damaged { .. })));
    }
}
