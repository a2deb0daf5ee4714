//! 3x3 convolution over channels-last images: stride 1, zero padding, by way of im2col.
//!
//! Everything is done image by image, with products of one and the same shape, so what
//! comes out for an image does not depend on its neighbours in the batch.

use crate::simd::matmul::{Matrix, matmul};
use std::cell::RefCell;

/// Height, width, channels in and channels out of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels in.
    pub from: usize,
    /// Channels out.
    pub to: usize,
}

impl Size {
    /// Places of the image.
    #[must_use]
    pub fn places(&self) -> usize {
        self.height * self.width
    }

    /// Numbers of an image that goes in.
    #[must_use]
    pub fn input(&self) -> usize {
        self.places() * self.from
    }

    /// Numbers of an image that comes out.
    #[must_use]
    pub fn output(&self) -> usize {
        self.places() * self.to
    }

    /// The size of the convolution that takes gradients back.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            ..*self
        }
    }
}

thread_local! {
    static PATCHES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

fn with_patches<R>(length: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    PATCHES.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
        f(&mut buffer[..length])
    })
}

/// Places whose patches are gathered at a time: their matrix should stay in the L2 cache.
fn places_at_a_time(from: usize) -> usize {
    (160_000 / (9 * from)).clamp(16, 1024)
}

/// One image: `x` is `[height, width, from]`, `kernel` `[3, 3, from, to]`, `y`
/// `[height, width, to]`.
pub fn forward(x: &[f32], kernel: &[f32], size: Size, y: &mut [f32]) {
    let (depth, step) = (9 * size.from, places_at_a_time(size.from));
    let kernel = Matrix::new(kernel, depth, size.to);
    with_patches(step.min(size.places()) * depth, |patches| {
        for (nth, y) in y.chunks_mut(step * size.to).enumerate() {
            let places = y.len() / size.to;
            let patches = &mut patches[..places * depth];
            gather(x, size, nth * step, patches);
            matmul(y, Matrix::new(patches, places, depth), kernel, false);
        }
    });
}

/// Adds one image's share to the gradient of the kernel; `dy` is the gradient of `y`.
pub fn add_kernel_gradient(x: &[f32], dy: &[f32], size: Size, gradient: &mut [f32]) {
    let (depth, step) = (9 * size.from, places_at_a_time(size.from));
    with_patches(step.min(size.places()) * depth, |patches| {
        for (nth, dy) in dy.chunks(step * size.to).enumerate() {
            let places = dy.len() / size.to;
            let patches = &mut patches[..places * depth];
            gather(x, size, nth * step, patches);
            let patches = Matrix::new(patches, places, depth).transposed();
            matmul(gradient, patches, Matrix::new(dy, places, size.to), true);
        }
    });
}

/// The kernel that takes gradients back: turned by 180 degrees, its channels exchanged.
/// The gradient of the input is [`forward`] with it and [`Size::reversed`].
#[must_use]
pub fn reversed_kernel(kernel: &[f32], from: usize, to: usize) -> Vec<f32> {
    let mut out = vec![0.0; kernel.len()];
    for (tap, matrix) in kernel.chunks_exact(from * to).enumerate() {
        let start = (8 - tap) * from * to;
        for (i, row) in matrix.chunks_exact(to).enumerate() {
            for (o, v) in row.iter().enumerate() {
                out[start + o * from + i] = *v;
            }
        }
    }
    out
}

/// Fills `patches` with the 3x3 surroundings of the places from `first` on, a row a place.
fn gather(x: &[f32], size: Size, first: usize, patches: &mut [f32]) {
    let c = size.from;
    for (nth, patch) in patches.chunks_exact_mut(9 * c).enumerate() {
        let (row, col) = ((first + nth) / size.width, (first + nth) % size.width);
        for (ky, line) in patch.chunks_exact_mut(3 * c).enumerate() {
            if row + ky == 0 || row + ky > size.height {
                line.fill(0.0);
                continue;
            }
            let source = &x[(row + ky - 1) * size.width * c..][..size.width * c];
            if col > 0 && col + 1 < size.width {
                line.copy_from_slice(&source[(col - 1) * c..(col + 2) * c]);
                continue;
            }
            for (kx, cell) in line.chunks_exact_mut(c).enumerate() {
                if col + kx == 0 || col + kx > size.width {
                    cell.fill(0.0);
                } else {
                    cell.copy_from_slice(&source[(col + kx - 1) * c..][..c]);
                }
            }
        }
    }
}
