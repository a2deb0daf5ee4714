//! 3x3 convolution over channels-last images: stride 1, zero padding.
//!
//! Everything is done image by image, so what comes out for an image does not depend on its
//! neighbours in the batch.

use crate::simd::conv::{self, Filters, Geometry};
use std::cell::RefCell;

/// Rows and columns of the kernel.
const SIDE: usize = 3;

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
    static BORDERED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A convolution of one size, with its kernel where it goes forward.
#[derive(Debug, Clone)]
pub struct Conv {
    geometry: Geometry,
    filters: Filters,
}

impl Conv {
    /// `kernel` is `[3, 3, from, to]`.
    ///
    /// # Panics
    /// The kernel is of another size, or something is zero.
    #[must_use]
    pub fn new(kernel: &[f32], size: Size) -> Self {
        assert_eq!(kernel.len(), SIDE * SIDE * size.from * size.to, "{size:?}");
        Self {
            geometry: Geometry::new(size.height, size.width, size.from, SIDE),
            filters: Filters::new(kernel, size.to),
        }
    }

    /// The one that takes gradients back, from a kernel `[3, 3, from, to]` of the way there:
    /// turned by 180 degrees, its channels exchanged.
    #[must_use]
    pub fn back(kernel: &[f32], size: Size) -> Self {
        Self::new(
            &reversed_kernel(kernel, size.from, size.to),
            size.reversed(),
        )
    }

    /// One image: `x` is `[height, width, from]`, `y` `[height, width, to]`.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        BORDERED.with_borrow_mut(|bordered| {
            self.geometry.border(x, bordered);
            conv::forward(bordered, &self.geometry, &self.filters, y);
        });
    }
}

/// What the kernel's gradient is summed up with.
#[derive(Debug, Clone)]
pub struct KernelGradient(Geometry);

impl KernelGradient {
    /// For convolutions of this size.
    #[must_use]
    pub fn new(size: Size) -> Self {
        Self(Geometry::new(size.height, size.width, size.from, SIDE))
    }

    /// Adds one image's share to `gradient` `[3, 3, from, to]`; `dy` is the gradient of `y`.
    pub fn add(&self, x: &[f32], dy: &[f32], gradient: &mut [f32]) {
        BORDERED.with_borrow_mut(|bordered| {
            self.0.border(x, bordered);
            conv::add_kernel_gradient(bordered, &self.0, dy, gradient);
        });
    }
}

fn reversed_kernel(kernel: &[f32], from: usize, to: usize) -> Vec<f32> {
    let mut out = vec![0.0; kernel.len()];
    for (tap, matrix) in kernel.chunks_exact(from * to).enumerate() {
        let start = (SIDE * SIDE - 1 - tap) * from * to;
        for (i, row) in matrix.chunks_exact(to).enumerate() {
            for (o, v) in row.iter().enumerate() {
                out[start + o * from + i] = *v;
            }
        }
    }
    out
}
