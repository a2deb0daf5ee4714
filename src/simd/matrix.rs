//! Products of matrices, by the `gemm` crate, which chooses its kernels itself.

use super::AlignedRows;
use gemm::{Parallelism, gemm};
use std::ops::Range;

/// The dot products of some rows with some others of the same dimension: row after row. One thread.
///
/// # Panics
/// If there are not as many rows, or their dimensions differ.
#[must_use]
pub fn dots_of_rows(
    (rows, some): (&AlignedRows, Range<usize>),
    (others, any): (&AlignedRows, Range<usize>),
) -> Vec<f32> {
    assert!(some.start <= some.end && some.end <= rows.len());
    assert!(any.start <= any.end && any.end <= others.len());
    assert_eq!(rows.dim(), others.dim());
    let (n, m, dim) = (some.len(), any.len(), rows.dim());
    let mut out = vec![0.0; n * m];
    if out.is_empty() || dim == 0 {
        return out;
    }
    let stride = |rows: &AlignedRows| rows.padded(0).len().cast_signed();
    // SAFETY: `n` rows and `m` others are of `dim` numbers each, and a stride apart; there is room for
    // `n` times `m` numbers, which nobody else sees.
    unsafe {
        gemm(
            n,
            m,
            dim,
            out.as_mut_ptr(),
            1,
            m.cast_signed(),
            false,
            rows.from(some.start).as_ptr(),
            1,
            stride(rows),
            others.from(any.start).as_ptr(),
            stride(others),
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::dot;

    #[test]
    fn products_are_those_of_each_pair() {
        let rows = |n: u16, dim: u16, seed: u16| {
            let mut rows = AlignedRows::with_capacity(dim.into(), n.into());
            for row in 0..n {
                let number = |i: u16| f32::from((row * 31 + i * 17 + seed) % 23) - 11.0;
                rows.push(&(0..dim).map(number).collect::<Vec<_>>());
            }
            rows
        };
        for (n, m, dim) in [(1, 1, 1), (3, 5, 2), (7, 4, 31), (33, 65, 100), (2, 3, 784)] {
            let (a, b) = (rows(n, dim, 1), rows(m, dim, 5));
            let (some, any) = (a.len() / 2..a.len(), b.len() / 3..b.len());
            let products = dots_of_rows((&a, some.clone()), (&b, any.clone()));
            // Of whole numbers, exactly.
            let pairs = some.flat_map(|row| any.clone().map(move |other| (row, other)));
            let expected = pairs.map(|(row, other)| dot(a.padded(row), b.padded(other)));
            assert_eq!(products, expected.collect::<Vec<_>>(), "{n} {m} {dim}");
        }
        assert!(dots_of_rows((&rows(4, 8, 0), 2..2), (&rows(3, 8, 0), 0..3)).is_empty());
    }
}
