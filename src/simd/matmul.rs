//! Matrix products: a safe face on the `gemm` crate.

use gemm::{Parallelism, gemm};

/// A dense matrix of `f32`, read in either order.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_step: usize,
    col_step: usize,
}

impl<'a> Matrix<'a> {
    /// `rows x cols`, row after row.
    ///
    /// # Panics
    /// When `data` is not `rows * cols` long.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "{rows} x {cols}");
        Self {
            data,
            rows,
            cols,
            row_step: cols,
            col_step: 1,
        }
    }

    /// The transpose, without moving anything.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_step: self.col_step,
            col_step: self.row_step,
        }
    }
}

/// `out = a b`, or `out += a b` where `add`; on the calling thread. `out` is row-major.
///
/// # Panics
/// When the shapes do not fit.
pub fn matmul(out: &mut [f32], a: Matrix, b: Matrix, add: bool) {
    assert_eq!(a.cols, b.rows, "inner dimensions");
    assert_eq!(Some(out.len()), a.rows.checked_mul(b.cols), "output");
    if out.is_empty() {
        return;
    }
    let step = usize::cast_signed;
    // SAFETY: `Matrix` can only be made with `data` of exactly `rows * cols` elements and
    // the steps of its row-major order or the transpose of it, so every element that
    // `gemm` reads lies within `data`; `out` is `a.rows * b.cols` elements, row-major, and
    // is borrowed mutably, so it overlaps neither. No lengths exceed `isize::MAX` bytes.
    unsafe {
        gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            step(b.cols),
            add,
            a.data.as_ptr(),
            step(a.col_step),
            step(a.row_step),
            b.data.as_ptr(),
            step(b.col_step),
            step(b.row_step),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(m: &Matrix, r: usize, c: usize) -> f32 {
        m.data[r * m.row_step + c * m.col_step]
    }

    #[test]
    fn equals_the_definition_in_every_order() {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let data: Vec<f32> = (0..1024).map(|i| ((i * 37 % 101) as f32) - 50.0).collect();
        for (m, k, n) in [(1, 1, 1), (5, 7, 3), (1, 31, 16), (17, 12, 19)] {
            for flip in 0..4 {
                let (a, b) = (&data[..m * k], &data[100..100 + k * n]);
                let a = if flip & 1 == 0 {
                    Matrix::new(a, m, k)
                } else {
                    Matrix::new(a, k, m).transposed()
                };
                let b = if flip & 2 == 0 {
                    Matrix::new(b, k, n)
                } else {
                    Matrix::new(b, n, k).transposed()
                };
                let mut out = vec![1.0; m * n];
                matmul(&mut out, a, b, false);
                matmul(&mut out, a, b, true);
                for r in 0..m {
                    for c in 0..n {
                        let sum: f32 = (0..k).map(|i| element(&a, r, i) * element(&b, i, c)).sum();
                        let got = out[r * n + c];
                        assert!((got - 2.0 * sum).abs() < 0.5, "{got} {sum}");
                    }
                }
            }
        }
    }
}
