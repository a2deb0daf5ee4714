//! What a backbone sees in a folder's images: each is looked at once, and what was seen is kept
//! in a file, for the next training and for one that was interrupted.
//!
//! The file is a header (magic, the backbone's fingerprint, numbers an image) and a record an
//! image: its BLAKE3 hash, the numbers as little-endian `f32`, XXH3 of both. What follows the
//! last whole record is cut off.

use super::corpus::{Corpus, Drawing, SCALE};
use super::dataset::Folder;
use super::{Recipe, TrainError};
use crate::encoder::backbone::Backbone;
use crate::encoder::{Architecture, ImageLimits, Plan, Prepared, Raster};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"twxseen1";
const HEADER: usize = 20;
const HASH: usize = 32;
const CHECKSUM: usize = 8;
/// Images that are looked at together.
const BATCH: usize = 8;

type Hash = [u8; HASH];

/// How many images have been looked at, of how many; told now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// So many.
    pub done: usize,
    /// Of so many.
    pub of: usize,
    /// Found in the file.
    pub known: usize,
}

impl Recipe {
    /// This recipe, for a head on a backbone.
    #[must_use]
    pub fn on(self, backbone: &Backbone) -> Self {
        let plan = backbone.plan();
        Self {
            architecture: Architecture::Head,
            widths: None,
            input: plan.input,
            side: plan.side,
            fold: None,
            backbone: plan.backbone,
            turns: false,
            ..self
        }
    }
}

/// A folder as a backbone sees it: what a head learns from. `kept` is the file that remembers,
/// made if it is not there; `memory` is how many bytes there may be to learn from.
///
/// # Errors
/// A folder, image or file that cannot be read or written, too many images, or cancelled.
pub fn corpus(
    folder: &Path,
    backbone: &Backbone,
    kept: &Path,
    (limits, memory): (&ImageLimits, usize),
    told: &dyn Fn(Looked),
    cancel: &AtomicBool,
) -> Result<Corpus, TrainError> {
    let folder = Folder::open_whole(folder)?;
    let plan = backbone.plan();
    let (of, most) = (folder.labelled(), memory / (2 * plan.features()));
    if of > most {
        return Err(TrainError::Data(format!(
            "{of} images; of {} numbers each, at most {most} fit into memory",
            plan.features()
        )));
    }
    let mut memory = Memory::open(kept, plan)?;
    let (mut classes, mut waiting, mut done) = (Vec::new(), Vec::new(), 0);
    let known = memory.seen.len();
    let mut asked = HashSet::new();
    for class in folder.classes() {
        let mut hashes = Vec::with_capacity(class.images.len());
        for path in &class.images {
            let file = std::fs::read(path).map_err(|e| TrainError::io(path, e))?;
            let hash = *blake3::hash(&file).as_bytes();
            hashes.push(hash);
            done += 1;
            if memory.seen.contains_key(&hash) || !asked.insert(hash) {
                continue;
            }
            waiting.push((hash, path.clone(), file));
            if waiting.len() == BATCH {
                look(backbone, &std::mem::take(&mut waiting), limits, &mut memory)?;
                told(Looked { done, of, known });
            }
            if cancel.load(Ordering::Acquire) {
                return Err(TrainError::Cancelled { step: 0 });
            }
        }
        classes.push((class.label.clone(), hashes));
    }
    look(backbone, &waiting, limits, &mut memory)?;
    told(Looked { done, of, known });
    memory.settle()?;
    let drawing = |hash: &Hash| memory.seen.get(hash).map(Arc::clone);
    let class =
        |(label, hashes): (String, Vec<Hash>)| (label, hashes.iter().filter_map(drawing).collect());
    let classes = classes.into_iter().map(class).collect();
    let plan = Plan {
        architecture: Architecture::Head,
        ..plan
    };
    Ok(Corpus::of_drawings(classes, plan, *limits))
}

fn look(
    backbone: &Backbone,
    images: &[(Hash, PathBuf, Vec<u8>)],
    limits: &ImageLimits,
    memory: &mut Memory,
) -> Result<(), TrainError> {
    if images.is_empty() {
        return Ok(());
    }
    let plan = backbone.plan();
    let prepared = images.par_iter().map(|(_, path, file)| {
        let raster = Raster::read(file, &plan, limits);
        let raster = raster.map_err(|e| TrainError::Data(format!("{}: {e}", path.display())))?;
        Ok(raster.prepare())
    });
    let prepared = prepared.collect::<Result<Vec<Prepared>, TrainError>>()?;
    let seen = backbone.features(&prepared)?.to_vec2::<f32>()?;
    for ((hash, ..), seen) in images.iter().zip(seen) {
        memory.keep(hash, &seen)?;
    }
    Ok(())
}

/// What has been seen, in a file.
struct Memory {
    path: PathBuf,
    file: File,
    seen: HashMap<Hash, Drawing>,
}

impl Memory {
    /// Reads what is there.
    fn open(path: &Path, plan: Plan) -> Result<Self, TrainError> {
        let io = |e| TrainError::io(path, e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let header = header(plan);
        if !bytes.is_empty() && !bytes.starts_with(&header) && !header.starts_with(&bytes) {
            return Err(TrainError::Checkpoint {
                path: path.to_owned(),
                was: "it is not what this backbone has seen".into(),
            });
        }
        let (mut seen, mut whole) = (HashMap::new(), HEADER);
        let records = bytes.get(HEADER..).unwrap_or_default();
        for record in records.chunks_exact(HASH + 4 * plan.features() + CHECKSUM) {
            let Some((hash, numbers)) = parse(record) else {
                break;
            };
            seen.insert(hash, drawing(&numbers));
            whole += record.len();
        }
        if bytes.len() < HEADER {
            file.set_len(0).map_err(io)?;
            file.rewind().map_err(io)?;
            file.write_all(&header).map_err(io)?;
        } else {
            file.set_len(whole as u64).map_err(io)?;
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        let path = path.to_owned();
        Ok(Self { path, file, seen })
    }

    fn keep(&mut self, hash: &Hash, numbers: &[f32]) -> Result<(), TrainError> {
        let mut record = hash.to_vec();
        record.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        record.extend(xxh3_64(&record).to_le_bytes());
        let written = self.file.write_all(&record);
        written.map_err(|e| TrainError::io(&self.path, e))?;
        self.seen.insert(*hash, drawing(numbers));
        Ok(())
    }

    fn settle(&self) -> Result<(), TrainError> {
        let synced = self.file.sync_all();
        synced.map_err(|e| TrainError::io(&self.path, e))
    }
}

fn header(plan: Plan) -> Vec<u8> {
    let file = plan.backbone.map_or(0, |frozen| frozen.file.0);
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

/// Of unit length, so that every number is within -1..=1.
#[expect(clippy::cast_possible_truncation, reason = "within -1..=1")]
fn drawing(numbers: &[f32]) -> Drawing {
    let keep = |v: &f32| (v * SCALE).round() as i16;
    numbers.iter().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::backbone::{Family, Fingerprint, Frozen};

    fn plan(file: u64) -> Plan {
        Plan {
            architecture: Architecture::Head,
            backbone: Some(Frozen {
                family: Family::Clip,
                features: 3,
                file: Fingerprint(file),
            }),
            ..Plan::default()
        }
    }

    #[test]
    fn what_was_seen_outlives_a_cut_and_a_flipped_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen");
        let images = [[1; HASH], [2; HASH], [3; HASH]];
        {
            let mut memory = Memory::open(&path, plan(1)).unwrap();
            for hash in &images {
                memory.keep(hash, &[0.6, -0.8, 0.0]).unwrap();
            }
            memory.settle().unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        let record = (whole.len() - HEADER) / 3;
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let memory = Memory::open(&path, plan(1)).unwrap();
            let left = length.saturating_sub(HEADER) / record;
            assert_eq!(memory.seen.len(), left);
            let kept = std::fs::metadata(&path).unwrap().len();
            assert_eq!(kept, (HEADER + left * record) as u64);
        }
        for at in HEADER..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).unwrap();
            let memory = Memory::open(&path, plan(1)).unwrap();
            assert_eq!(memory.seen.len(), (at - HEADER) / record);
        }
        std::fs::write(&path, &whole).unwrap();
        let mut memory = Memory::open(&path, plan(1)).unwrap();
        assert_eq!(memory.seen[&images[1]][..2], [19_660, -26_214]);
        memory.keep(&[4; HASH], &[0.0, 0.0, 1.0]).unwrap();
        drop(memory);
        assert_eq!(Memory::open(&path, plan(1)).unwrap().seen.len(), 4);
        let other = Memory::open(&path, plan(2)).err().unwrap().to_string();
        assert!(other.contains("not what this backbone has seen"), "{other}");
    }
}
