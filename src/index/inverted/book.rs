//! Code words: vectors of one dimension, laid out so that a vector meets 128 of them at once.

use crate::simd::{WORDS, products};
use rayon::prelude::*;

/// Rounds of Lloyd's algorithm.
const ROUNDS: usize = 10;
/// How far apart the two halves of a split word begin, relative to its numbers.
const SPLIT: f32 = 1e-3;

/// Code words, and their squared lengths.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Book {
    pub(super) dim: usize,
    /// By groups of [`WORDS`]: number by number, that of every word of the group. Words that are
    /// missing are zero.
    pub(super) numbers: Vec<f32>,
    /// Of each word.
    pub(super) squares: Vec<f32>,
}

impl Book {
    pub(super) fn of(dim: usize, words: &[Vec<f32>]) -> Self {
        let groups = words.len().div_ceil(WORDS);
        let mut numbers = vec![0.0; groups * dim * WORDS];
        for (w, word) in words.iter().enumerate() {
            for (i, v) in word.iter().enumerate() {
                numbers[(w / WORDS * dim + i) * WORDS + w % WORDS] = *v;
            }
        }
        let squares = words.iter().map(|word| word.iter().map(|v| v * v).sum());
        Self {
            dim,
            numbers,
            squares: squares.collect(),
        }
    }

    /// The centres of at most `k` clusters of the samples, by Lloyd's algorithm, which starts from
    /// samples far apart in their order. The same samples make the same words.
    pub(super) fn trained(samples: &[&[f32]], k: usize) -> Self {
        let dim = samples.first().map_or(0, |s| s.len());
        let k = k.min(samples.len());
        let first = (0..k).map(|word| samples[word * samples.len() / k].to_vec());
        let mut words: Vec<Vec<f32>> = first.collect();
        for _ in 0..ROUNDS {
            let book = Self::of(dim, &words);
            let near: Vec<usize> = samples.par_iter().map(|s| book.nearest(s).0).collect();
            words = centres(samples, &near, words);
        }
        Self::of(dim, &words)
    }

    pub(super) fn len(&self) -> usize {
        self.squares.len()
    }

    /// The dot products with each word, in groups of [`WORDS`].
    pub(super) fn dots(&self, values: &[f32], mut each: impl FnMut(usize, &[f32])) {
        let mut dots = [0.0; WORDS];
        let groups = self.numbers.chunks_exact((self.dim * WORDS).max(1));
        for (first, group) in (0..).step_by(WORDS).zip(groups) {
            products(values, group, &mut dots);
            each(first, &dots[..(self.len() - first).min(WORDS)]);
        }
    }

    /// The nearest word, and its squared distance less the square of the values.
    pub(super) fn nearest(&self, values: &[f32]) -> (usize, f32) {
        let mut nearest = (0, f32::INFINITY);
        self.dots(values, |first, dots| {
            let words = dots.iter().zip(&self.squares[first..]).enumerate();
            for (word, (dot, square)) in words {
                let key = square - 2.0 * dot;
                if key < nearest.1 {
                    nearest = (first + word, key);
                }
            }
        });
        nearest
    }

    /// A word's numbers.
    pub(super) fn word(&self, word: usize) -> impl Iterator<Item = f32> + '_ {
        let group = word / WORDS * self.dim;
        (0..self.dim).map(move |i| self.numbers[(group + i) * WORDS + word % WORDS])
    }
}

/// The mean of the samples nearest to each word; a word without any takes half of the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a mean may be rounded"
)]
fn centres(samples: &[&[f32]], near: &[usize], mut words: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let mut sums = vec![vec![0.0_f64; words.first().map_or(0, Vec::len)]; words.len()];
    let mut counts = vec![0_usize; words.len()];
    for (sample, word) in samples.iter().zip(near) {
        counts[*word] += 1;
        for (sum, v) in sums[*word].iter_mut().zip(*sample) {
            *sum += f64::from(*v);
        }
    }
    for ((word, sums), count) in words.iter_mut().zip(sums).zip(&counts) {
        if *count > 0 {
            let mean = sums.iter().map(|sum| (sum / *count as f64) as f32);
            *word = mean.collect();
        }
    }
    for empty in 0..words.len() {
        if counts[empty] > 0 {
            continue;
        }
        let largest = (0..words.len()).max_by_key(|w| (counts[*w], words.len() - w));
        let Some(largest) = largest.filter(|w| counts[*w] > 1) else {
            break;
        };
        let aside = words[largest].iter().enumerate().map(|(i, v)| {
            let sign = if i % 2 == 0 { SPLIT } else { -SPLIT };
            v * (1.0 + sign)
        });
        words[empty] = aside.collect();
        counts[empty] = counts[largest] / 2;
        counts[largest] -= counts[empty];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_found_and_the_nearest_word_is() {
        let samples: Vec<Vec<f32>> = (0..600_u16)
            .map(|i| vec![f32::from(i % 3) * 10.0, f32::from(i % 7) * 0.01, 1.0])
            .collect();
        let samples: Vec<&[f32]> = samples.iter().map(Vec::as_slice).collect();
        let book = Book::trained(&samples, 3);
        let mut firsts: Vec<f32> = (0..3).map(|w| book.word(w).next().unwrap()).collect();
        firsts.sort_by(f32::total_cmp);
        assert_eq!(firsts, [0.0, 10.0, 20.0]);
        let (word, key) = book.nearest(&[10.0, 0.03, 1.0]);
        assert_eq!(book.word(word).next(), Some(10.0));
        assert!((key + 101.0).abs() < 0.01);
        assert_eq!(book, Book::trained(&samples, 3));
    }

    #[test]
    fn more_words_than_a_group_and_fewer_samples_than_words() {
        let words: Vec<Vec<f32>> = (0..200_u8).map(|w| vec![f32::from(w), 1.0]).collect();
        let book = Book::of(2, &words);
        assert_eq!((book.len(), book.nearest(&[150.2, 1.0]).0), (200, 150));
        let few: Vec<&[f32]> = words[..5].iter().map(Vec::as_slice).collect();
        assert_eq!(Book::trained(&few, 128).len(), 5);
        assert_eq!(Book::trained(&[], 4).len(), 0);
    }
}
