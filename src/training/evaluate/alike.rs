//! Images that look alike, without looking at every pair.
//!
//! A 64-bit hash of an image's coarse shape (Zauner 2010: the signs, about their median, of
//! 8 x 8 low frequencies of its cosine transform) changes in few bits when the image is
//! stored again, resized a little or made lighter. All hashes within 7 bits of one are found
//! by multi-index hashing (Norouzi, Punjani and Fleet 2012): of four bands of 16 bits, at
//! least one then differs in one bit at most.

use crate::encoder::Look;
use std::collections::HashMap;
use std::f32::consts::PI;

/// Bits that a hash may differ in.
pub const RADIUS: u32 = 7;
const BANDS: usize = 4;
const SIDE: usize = Look::SIDE;
const FREQUENCIES: usize = 8;

/// An image, small enough to keep very many: its hash, and 32 x 32 grey levels.
#[derive(Debug, Clone)]
pub struct Shape {
    hash: u64,
    pixels: Box<[i8]>,
}

impl Shape {
    /// The shape of an image.
    #[must_use]
    pub fn of(ink: &[f32]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "ink is within -1..=1")]
        let pixels = ink.iter().map(|v| (127.0 * v).round() as i8);
        Self {
            hash: hash(ink),
            pixels: pixels.collect(),
        }
    }

    /// Pearson's correlation of the grey levels, -1 to 1: 1 of two blank pages, 0 of a blank
    /// page and another.
    #[must_use]
    pub fn correlation(&self, other: &Self) -> f64 {
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            let pairs = self.pixels.iter().zip(&other.pixels);
            pairs.map(|(a, b)| of((*a).into(), (*b).into())).sum()
        };
        #[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
        let n = self.pixels.len() as f64;
        let (a, b) = (sum(&|a, _| a), sum(&|_, b| b));
        let of_a = sum(&|a, _| a * a) - a * a / n;
        let of_b = sum(&|_, b| b * b) - b * b / n;
        if of_a <= 0.0 || of_b <= 0.0 {
            return f64::from(u8::from(of_a <= 0.0 && of_b <= 0.0));
        }
        (sum(&|a, b| a * b) - a * b / n) / (of_a * of_b).sqrt()
    }
}

fn hash(pixels: &[f32]) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let wave = |frequency: usize, x: usize| {
        (PI * frequency as f32 * (2 * x + 1) as f32 / (2 * SIDE) as f32).cos()
    };
    let waves: Vec<[f32; SIDE]> = (1..=FREQUENCIES)
        .map(|f| std::array::from_fn(|x| wave(f, x)))
        .collect();
    let product =
        |wave: &[f32; SIDE], row: &[f32]| -> f32 { wave.iter().zip(row).map(|(w, v)| w * v).sum() };
    let mut found = [0.0; 64];
    for (across, columns) in waves.iter().zip(found.chunks_exact_mut(FREQUENCIES)) {
        let rows: Vec<f32> = pixels
            .chunks_exact(SIDE)
            .map(|row| product(across, row))
            .collect();
        for (down, found) in waves.iter().zip(columns) {
            *found = product(down, &rows);
        }
    }
    let mut sorted = found;
    let median = *sorted.select_nth_unstable_by(32, f32::total_cmp).1;
    let bits = found
        .iter()
        .enumerate()
        .map(|(i, v)| u64::from(*v > median) << i);
    bits.sum()
}

/// Shapes by the bands of their hashes.
#[derive(Debug)]
pub struct Shapes<'a> {
    all: &'a [Shape],
    /// Every hash once, with the shapes that have it.
    hashes: Vec<(u64, Vec<u32>)>,
    /// For each band and each of its values, the hashes that have it.
    bands: [HashMap<u16, Vec<u32>>; BANDS],
}

impl<'a> Shapes<'a> {
    /// Indexes shapes, fewer than 2^32.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "fewer than 2^32")]
    pub fn new(shapes: &'a [Shape]) -> Self {
        let mut of_hash: HashMap<u64, Vec<u32>> = HashMap::new();
        for (nth, shape) in shapes.iter().enumerate() {
            of_hash.entry(shape.hash).or_default().push(nth as u32);
        }
        let mut hashes: Vec<_> = of_hash.into_iter().collect();
        hashes.sort_unstable();
        let mut bands = [(); BANDS].map(|()| HashMap::new());
        for (nth, (hash, _)) in hashes.iter().enumerate() {
            for (band, value) in bands.iter_mut().zip(parts(*hash)) {
                let values: &mut Vec<u32> = band.entry(value).or_default();
                values.push(nth as u32);
            }
        }
        Self {
            all: shapes,
            hashes,
            bands,
        }
    }

    /// The shape that correlates best with this one, of those whose hash is near; only the
    /// first `most` are looked at, the nearest hashes first.
    #[must_use]
    pub fn nearest(&self, shape: &Shape, most: usize) -> Option<(usize, f64)> {
        let near = self.near(shape.hash).into_iter();
        let images = near.flat_map(|(_, nth)| &self.hashes[nth as usize].1);
        let scored = images.take(most).map(|nth| {
            let nth = *nth as usize;
            (nth, shape.correlation(&self.all[nth]))
        });
        scored.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }

    /// Hashes within the radius: how far, and which.
    fn near(&self, hash: u64) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for (band, value) in self.bands.iter().zip(parts(hash)) {
            let flips = (0..16).map(|bit| value ^ (1 << bit));
            for near in flips.chain([value]).filter_map(|v| band.get(&v)) {
                let far = |nth: &u32| ((self.hashes[*nth as usize].0 ^ hash).count_ones(), *nth);
                found.extend(near.iter().map(far).filter(|(bits, _)| *bits <= RADIUS));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn parts(hash: u64) -> [u16; BANDS] {
    let bytes = hash.to_le_bytes();
    std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::random::Random;

    #[test]
    fn every_near_hash_is_found_and_no_other() {
        let mut random = Random::new(1, 0);
        let mut bits = |n: usize| -> u64 {
            let chosen = random.distinct(64, n);
            chosen.iter().fold(0, |hash, bit| hash | 1 << bit)
        };
        let about = bits(32);
        let hashes: Vec<u64> = (0..2_000).map(|n| about ^ bits(n % 16)).collect();
        let shapes = hashes.iter().map(|hash| Shape {
            hash: *hash,
            pixels: Box::new([]),
        });
        let shapes: Vec<Shape> = shapes.collect();
        let index = Shapes::new(&shapes);
        for probe in &hashes[..100] {
            let mut found: Vec<u64> = index
                .near(*probe)
                .iter()
                .map(|(_, nth)| index.hashes[*nth as usize].0)
                .collect();
            let near = |hash: &&u64| (*hash ^ probe).count_ones() <= RADIUS;
            let mut all: Vec<u64> = hashes.iter().filter(near).copied().collect();
            found.sort_unstable();
            all.sort_unstable();
            all.dedup();
            assert_eq!(found, all);
        }
    }
}
