//! Convolution over channels-last images with a square kernel of odd side and zero padding.
//!
//! Everything is done image by image, so what comes out for an image does not depend on its
//! neighbours in the batch.

use crate::simd::conv::{self, Filters, Geometry};
use std::cell::RefCell;

/// The image that goes into a convolution, its kernel, and the channels that come out.
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
    /// Rows and columns of the kernel; odd.
    pub side: usize,
    /// From one place that is computed to the next, each way.
    pub stride: usize,
}

impl Size {
    /// Rows and columns that come out.
    #[must_use]
    pub fn out(&self) -> (usize, usize) {
        let along = |v: usize| v.div_ceil(self.stride);
        (along(self.height), along(self.width))
    }

    /// Places that come out.
    #[must_use]
    pub fn places(&self) -> usize {
        self.out().0 * self.out().1
    }

    /// Numbers of an image that goes in.
    #[must_use]
    pub fn input(&self) -> usize {
        self.height * self.width * self.from
    }

    /// Numbers of an image that comes out.
    #[must_use]
    pub fn output(&self) -> usize {
        self.places() * self.to
    }

    /// Numbers that one place sees: rows of the kernel matrix.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.side * self.side * self.from
    }

    /// Numbers of the kernel.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.depth() * self.to
    }

    fn geometry(&self) -> Geometry {
        Geometry::new(self.height, self.width, self.from, self.side, self.stride)
    }
}

thread_local! {
    static BORDERED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static SPREAD: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A convolution of one size, with its kernel where it goes forward.
#[derive(Debug, Clone)]
pub struct Conv {
    geometry: Geometry,
    filters: Filters,
}

impl Conv {
    /// `kernel` is `[side, side, from, to]`.
    ///
    /// # Panics
    /// The kernel is of another size, or something is zero.
    #[must_use]
    pub fn new(kernel: &[f32], size: Size) -> Self {
        assert_eq!(kernel.len(), size.kernel(), "{size:?}");
        Self {
            geometry: size.geometry(),
            filters: Filters::new(kernel, size.to),
        }
    }

    /// One image: `x` is `[height, width, from]`, `y` `[rows out, columns out, to]`.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        BORDERED.with_borrow_mut(|bordered| {
            self.geometry.border(x, bordered);
            conv::forward(bordered, &self.geometry, &self.filters, y);
        });
    }
}

/// What takes gradients back through a convolution.
#[derive(Debug, Clone)]
pub struct Back {
    /// The kernel turned by 180 degrees, its channels exchanged.
    conv: Conv,
    size: Size,
}

impl Back {
    /// From the kernel `[side, side, from, to]` of the way there.
    ///
    /// # Panics
    /// As [`Conv::new`].
    #[must_use]
    pub fn new(kernel: &[f32], size: Size) -> Self {
        let reversed = Size {
            from: size.to,
            to: size.from,
            stride: 1,
            ..size
        };
        Self {
            conv: Conv::new(&reversed_kernel(kernel, size), reversed),
            size,
        }
    }

    /// One image: `dx` `[height, width, from]` from the gradient `dy` of what came out.
    pub fn input(&self, dy: &[f32], dx: &mut [f32]) {
        let Size { stride, to, .. } = self.size;
        if stride == 1 {
            return self.conv.forward(dy, dx);
        }
        // Places that were passed over had no part in it.
        SPREAD.with_borrow_mut(|spread| {
            spread.clear();
            spread.resize(self.size.height * self.size.width * to, 0.0);
            let (rows, line) = (
                dy.chunks_exact(self.size.out().1 * to),
                self.size.width * to,
            );
            for (row, out) in rows.zip(spread.chunks_mut(stride * line)) {
                for (v, out) in row.chunks_exact(to).zip(out.chunks_mut(stride * to)) {
                    out[..to].copy_from_slice(v);
                }
            }
            self.conv.forward(spread, dx);
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
        Self(size.geometry())
    }

    /// Adds one image's share to `gradient` `[side, side, from, to]`; `dy` is the gradient of `y`.
    pub fn add(&self, x: &[f32], dy: &[f32], gradient: &mut [f32]) {
        BORDERED.with_borrow_mut(|bordered| {
            self.0.border(x, bordered);
            conv::add_kernel_gradient(bordered, &self.0, dy, gradient);
        });
    }
}

fn reversed_kernel(kernel: &[f32], size: Size) -> Vec<f32> {
    let Size { from, to, side, .. } = size;
    let mut out = vec![0.0; kernel.len()];
    for (tap, matrix) in kernel.chunks_exact(from * to).enumerate() {
        let start = (side * side - 1 - tap) * from * to;
        for (i, row) in matrix.chunks_exact(to).enumerate() {
            for (o, v) in row.iter().enumerate() {
                out[start + o * from + i] = *v;
            }
        }
    }
    out
}
