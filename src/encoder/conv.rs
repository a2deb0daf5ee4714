//! Convolution over channels-last images with a square kernel of odd side and zero padding.
//!
//! What comes out for an image does not depend on its neighbours in the batch.

use crate::simd::conv::{self, Filters, Geometry, PointFilters, Winograd};
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

    /// What does it by tiles, where it can and images have at least so many.
    fn winograd(&self, tiles: usize) -> Option<Winograd> {
        if (self.side, self.stride) != (3, 1) {
            return None;
        }
        let winograd = Winograd::new(self.height, self.width, self.from, self.to)?;
        (winograd.tiles() >= tiles).then_some(winograd)
    }
}

/// Fewest tiles of an image that is worth doing by tiles by itself: filters at the points
/// are four times as large as the kernel, and have to be read for it alone.
const ALONE: usize = 4;

thread_local! {
    static BORDERED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static SPREAD: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A convolution of one size, with its kernel where it goes forward.
#[derive(Debug, Clone)]
pub struct Conv {
    size: Size,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Direct(Geometry, Filters),
    Tiles(Winograd, PointFilters),
}

impl Conv {
    /// `kernel` is `[side, side, from, to]`. For images that come one by one.
    ///
    /// # Panics
    /// The kernel is of another size, or something is zero.
    #[must_use]
    pub fn new(kernel: &[f32], size: Size) -> Self {
        Self::with(kernel, size, size.winograd(ALONE))
    }

    /// The same for images that come many at once.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn of_batches(kernel: &[f32], size: Size) -> Self {
        Self::with(kernel, size, size.winograd(1))
    }

    fn with(kernel: &[f32], size: Size, winograd: Option<Winograd>) -> Self {
        assert_eq!(kernel.len(), size.kernel(), "{size:?}");
        let way = if let Some(winograd) = winograd {
            let filters = winograd.filters(kernel);
            Way::Tiles(winograd, filters)
        } else {
            Way::Direct(size.geometry(), Filters::new(kernel, size.to))
        };
        Self { size, way }
    }

    /// How many numbers its filters are; by tiles, 36 for every nine of the kernel's.
    #[must_use]
    pub fn numbers(&self) -> usize {
        match self.way {
            Way::Tiles(..) => 4 * self.size.kernel(),
            Way::Direct(..) => self.size.kernel(),
        }
    }

    /// Images `x` `[n, height, width, from]` to `y` `[n, rows out, columns out, to]`.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        match &self.way {
            Way::Tiles(winograd, filters) => winograd.forward(x, filters, y),
            Way::Direct(geometry, filters) => BORDERED.with_borrow_mut(|bordered| {
                let images = x.chunks_exact(self.size.input());
                for (x, y) in images.zip(y.chunks_exact_mut(self.size.output())) {
                    geometry.border(x, bordered);
                    conv::forward(bordered, geometry, filters, y);
                }
            }),
        }
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
            conv: Conv::of_batches(&reversed_kernel(kernel, size), reversed),
            size,
        }
    }

    /// `dx` `[n, height, width, from]` from the gradient `dy` of what came out.
    pub fn input(&self, dy: &[f32], dx: &mut [f32]) {
        let Size { stride, to, .. } = self.size;
        if stride == 1 {
            return self.conv.forward(dy, dx);
        }
        // Places that were passed over had no part in it.
        SPREAD.with_borrow_mut(|spread| {
            spread.clear();
            let line = self.size.width * to;
            let each = self.size.height * line;
            spread.resize(dy.len() / self.size.output() * each, 0.0);
            let images = dy.chunks_exact(self.size.output());
            for (dy, spread) in images.zip(spread.chunks_exact_mut(each)) {
                let rows = dy.chunks_exact(self.size.out().1 * to);
                for (row, out) in rows.zip(spread.chunks_mut(stride * line)) {
                    for (v, out) in row.chunks_exact(to).zip(out.chunks_mut(stride * to)) {
                        out[..to].copy_from_slice(v);
                    }
                }
            }
            self.conv.forward(spread, dx);
        });
    }
}

/// What the kernel's gradient is summed up with.
#[derive(Debug, Clone)]
pub struct KernelGradient {
    size: Size,
    geometry: Geometry,
    winograd: Option<Winograd>,
}

impl KernelGradient {
    /// For convolutions of this size.
    #[must_use]
    pub fn new(size: Size) -> Self {
        Self {
            size,
            geometry: size.geometry(),
            winograd: size.winograd(1),
        }
    }

    /// Numbers of the sum.
    #[must_use]
    pub fn numbers(&self) -> usize {
        let points = self.winograd.as_ref().map(Winograd::points);
        points.unwrap_or_else(|| self.size.kernel())
    }

    /// Adds the share of some images to `sum`; `dy` is the gradient of `y`.
    pub fn add(&self, x: &[f32], dy: &[f32], sum: &mut [f32]) {
        if let Some(winograd) = &self.winograd {
            return winograd.add_gradient(x, dy, sum);
        }
        BORDERED.with_borrow_mut(|bordered| {
            let images = x.chunks_exact(self.size.input());
            for (x, dy) in images.zip(dy.chunks_exact(self.size.output())) {
                self.geometry.border(x, bordered);
                conv::add_kernel_gradient(bordered, &self.geometry, dy, sum);
            }
        });
    }

    /// The kernel's gradient `[side, side, from, to]`, from the sum over all images.
    #[must_use]
    pub fn finish(&self, sum: &[f32]) -> Vec<f32> {
        match &self.winograd {
            Some(winograd) => winograd.kernel_gradient(sum),
            None => sum.to_vec(),
        }
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
