//! Convolution of channels-last images without gathering patches first.
//!
//! A kernel of three by three reads, for one place, three runs of `3 x channels` consecutive
//! numbers. Tiles of six places by up to 64 output channels stay in registers while the runs
//! go by (after Georganas et al. 2018, "Anatomy of high-performance deep learning
//! convolutions on SIMD architectures").

mod blocks;
mod walk;
mod winograd;

use super::AlignedRows;
use walk::kernels;

pub use winograd::{PointFilters, Winograd};

/// Output channels are done in blocks of so many.
const BLOCK: usize = 16;

/// Where a convolution reads, in an image that already has its border of zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Where the patch of each place begins.
    starts: Vec<usize>,
    /// From a line of a patch to the next.
    line: usize,
    /// Lines of a patch.
    lines: usize,
    /// Numbers in a line of a patch.
    run: usize,
    /// Numbers of the bordered image.
    input: usize,
}

impl Geometry {
    /// A square kernel of odd side at every `stride`-th place, each way, of an image of
    /// `height x width x channels`, which stands in a border of `side / 2` zeros.
    ///
    /// # Panics
    /// The side is even, or something is zero.
    #[must_use]
    pub fn new(height: usize, width: usize, channels: usize, side: usize, stride: usize) -> Self {
        assert!(side % 2 == 1, "a kernel has a middle");
        assert!(height * width * channels > 0, "an empty image");
        let line = (width + side - 1) * channels;
        let rows = (0..height).step_by(stride);
        let places = rows.flat_map(|row| (0..width).step_by(stride).map(move |col| (row, col)));
        Self {
            starts: places.map(|(r, c)| r * line + c * channels).collect(),
            line,
            lines: side,
            run: side * channels,
            input: (height + side - 1) * line,
        }
    }

    /// Places of the output.
    #[must_use]
    pub fn places(&self) -> usize {
        self.starts.len()
    }

    /// Numbers in a patch: rows of the kernel matrix.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.lines * self.run
    }

    /// The numbers of one image that have been put into a border of zeros: `into` is filled.
    ///
    /// # Panics
    /// `image` is of another size.
    pub fn border(&self, image: &[f32], into: &mut Vec<f32>) {
        let margin = self.run / self.lines * (self.lines / 2);
        let row = self.line - 2 * margin;
        assert_eq!(
            image.len(),
            self.input / self.line * row - (self.lines - 1) * row
        );
        into.clear();
        into.resize(self.input, 0.0);
        let lines = into.chunks_exact_mut(self.line).skip(self.lines / 2);
        for (line, row) in lines.zip(image.chunks_exact(row)) {
            line[margin..margin + row.len()].copy_from_slice(row);
        }
    }
}

/// A kernel matrix `[depth, to]`, laid out for [`forward`].
#[derive(Debug, Clone)]
pub struct Filters {
    /// One row a block of output channels: its `depth x BLOCK` numbers.
    blocks: AlignedRows,
    depth: usize,
    to: usize,
}

impl Filters {
    /// Lays out `kernel` `[depth, to]`, row after row.
    ///
    /// # Panics
    /// It has another length, or a side is zero.
    #[must_use]
    pub fn new(kernel: &[f32], to: usize) -> Self {
        assert!(to > 0 && !kernel.is_empty() && kernel.len().is_multiple_of(to));
        let depth = kernel.len() / to;
        let mut blocks = AlignedRows::with_capacity(depth * BLOCK, to.div_ceil(BLOCK));
        let mut block = vec![0.0; depth * BLOCK];
        for from in (0..to).step_by(BLOCK) {
            let channels = BLOCK.min(to - from);
            for (line, row) in block.chunks_exact_mut(BLOCK).zip(kernel.chunks_exact(to)) {
                line[..channels].copy_from_slice(&row[from..from + channels]);
                line[channels..].fill(0.0);
            }
            blocks.push(&block);
        }
        Self { blocks, depth, to }
    }

    /// Output channels.
    #[must_use]
    pub fn to(&self) -> usize {
        self.to
    }
}

/// Channels as they lie in whole blocks.
fn padded(to: usize) -> usize {
    to.next_multiple_of(BLOCK)
}

/// `y` `[places, to]`: the convolution of a bordered image.
///
/// # Panics
/// Sizes do not fit one another.
pub fn forward(x: &[f32], geometry: &Geometry, filters: &Filters, y: &mut [f32]) {
    let (places, to) = (geometry.places(), filters.to);
    assert_eq!(x.len(), geometry.input, "image");
    assert_eq!(filters.depth, geometry.depth(), "kernel");
    assert_eq!(y.len(), places * to, "output");
    if to.is_multiple_of(BLOCK) {
        // SAFETY: the kernel's instructions were detected. Every patch lies within `x`, by the
        // making of `Geometry`; `filters` holds `to / BLOCK` rows of `depth x BLOCK` numbers,
        // each padded row following the one before; `y` holds `places` rows of `to`.
        unsafe { (kernels().forward)(x, geometry, &filters.blocks, y) }
        return;
    }
    let mut whole = vec![0.0; places * padded(to)];
    // SAFETY: as above, with rows of `padded(to)` numbers.
    unsafe { (kernels().forward)(x, geometry, &filters.blocks, &mut whole) }
    for (y, whole) in y.chunks_exact_mut(to).zip(whole.chunks_exact(padded(to))) {
        y.copy_from_slice(&whole[..to]);
    }
}

/// Adds to `gradient` `[depth, to]` what one bordered image and the gradient `d`
/// `[places, to]` of its output say about the kernel matrix.
///
/// # Panics
/// Sizes do not fit one another.
pub fn add_kernel_gradient(x: &[f32], geometry: &Geometry, d: &[f32], gradient: &mut [f32]) {
    let (places, depth) = (geometry.places(), geometry.depth());
    assert_eq!(x.len(), geometry.input, "image");
    assert!(
        d.len().is_multiple_of(places) && !d.is_empty(),
        "gradient of the output"
    );
    let to = d.len() / places;
    assert_eq!(gradient.len(), depth * to, "gradient of the kernel");
    if to.is_multiple_of(BLOCK) {
        // SAFETY: the kernel's instructions were detected; patches lie within `x`; `d` holds
        // `places` rows and `gradient` `depth` rows of `to` numbers, a multiple of `BLOCK`.
        unsafe { (kernels().gradient)(x, geometry, d, gradient) }
        return;
    }
    let widened = |rows: &[f32]| -> Vec<f32> {
        let mut wide = vec![0.0; rows.len() / to * padded(to)];
        for (wide, row) in wide.chunks_exact_mut(padded(to)).zip(rows.chunks_exact(to)) {
            wide[..to].copy_from_slice(row);
        }
        wide
    };
    let mut whole = widened(gradient);
    // SAFETY: as above, with rows of `padded(to)` numbers.
    unsafe { (kernels().gradient)(x, geometry, &widened(d), &mut whole) }
    for (row, whole) in gradient
        .chunks_exact_mut(to)
        .zip(whole.chunks_exact(padded(to)))
    {
        row.copy_from_slice(&whole[..to]);
    }
}

#[cfg(test)]
mod tests {
    use super::walk::available;
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let number = |i: usize| ((i * 37 + seed * 101) % 127) as f32 / 64.0 - 1.0;
        (0..n).map(number).collect()
    }

    /// By the definition, in `f64`: what place `(row, col)` sees at `(line, i)` of its patch.
    fn seen(x: &[f32], size: [usize; 4], place: [usize; 2], at: [usize; 2]) -> f64 {
        let [height, width, channels, side] = size;
        let (row, col) = (place[0] + at[0], place[1] + at[1] / channels);
        let (row, col) = (row.wrapping_sub(side / 2), col.wrapping_sub(side / 2));
        if row >= height || col >= width {
            return 0.0;
        }
        f64::from(x[(row * width + col) * channels + at[1] % channels])
    }

    #[test]
    fn every_kernel_agrees_with_the_definition() {
        let sizes = [
            (1, 1, 1, 1, 3, 1),
            (3, 5, 2, 7, 3, 1),
            (4, 4, 4, 64, 3, 1),
            (5, 7, 3, 96, 3, 1),
            (6, 2, 5, 33, 1, 1),
            (2, 3, 2, 16, 5, 1),
            (4, 3, 1, 48, 3, 1),
            (4, 6, 3, 16, 3, 2),
            (5, 3, 2, 20, 3, 2),
            (7, 5, 3, 32, 1, 2),
            (7, 4, 1, 16, 5, 3),
        ];
        let tried = if cfg!(miri) { 2 } else { sizes.len() };
        for (height, width, channels, to, side, stride) in sizes.into_iter().take(tried) {
            let geometry = Geometry::new(height, width, channels, side, stride);
            let (depth, places) = (geometry.depth(), geometry.places());
            let x = numbers(height * width * channels, 1);
            let kernel = numbers(depth * to, 2);
            let d = numbers(places * to, 3);
            let mut bordered = Vec::new();
            geometry.border(&x, &mut bordered);
            let value = |place: usize, row: usize| {
                let at = [row / geometry.run, row % geometry.run];
                let across = width.div_ceil(stride);
                let place = [place / across, place % across].map(|at| at * stride);
                seen(&x, [height, width, channels, side], place, at)
            };
            let filters = Filters::new(&kernel, to);
            for kernels in available() {
                let (name, wide) = (kernels.name, padded(to));
                let mut y = vec![9.0; places * wide];
                // SAFETY: `available` detected the features; sizes are as `forward` has them.
                unsafe { (kernels.forward)(&bordered, &geometry, &filters.blocks, &mut y) }
                for (at, place) in (0..places * to).map(|i| (i % to, i / to)) {
                    let exact: f64 = (0..depth)
                        .map(|row| value(place, row) * f64::from(kernel[row * to + at]))
                        .sum();
                    let got = f64::from(y[place * wide + at]);
                    assert!((got - exact).abs() < 1e-4, "{name}: {got} {exact}");
                }
                let widened: Vec<f32> = d
                    .chunks_exact(to)
                    .flat_map(|row| row.iter().copied().chain(vec![0.0; wide - to]))
                    .collect();
                let mut gradient = vec![1.0; depth * wide];
                // SAFETY: as above, as `add_kernel_gradient` has them.
                unsafe { (kernels.gradient)(&bordered, &geometry, &widened, &mut gradient) }
                for (at, row) in (0..depth * to).map(|i| (i % to, i / to)) {
                    let exact: f64 = (0..places)
                        .map(|place| value(place, row) * f64::from(d[place * to + at]))
                        .sum();
                    let got = f64::from(gradient[row * wide + at]);
                    assert!((got - 1.0 - exact).abs() < 1e-4, "{name}: {got} {exact}");
                }
            }
            let mut y = vec![9.0; places * to];
            forward(&bordered, &geometry, &filters, &mut y);
            let mut gradient = vec![0.0; depth * to];
            add_kernel_gradient(&bordered, &geometry, &d, &mut gradient);
            let one = (0..depth).map(|row| value(0, row) * f64::from(kernel[row * to]));
            assert!((f64::from(y[0]) - one.sum::<f64>()).abs() < 1e-4);
            let one = (0..places).map(|place| value(place, 0) * f64::from(d[place * to]));
            assert!((f64::from(gradient[0]) - one.sum::<f64>()).abs() < 1e-4);
        }
    }
}
