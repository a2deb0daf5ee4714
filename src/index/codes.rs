//! Four bits a number beside the exact rows, for the walk: scalar quantisation (SQ4, as in Jégou et
//! al. 2011, section II, a number at a time). Each dimension's usual range is cut into 15 steps,
//! and a query into signed bytes, so that a key takes one dot product of codes and bytes. What a
//! walk finds by them is compared again, exactly.

use super::walk::Keys;
use crate::domain::Metric;
use crate::simd::{AlignedRows, CODE_TOP, CODES, CodeRows};

/// Below so many dimensions an exact row is as short as its codes.
const LEAST: usize = 32;
/// Steps of a dimension's range.
const STEPS: f32 = CODE_TOP as f32;
/// Standard deviations around a dimension's mean that its steps cover at most: beyond are few, and
/// finer steps serve the many.
const COVERED: f64 = 2.7;

/// Added to a small number and taken off, it leaves the nearest integer: so large a number has no
/// place for fractions (1.5 times 2^23).
const ROUNDS: f32 = 12_582_912.0;

/// Rows whose dot products are made at once.
const AT_ONCE: usize = 64;

/// The codes of a part's rows.
#[derive(Debug)]
pub(super) struct Codes {
    metric: Metric,
    rows: CodeRows,
    /// Of a coded row without the centre, its squared length; empty unless Euclidean.
    lengths: Vec<f32>,
    centre: Vec<f32>,
    step: Vec<f32>,
}

impl Codes {
    /// Codes of rows; `None` where they would not help, or a range is too large for an `f32`.
    pub(super) fn of(metric: Metric, rows: &AlignedRows) -> Option<Self> {
        let dim = rows.dim();
        if dim < LEAST || rows.is_empty() {
            return None;
        }
        let (low, high) = ranges(rows);
        let ranges = || low.iter().zip(&high);
        let mut codes = Self {
            metric,
            rows: CodeRows::with_capacity(dim, rows.len()),
            lengths: Vec::new(),
            centre: ranges().map(|(low, high)| 0.5 * (low + high)).collect(),
            step: ranges().map(|(low, high)| (high - low) / STEPS).collect(),
        };
        let mut row_codes = vec![0; dim];
        for row in 0..rows.len() {
            let mut length = 0.0;
            let lows = low.iter().zip(&codes.step);
            for ((code, v), (low, step)) in row_codes.iter_mut().zip(rows.row(row)).zip(lows) {
                *code = encode(*v, *low, *step);
                length += (step * (f32::from(*code) - 0.5 * STEPS)).powi(2);
            }
            codes.rows.push(&row_codes);
            if metric == Metric::Euclidean {
                codes.lengths.push(length);
            }
        }
        let numbers = codes.centre.iter().chain(&codes.step).chain(&codes.lengths);
        numbers.copied().all(f32::is_finite).then_some(codes)
    }

    /// A query to compare with the rows; `None` where it is too large for an `f32`.
    pub(super) fn query(&self, query: &[f32]) -> Option<Coded<'_>> {
        let by_dimension = || query.iter().zip(&self.centre).zip(&self.step);
        let euclidean = self.metric == Metric::Euclidean;
        let weight = |((v, centre), step): ((&f32, &f32), &f32)| {
            step * if euclidean { v - centre } else { *v }
        };
        let largest = by_dimension()
            .map(weight)
            .fold(0.0_f32, |m, w| m.max(w.abs()));
        // Of a query at the centre all weights are zero, whatever the unit.
        let unit = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let mut values = vec![0; self.step.len().next_multiple_of(CODES)];
        let mut sum = 0.0;
        for (value, w) in values.iter_mut().zip(by_dimension().map(weight)) {
            let rounded = (w / unit + ROUNDS) - ROUNDS;
            sum += rounded;
            #[expect(clippy::cast_possible_truncation, reason = "within -127..=127")]
            let byte = rounded as i8;
            *value = byte;
        }
        let times = if euclidean { 2.0 } else { 1.0 };
        let of_centre: f32 = by_dimension()
            .map(|((v, centre), _)| {
                if euclidean {
                    (v - centre) * (v - centre)
                } else {
                    -v * centre
                }
            })
            .sum();
        let coded = Coded {
            codes: self,
            values,
            scale: times * unit,
            offset: of_centre + times * unit * 0.5 * STEPS * sum,
        };
        (coded.scale.is_finite() && coded.offset.is_finite()).then_some(coded)
    }

    pub(super) fn bytes(&self) -> usize {
        let numbers = self.lengths.len() + self.centre.len() + self.step.len();
        self.rows.bytes() + numbers * size_of::<f32>()
    }
}

/// The range that each dimension's steps cover.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a range may be rounded"
)]
fn ranges(rows: &AlignedRows) -> (Vec<f32>, Vec<f32>) {
    let (mut low, mut high) = (rows.row(0).to_vec(), rows.row(0).to_vec());
    let mut sums = vec![(0.0_f64, 0.0_f64); rows.dim()];
    for row in 0..rows.len() {
        let bounds = low.iter_mut().zip(&mut high);
        for (((low, high), (sum, squares)), v) in bounds.zip(&mut sums).zip(rows.row(row)) {
            (*low, *high) = (low.min(*v), high.max(*v));
            *sum += f64::from(*v);
            *squares += f64::from(*v) * f64::from(*v);
        }
    }
    let n = rows.len() as f64;
    for ((low, high), (sum, squares)) in low.iter_mut().zip(&mut high).zip(sums) {
        let mean = sum / n;
        let reach = COVERED * (squares / n - mean * mean).max(0.0).sqrt();
        *low = low.max((mean - reach) as f32);
        *high = high.min((mean + reach) as f32);
    }
    (low, high)
}

fn encode(v: f32, low: f32, step: f32) -> u8 {
    if step > 0.0 {
        let steps = ((v - low) / step).round().clamp(0.0, STEPS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the steps"
        )]
        let code = steps as u8;
        code
    } else {
        // All rows are alike here: the step of 0 makes every code the centre.
        0
    }
}

/// A query among coded rows. Its keys approach those of [`super::Options::key`].
pub(super) struct Coded<'a> {
    codes: &'a Codes,
    values: Vec<i8>,
    scale: f32,
    offset: f32,
}

impl Coded<'_> {
    /// The keys of the rows from one on.
    #[expect(clippy::cast_precision_loss, reason = "approximate already")]
    pub(super) fn keys_from(&self, first: usize, out: &mut [f32]) {
        let mut dots = [0; AT_ONCE];
        for (nth, out) in out.chunks_mut(AT_ONCE).enumerate() {
            let first = first + nth * AT_ONCE;
            let dots = &mut dots[..out.len()];
            self.codes.rows.dots_from(&self.values, first, dots);
            for (key, dot) in out.iter_mut().zip(dots) {
                *key = self.offset - self.scale * *dot as f32;
            }
            if let Some(lengths) = self.codes.lengths.get(first..first + out.len()) {
                out.iter_mut().zip(lengths).for_each(|(key, l)| *key += l);
            }
        }
    }
}

impl Keys for Coded<'_> {
    #[expect(clippy::cast_precision_loss, reason = "approximate already")]
    fn keys(&self, nodes: &[u32], out: &mut Vec<f32>) {
        out.clear();
        let lengths = &self.codes.lengths;
        let mut dots = [0; AT_ONCE];
        for nodes in nodes.chunks(AT_ONCE) {
            let dots = &mut dots[..nodes.len()];
            self.codes.rows.dots(&self.values, nodes, dots);
            let keys = dots
                .iter()
                .map(|dot| self.offset - self.scale * *dot as f32);
            if lengths.is_empty() {
                out.extend(keys);
            } else {
                let both = keys.zip(nodes);
                out.extend(both.map(|(key, node)| key + lengths[*node as usize]));
            }
        }
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        self.codes.rows.prefetch(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Options;

    fn number(row: usize, i: usize) -> f32 {
        let hash = (row * 7_919 + i * 104_729 + row * i * 31) % 1_009;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let v = hash as f32 / 504.5 - 1.0;
        v
    }

    fn rows(dim: usize, n: usize, value: impl Fn(usize, usize) -> f32) -> AlignedRows {
        let mut rows = AlignedRows::with_capacity(dim, n);
        (0..n).for_each(|row| rows.push(&(0..dim).map(|i| value(row, i)).collect::<Vec<_>>()));
        rows
    }

    #[test]
    fn keys_are_near_the_exact_ones() {
        for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
            for dim in [32, 100, 784] {
                let options = Options::new(dim, metric);
                // One dimension is the same everywhere, another far from the rest: without a
                // centre to take off, that makes the query's bytes coarse.
                let far = if metric == Metric::Euclidean {
                    100.0
                } else {
                    2.0
                };
                let all = rows(dim, 100, |row, i| match i {
                    3 => 0.25,
                    5 => far + number(row, i),
                    _ => number(row, i),
                });
                let codes = Codes::of(metric, &all).unwrap();
                let query = rows(
                    dim,
                    1,
                    |_, i| if i == 5 { far - 0.5 } else { number(77, i) },
                );
                let coded = codes.query(query.row(0)).unwrap();
                for row in 0..100 {
                    let exact = options.key(query.padded(0), all.padded(row));
                    let node = u32::try_from(row).unwrap();
                    #[expect(clippy::cast_precision_loss, reason = "a small number")]
                    let most = 1e-4 * exact.abs() + 0.3 * (dim as f32).sqrt();
                    let mut keys = Vec::new();
                    coded.keys(&[node], &mut keys);
                    let key = keys[0];
                    assert!(
                        (key - exact).abs() < most,
                        "{metric:?} {dim}: {key} {exact}"
                    );
                    // More than are made at once.
                    let first = row.min(7);
                    let mut from = [0.0; 93];
                    coded.keys_from(first, &mut from);
                    let same = from[row - first];
                    assert_eq!(same.to_bits(), key.to_bits(), "{metric:?} {dim}: {row}");
                }
            }
        }
    }

    #[test]
    fn a_query_at_the_centre_and_rows_all_alike_have_keys() {
        let codes = Codes::of(Metric::Euclidean, &rows(40, 3, |_, _| 2.0)).unwrap();
        let coded = codes.query(&[2.0; 40]).unwrap();
        let key = |coded: &Coded<'_>| {
            let mut keys = Vec::new();
            coded.keys(&[1], &mut keys);
            keys[0]
        };
        assert_eq!(key(&coded).to_bits(), 0.0_f32.to_bits());
        let coded = codes.query(&[3.0; 40]).unwrap();
        assert!((key(&coded) - 40.0).abs() < 1e-3);
    }

    #[test]
    fn what_is_too_large_or_too_small_has_no_codes() {
        let metric = Metric::Euclidean;
        let huge = |row: usize, _| if row == 0 { f32::MAX } else { f32::MIN };
        assert!(Codes::of(metric, &rows(40, 2, huge)).is_none());
        assert!(Codes::of(metric, &rows(31, 2, number)).is_none());
        assert!(Codes::of(metric, &rows(32, 0, number)).is_none());
        let codes = Codes::of(metric, &rows(40, 9, number)).unwrap();
        assert!(codes.query(&[f32::MAX; 40]).is_none());
    }
}
