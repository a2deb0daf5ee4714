//! Features of images in a file, by the images' hashes.
//!
//! A header (magic, the backbone's fingerprint, features an image) is followed by a record an
//! image: its BLAKE3 hash, the features as little-endian `f32`, XXH3 of both. A record whose
//! checksum is wrong is passed over; one that was not written whole is cut off. One process at a
//! time has the file.

use super::TrainError;
use super::corpus::{Drawing, SCALE};
use crate::encoder::Plan;
use crate::lock::Locked;
use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"twxfeat1";
const HEADER: usize = 20;
const HASH: usize = 32;
const CHECKSUM: usize = 8;

/// An image file's BLAKE3 hash.
pub(super) type Hash = [u8; HASH];

/// The features of those images that were asked for.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    file: Locked,
    features: HashMap<Hash, Drawing>,
}

impl Cache {
    /// Reads what there is of the images `wanted`; makes the file if it is not there.
    pub fn open(path: &Path, plan: &Plan, wanted: &HashSet<Hash>) -> Result<Self, TrainError> {
        let io = |e| TrainError::io(path, e);
        let refuse = |was: &str| TrainError::Checkpoint {
            path: path.to_owned(),
            was: was.into(),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let held = Locked::take(options.open(path).map_err(io)?).map_err(io)?;
        let mut held = held.ok_or_else(|| refuse("another training has it"))?;
        let file = &mut held.0;
        let mut reader = BufReader::new(&*file);
        let (header, mut found) = (header(plan), Vec::new());
        let read = reader.by_ref().take(HEADER as u64).read_to_end(&mut found);
        read.map_err(io)?;
        if !header.starts_with(&found) {
            return Err(refuse("it holds the features of another backbone"));
        }
        let (mut features, mut whole) = (HashMap::new(), HEADER as u64);
        let mut record = vec![0; HASH + 4 * plan.features() + CHECKSUM];
        loop {
            match reader.read_exact(&mut record) {
                Ok(()) => whole += record.len() as u64,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(io(e)),
            }
            if let Some((hash, numbers)) = parse(&record).filter(|(h, _)| wanted.contains(h)) {
                features.insert(hash, drawing(&numbers));
            }
        }
        if found.len() < HEADER {
            file.rewind().map_err(io)?;
            file.write_all(&header).map_err(io)?;
        }
        file.set_len(whole).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        let path = path.to_owned();
        Ok(Self {
            path,
            file: held,
            features,
        })
    }

    /// Of how many images there are features.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    pub fn has(&self, hash: &Hash) -> bool {
        self.features.contains_key(hash)
    }

    pub fn get(&self, hash: &Hash) -> Option<&Drawing> {
        self.features.get(hash)
    }

    /// Adds an image's features, of unit length.
    pub fn put(&mut self, hash: &Hash, numbers: &[f32]) -> Result<(), TrainError> {
        let mut record = hash.to_vec();
        record.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        record.extend(xxh3_64(&record).to_le_bytes());
        let written = self.file.0.write_all(&record);
        written.map_err(|e| TrainError::io(&self.path, e))?;
        self.features.insert(*hash, drawing(numbers));
        Ok(())
    }

    pub fn sync(&self) -> Result<(), TrainError> {
        let synced = self.file.0.sync_all();
        synced.map_err(|e| TrainError::io(&self.path, e))
    }
}

fn header(plan: &Plan) -> Vec<u8> {
    let file = plan.backbone.map_or(0, |backbone| backbone.file.0);
    let features = u32::try_from(plan.features()).unwrap_or(u32::MAX);
    let mut header = MAGIC.to_vec();
    header.extend(file.to_le_bytes());
    header.extend(features.to_le_bytes());
    header
}

fn parse(record: &[u8]) -> Option<(Hash, Vec<f32>)> {
    let (body, checksum) = record.split_last_chunk::<CHECKSUM>()?;
    let (hash, numbers) = body.split_first_chunk::<HASH>()?;
    let (numbers, _) = numbers.as_chunks::<4>();
    let numbers = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
    (u64::from_le_bytes(*checksum) == xxh3_64(body)).then_some((*hash, numbers))
}

#[expect(clippy::cast_possible_truncation, reason = "within -1..=1")]
fn drawing(numbers: &[f32]) -> Drawing {
    let keep = |v: &f32| (v * SCALE).round() as i16;
    numbers.iter().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Architecture;
    use crate::encoder::backbone::{BackboneId, Family, Fingerprint};

    fn plan(file: u64) -> Plan {
        Plan {
            architecture: Architecture::Head,
            backbone: Some(BackboneId {
                family: Family::Clip,
                features: 3,
                file: Fingerprint(file),
            }),
            ..Plan::default()
        }
    }

    #[test]
    fn features_outlive_a_cut_and_a_flipped_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("features");
        let images = [[1; HASH], [2; HASH], [3; HASH]];
        let wanted = HashSet::from(images);
        let open = |file| Cache::open(&path, &plan(file), &wanted);
        {
            let mut cache = open(1).unwrap();
            for hash in &images {
                cache.put(hash, &[0.6, -0.8, 0.0]).unwrap();
            }
            cache.sync().unwrap();
            let second = open(1).unwrap_err().to_string();
            assert!(second.contains("another training has it"), "{second}");
        }
        let whole = std::fs::read(&path).unwrap();
        let record = (whole.len() - HEADER) / 3;
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let left = length.saturating_sub(HEADER) / record;
            assert_eq!(open(1).unwrap().len(), left);
            let kept = std::fs::metadata(&path).unwrap().len();
            assert_eq!(kept, (HEADER + left * record) as u64);
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).unwrap();
            match open(1) {
                Ok(cache) => assert!(at >= HEADER && cache.len() == 2),
                Err(e) => assert!(at < HEADER, "{e}"),
            }
        }
        std::fs::write(&path, &whole).unwrap();
        let mut cache = open(1).unwrap();
        assert_eq!(cache.get(&images[1]).unwrap()[..2], [19_660, -26_214]);
        cache.put(&[4; HASH], &[0.0, 0.0, 1.0]).unwrap();
        drop(cache);
        // It is there, but was not asked for.
        assert_eq!(open(1).unwrap().len(), 3);
        let all = HashSet::from([[4; HASH]]);
        assert_eq!(Cache::open(&path, &plan(1), &all).unwrap().len(), 1);
        let other = open(2).unwrap_err().to_string();
        assert!(other.contains("of another backbone"), "{other}");
    }
}
