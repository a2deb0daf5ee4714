//! The axes along which rows vary most (principal component analysis), by orthogonal iteration
//! (Golub and Van Loan, Matrix Computations, section 8.2). Any orthonormal axes are right; better
//! ones make shorter codes.

use crate::index::sample::{For, sample};
use crate::simd::{self, AlignedRows};
use rayon::prelude::*;

/// Axes at most.
const MOST: usize = 256;
/// Rows that are looked at.
const SAMPLES: usize = 4_096;
/// Of more dimensions, so many rows are looked at.
const SAMPLES_OF_MANY: usize = 1_024;
const MANY: usize = 1_024;
const ROUNDS: usize = 8;
/// Rows whose products are taken together.
const TOGETHER: usize = 256;
/// An axis shorter than this, of what it was, lies within those before.
const DEPENDENT: f32 = 1e-4;

/// Orthonormal axes, those of the largest variance first.
#[derive(Debug, Clone)]
pub(super) struct Axes {
    pub(super) axes: AlignedRows,
}

impl Axes {
    /// The axes of some of the rows; none if all are equal.
    pub(super) fn of(rows: &AlignedRows) -> Self {
        let covariance = covariance(rows);
        let dim = rows.dim();
        let mut axes = scattered(dim, dim.min(MOST));
        for _ in 0..ROUNDS {
            axes = orthonormal(&times(&covariance, &axes));
        }
        let turned = times(&covariance, &axes);
        let variance = |a: &usize| simd::dot(axes.padded(*a), turned.padded(*a));
        let mut order: Vec<usize> = (0..axes.len()).filter(|a| variance(a) > 0.0).collect();
        order.sort_by(|a, b| variance(b).total_cmp(&variance(a)));
        let mut sorted = AlignedRows::with_capacity(dim, order.len());
        for a in order {
            sorted.push(axes.row(a));
        }
        Self { axes: sorted }
    }

    pub(super) fn len(&self) -> usize {
        self.axes.len()
    }

    /// Keeps the first so many.
    pub(super) fn truncate(&mut self, axes: usize) {
        let mut kept = AlignedRows::with_capacity(self.axes.dim(), axes);
        (0..axes.min(self.len())).for_each(|a| kept.push(self.axes.row(a)));
        self.axes = kept;
    }

    /// The places of all rows along the axes, some rows at a time.
    pub(super) fn project_all(&self, rows: &AlignedRows) -> Vec<Vec<f32>> {
        products(rows, &self.axes)
    }

    /// A padded row's places along the axes.
    pub(super) fn project(&self, row: &[f32]) -> Vec<f32> {
        dots(&self.axes, row)
    }
}

/// The dot products of a padded vector with all rows.
fn dots(rows: &AlignedRows, vector: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len());
    let mut row = 0;
    while row + 4 <= rows.len() {
        let four = [0, 1, 2, 3].map(|i| rows.padded(row + i));
        out.extend(simd::dot4(vector, four));
        row += 4;
    }
    out.extend((row..rows.len()).map(|row| simd::dot(vector, rows.padded(row))));
    out
}

/// Each row by a symmetric matrix.
fn times(matrix: &AlignedRows, rows: &AlignedRows) -> AlignedRows {
    let mut out = AlignedRows::with_capacity(rows.dim(), rows.len());
    for products in products(rows, matrix) {
        products
            .chunks_exact(matrix.len())
            .for_each(|row| out.push(row));
    }
    out
}

/// The dot products of all rows with all others, some rows at a time.
fn products(rows: &AlignedRows, others: &AlignedRows) -> Vec<Vec<f32>> {
    let parts = (0..rows.len()).into_par_iter().step_by(TOGETHER);
    let parts = parts.map(|from| {
        let some = from..(from + TOGETHER).min(rows.len());
        simd::dots_of_rows((rows, some), (others, 0..others.len()))
    });
    parts.collect()
}

/// How dimensions vary together, but for a factor.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a mean may be rounded"
)]
fn covariance(rows: &AlignedRows) -> AlignedRows {
    let dim = rows.dim();
    let most = if dim > MANY { SAMPLES_OF_MANY } else { SAMPLES };
    let looked_at = sample(rows.len(), most, For::Axes);
    let samples = looked_at.len();
    let mut columns = AlignedRows::with_capacity(samples, dim);
    for at in 0..dim {
        let column = looked_at.iter().map(|row| rows.row(*row as usize)[at]);
        let column: Vec<f32> = column.collect();
        let mean = column.iter().map(|v| f64::from(*v)).sum::<f64>() / samples as f64;
        columns.push(&column.iter().map(|v| v - mean as f32).collect::<Vec<_>>());
    }
    let products = products(&columns, &columns);
    // The largest becomes 1: nothing overflows when it is applied again and again.
    let largest = products
        .iter()
        .flatten()
        .fold(0.0_f32, |m, v| m.max(v.abs()));
    let mut out = AlignedRows::with_capacity(dim, dim);
    for row in products.iter().flat_map(|some| some.chunks_exact(dim)) {
        let scaled = row
            .iter()
            .map(|v| if largest > 0.0 { v / largest } else { 0.0 });
        out.push(&scaled.collect::<Vec<_>>());
    }
    out
}

/// Directions to start from: no two alike, the same every time.
fn scattered(dim: usize, count: usize) -> AlignedRows {
    let mut state = 0x9E37_79B9_u32;
    let mut number = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        #[expect(clippy::cast_precision_loss, reason = "a random number")]
        let v = state as f32 / u32::MAX as f32 - 0.5;
        v
    };
    let mut rows = AlignedRows::with_capacity(dim, count);
    for _ in 0..count {
        rows.push(&(0..dim).map(|_| number()).collect::<Vec<_>>());
    }
    rows
}

/// Gram-Schmidt, twice over each row, which is enough; rows that lie within those before are left
/// out.
fn orthonormal(rows: &AlignedRows) -> AlignedRows {
    let mut out = AlignedRows::with_capacity(rows.dim(), rows.len());
    for row in 0..rows.len() {
        let mut vector = AlignedRows::one(rows.row(row));
        let before = simd::dot(vector.padded(0), vector.padded(0)).sqrt();
        for _ in 0..2 {
            let shadows = dots(&out, vector.padded(0));
            let mut left = vector.row(0).to_vec();
            for (axis, shadow) in shadows.iter().enumerate() {
                for (v, a) in left.iter_mut().zip(out.row(axis)) {
                    *v -= shadow * a;
                }
            }
            vector = AlignedRows::one(&left);
        }
        let length = simd::dot(vector.padded(0), vector.padded(0)).sqrt();
        if length > DEPENDENT * before && length.is_normal() {
            let unit = vector.row(0).iter().map(|v| v / length);
            out.push(&unit.collect::<Vec<_>>());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_orthonormal_and_the_widest_come_first() {
        // Two directions of variance, 9 and 1, within 40 dimensions.
        let mut rows = AlignedRows::with_capacity(40, 500);
        for i in 0..500_u16 {
            let (a, b) = (f32::from(i % 19) - 9.0, f32::from(i % 7) - 3.0);
            let mut row = [5.0; 40];
            (row[3], row[4], row[9]) = (5.0 + 0.6 * a, 5.0 + 0.8 * a, 5.0 + b);
            rows.push(&row);
        }
        let axes = Axes::of(&rows);
        assert_eq!(axes.len(), 2);
        let first = axes.axes.row(0);
        assert!((first[3].abs() - 0.6).abs() < 1e-3 && (first[4].abs() - 0.8).abs() < 1e-3);
        assert!((axes.axes.row(1)[9].abs() - 1.0).abs() < 1e-3);
        let across = simd::dot(axes.axes.padded(0), axes.axes.padded(1));
        assert!(across.abs() < 1e-5);
        let places = axes.project(rows.padded(7));
        let expected = simd::dot(axes.axes.padded(1), rows.padded(7));
        assert!((places[1] - expected).abs() < 1e-3);
    }

    #[test]
    fn rows_all_alike_have_no_axes() {
        let mut rows = AlignedRows::with_capacity(33, 3);
        (0..3).for_each(|_| rows.push(&[2.5; 33]));
        assert_eq!(Axes::of(&rows).len(), 0);
    }
}
