//! The right answers to many questions at once: by matrix products first, then exactly.

use super::Options;
use super::sample::{For, sample};
use super::walk::{Exact, Keys};
use crate::domain::Metric;
use crate::simd::{self, AlignedRows};
use rayon::prelude::*;
use std::ops::Range;

/// Rows whose products with all questions are taken together.
const CHUNK: usize = 512;
/// Products are rounded otherwise than distances are: of so many times the nearest by them, those are
/// chosen that are nearest exactly.
const ROOM: usize = 2;
/// Rows that tell where the middle of all is.
const SAMPLES: usize = 256;

/// What answers are looked for among.
pub(super) struct Among<'a> {
    pub(super) options: &'a Options,
    pub(super) rows: &'a AlignedRows,
    /// Whether each row may answer.
    pub(super) counting: &'a [bool],
}

impl Among<'_> {
    /// Of the rows that count, the `k` nearest to each question, as exact keys and rows, nearest first.
    pub(super) fn nearest(&self, questions: &AlignedRows, k: usize) -> Vec<Vec<(f32, u32)>> {
        let middle = self.middle();
        let all = 0..questions.len();
        let moved_questions = middle
            .as_ref()
            .map(|middle| moved(questions, all.clone(), middle));
        let asked = moved_questions.as_ref().unwrap_or(questions);
        let asked = || (asked, 0..asked.len());
        let chunks = (0..self.rows.len()).into_par_iter().step_by(CHUNK);
        let near: Vec<Vec<Vec<(f32, u32)>>> = chunks
            .map(|from| {
                let chunk = from..(from + CHUNK).min(self.rows.len());
                let moved = middle.as_ref().map(|m| moved(self.rows, chunk.clone(), m));
                let rows = moved.as_ref().map(|rows| (rows, 0..rows.len()));
                let dots = simd::dots_of_rows(asked(), rows.unwrap_or((self.rows, chunk.clone())));
                let square = |row: usize| {
                    let row = moved.as_ref().map(|rows| rows.padded(row));
                    row.map_or(0.0, |row| simd::dot(row, row))
                };
                self.about_nearest(&dots, square, chunk, ROOM * k)
            })
            .collect();
        let questions = (0..questions.len()).into_par_iter().map(|question| {
            let all = near
                .iter()
                .flat_map(|chunk| chunk[question].iter().copied());
            let rows = first(all.collect(), ROOM * k);
            let rows: Vec<u32> = rows.into_iter().map(|(_, row)| row).collect();
            self.compared(questions.padded(question), &rows, k)
        });
        questions.collect()
    }

    /// Of some rows, the `k` nearest to a padded query.
    pub(super) fn compared(&self, query: &[f32], rows: &[u32], k: usize) -> Vec<(f32, u32)> {
        let exact = Exact {
            options: self.options,
            rows: self.rows,
            query,
        };
        let mut keys = Vec::with_capacity(rows.len());
        exact.keys(rows, &mut keys);
        first(keys.into_iter().zip(rows.iter().copied()).collect(), k)
    }

    /// Where all rows are moved to, for their squares not to drown what tells them apart.
    fn middle(&self) -> Option<Vec<f32>> {
        let is_moved = self.options.metric == Metric::Euclidean && !self.rows.is_empty();
        is_moved.then(|| {
            let some = sample(self.rows.len(), SAMPLES, For::Axes);
            let mut sums = vec![0.0_f64; self.rows.dim()];
            for row in &some {
                let numbers = self.rows.row(*row as usize);
                sums.iter_mut()
                    .zip(numbers)
                    .for_each(|(s, v)| *s += f64::from(*v));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "a mean may be rounded"
            )]
            let mean = |sum: f64| (sum / some.len().max(1) as f64) as f32;
            sums.into_iter().map(mean).collect()
        })
    }

    /// Of a chunk's rows that count, those about nearest to each question, by dot products and the
    /// rows' squares.
    fn about_nearest(
        &self,
        dots: &[f32],
        square: impl Fn(usize) -> f32,
        chunk: Range<usize>,
        most: usize,
    ) -> Vec<Vec<(f32, u32)>> {
        let counting = chunk.clone().filter(|row| self.counting[*row]);
        // A row's number fits: a part has fewer than 2^31.
        let numbered = counting.map(|row| {
            (
                u32::try_from(row).unwrap_or(u32::MAX),
                square(row - chunk.start),
            )
        });
        let numbered: Vec<(u32, f32)> = numbered.collect();
        let of_one = dots.chunks_exact(chunk.len().max(1)).map(|dots| {
            let key = |(row, square): &(u32, f32)| {
                (square - 2.0 * dots[*row as usize - chunk.start], *row)
            };
            first(numbered.iter().map(key).collect(), most)
        });
        of_one.collect()
    }
}

/// Some rows, less a vector.
fn moved(rows: &AlignedRows, some: Range<usize>, by: &[f32]) -> AlignedRows {
    let mut moved = AlignedRows::with_capacity(rows.dim(), some.len());
    for row in some {
        let numbers = rows.row(row).iter().zip(by);
        moved.push(&numbers.map(|(v, by)| v - by).collect::<Vec<_>>());
    }
    moved
}

/// The nearest, at most so many, the nearest first.
fn first(mut all: Vec<(f32, u32)>, most: usize) -> Vec<(f32, u32)> {
    let nearer = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if all.len() > most {
        all.select_nth_unstable_by(most, nearer);
        all.truncate(most);
        // Of a chunk's list a few are kept, for long.
        all.shrink_to_fit();
    }
    all.sort_unstable_by(nearer);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_comparing_every_row() {
        for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
            let options = Options::new(37, metric);
            let mut rows = AlignedRows::with_capacity(37, 1_500);
            for row in 0..1_500_u16 {
                // Far from the origin, and near one another.
                let number = |i: u16| f32::from(row.wrapping_mul(31 + i) % 101) / 50.0 + 999.0;
                rows.push(&(0..37).map(number).collect::<Vec<_>>());
            }
            let counting: Vec<bool> = (0..1_500).map(|row| row % 3 != 0).collect();
            let among = Among {
                options: &options,
                rows: &rows,
                counting: &counting,
            };
            let mut questions = AlignedRows::with_capacity(37, 3);
            for row in [0, 700, 1_499] {
                questions.push(rows.row(row));
            }
            let counting: Vec<u32> = (0..1_500).filter(|row| row % 3 != 0).collect();
            for (question, found) in among.nearest(&questions, 10).into_iter().enumerate() {
                let all = among.compared(questions.padded(question), &counting, 10);
                // Equals take any place.
                let keys = |some: &[(f32, u32)]| some.iter().map(|n| n.0).collect::<Vec<_>>();
                assert_eq!(keys(&found), keys(&all), "{metric:?}");
                assert!(found.iter().all(|(_, row)| row % 3 != 0));
            }
        }
    }
}
