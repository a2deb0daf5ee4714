//! Squares of blocks of channels between two fixed matrices, for each instruction set.
#![expect(clippy::many_single_char_names, reason = "rows of small matrices")]

use super::super::BLOCK;
use std::array::from_fn;
use std::sync::OnceLock;

type Lanes = [f32; BLOCK];

/// Which matrix stands on the left, and transposed on the right, of a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matrix {
    /// From 6x6 places to points.
    Input,
    /// From 3x3 numbers of a kernel to points.
    Kernel,
    /// From points to the 4x4 places of a tile.
    Output,
    /// From gradients of 4x4 places to points: the transposed of `Output`.
    Gradient,
    /// From points to 3x3 numbers of a kernel: the transposed of `Kernel`.
    KernelGradient,
}

/// Where squares of blocks lie, and where to they are taken.
#[derive(Debug, Clone)]
pub(super) struct Squares {
    /// Where each begins, here and there.
    pub starts: Vec<(usize, usize)>,
    /// From one row to the next, and from one column to the next, here.
    pub from: [usize; 2],
    /// The same there.
    pub to: [usize; 2],
}

impl Squares {
    /// The way back.
    pub fn reversed(self) -> Self {
        Self {
            starts: self.starts.into_iter().map(|(a, b)| (b, a)).collect(),
            from: self.to,
            to: self.from,
        }
    }
}

/// Takes every square from `from` to `to`.
///
/// # Panics
/// One does not lie within.
pub(super) fn transform(matrix: Matrix, from: &[f32], to: &mut [f32], squares: &Squares) {
    static CHOSEN: OnceLock<Way> = OnceLock::new();
    // SAFETY: the instruction set was detected.
    unsafe { CHOSEN.get_or_init(|| ways()[0])(matrix, from, to, squares) }
}

type Way = unsafe fn(Matrix, &[f32], &mut [f32], &Squares);

/// The ways that this machine can go, the best first.
fn ways() -> Vec<Way> {
    let mut all: Vec<Way> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            all.push(avx512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(avx2);
        }
    }
    all.push(any);
    all
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(matrix: Matrix, from: &[f32], to: &mut [f32], squares: &Squares) {
    any(matrix, from, to, squares);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(matrix: Matrix, from: &[f32], to: &mut [f32], squares: &Squares) {
    any(matrix, from, to, squares);
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "compiled anew for each instruction set"
)]
fn any(matrix: Matrix, from: &[f32], to: &mut [f32], squares: &Squares) {
    match matrix {
        Matrix::Input => each(from, to, squares, input),
        Matrix::Kernel => each(from, to, squares, kernel),
        Matrix::Output => each(from, to, squares, output),
        Matrix::Gradient => each(from, to, squares, gradient),
        Matrix::KernelGradient => each(from, to, squares, kernel_gradient),
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "compiled anew for each instruction set; squares by rows and columns"
)]
fn each<const N: usize, const M: usize>(
    from: &[f32],
    to: &mut [f32],
    squares: &Squares,
    along: impl Fn([f32; N]) -> [f32; M] + Copy,
) {
    let mut half = [[[0.0; BLOCK]; N]; M];
    for (start, end) in &squares.starts {
        for column in 0..N {
            let line: [&Lanes; N] = from_fn(|row| {
                let at = start + row * squares.from[0] + column * squares.from[1];
                &from[at..].as_chunks().0[0]
            });
            for lane in 0..BLOCK {
                let values = along(from_fn(|row| line[row][lane]));
                for row in 0..M {
                    half[row][column][lane] = values[row];
                }
            }
        }
        for (row, half) in half.iter().enumerate() {
            let mut out = [[0.0; BLOCK]; M];
            for lane in 0..BLOCK {
                let values = along(from_fn(|column| half[column][lane]));
                for column in 0..M {
                    out[column][lane] = values[column];
                }
            }
            for (column, out) in out.iter().enumerate() {
                let at = end + row * squares.to[0] + column * squares.to[1];
                to[at..][..BLOCK].copy_from_slice(out);
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "a few sums")]
fn input([a, b, c, d, e, f]: [f32; 6]) -> [f32; 6] {
    let (even, odd) = (e - 4.0 * c, d - 4.0 * b);
    let (near, far) = (e - c, 2.0 * (d - b));
    [
        4.0 * a - 5.0 * c + e,
        even + odd,
        even - odd,
        near + far,
        near - far,
        4.0 * b - 5.0 * d + f,
    ]
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "a few sums")]
fn kernel([a, b, c]: [f32; 3]) -> [f32; 6] {
    let (even, far) = ((a + c) / -6.0, a / 24.0 + c / 6.0);
    [
        a / 4.0,
        even - b / 6.0,
        even + b / 6.0,
        far + b / 12.0,
        far - b / 12.0,
        c,
    ]
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "a few sums")]
fn kernel_gradient([a, b, c, d, e, f]: [f32; 6]) -> [f32; 3] {
    let (even, far) = ((b + c) / -6.0, d + e);
    [
        a / 4.0 + even + far / 24.0,
        (c - b) / 6.0 + (d - e) / 12.0,
        even + far / 6.0 + f,
    ]
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "a few sums")]
fn output([a, b, c, d, e, f]: [f32; 6]) -> [f32; 4] {
    let (near, far) = (b + c, d + e);
    let (between, beyond) = (b - c, d - e);
    [
        a + near + far,
        between + 2.0 * beyond,
        near + 4.0 * far,
        between + 8.0 * beyond + f,
    ]
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "a few sums")]
fn gradient([a, b, c, d]: [f32; 4]) -> [f32; 6] {
    let (even, odd) = (a + c, b + d);
    let (far, beyond) = (a + 4.0 * c, 2.0 * b + 8.0 * d);
    [a, even + odd, even - odd, far + beyond, far - beyond, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_agrees() {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let from: Vec<f32> = (0..36 * BLOCK)
            .map(|i| ((i * 29) % 97) as f32 - 48.0)
            .collect();
        let squares = Squares {
            starts: vec![(0, 0)],
            from: [6 * BLOCK, BLOCK],
            to: [6 * BLOCK, BLOCK],
        };
        let all = [
            Matrix::Input,
            Matrix::Kernel,
            Matrix::Output,
            Matrix::Gradient,
            Matrix::KernelGradient,
        ];
        for matrix in all {
            let mut expected = vec![0.0; from.len()];
            any(matrix, &from, &mut expected, &squares);
            assert!(expected.iter().any(|v| *v != 0.0));
            for way in ways() {
                let mut got = vec![0.0; from.len()];
                // SAFETY: the instruction set was detected.
                unsafe { way(matrix, &from, &mut got, &squares) }
                let pairs = got.iter().zip(&expected);
                assert!(
                    pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3),
                    "{matrix:?}"
                );
            }
        }
    }
}
