//! Convolution by three by three in a quarter of the multiplications: F(4x4, 3x3) of Lavin
//! and Gray 2016, "Fast algorithms for convolutional neural networks".
//!
//! A tile of 4x4 places sees 6x6. Tile and kernel are both taken to 6x6 points, by small
//! fixed matrices on either side; there they are multiplied point by point, and what comes of
//! it is taken back. Over all channels and tiles that is, a point, one product of matrices:
//! `[tiles, from]` by `[from, to]`. What comes out for a tile does not depend on how many are
//! done at once.

mod transforms;

use super::{AlignedRows, BLOCK, Filters, Geometry, add_kernel_gradient, forward};
use std::cell::RefCell;
use std::ops::Range;
use transforms::{Matrix, Squares, transform};

/// Rows and columns of a tile.
const TILE: usize = 4;
/// Rows and columns of points.
const SIDE: usize = TILE + 2;
const POINTS: usize = SIDE * SIDE;
/// About so many tiles are done at once: enough that a point's filters, once read, serve
/// many rows; few enough that all of their points stay near.
const AT_ONCE: usize = 96;

/// A convolution of images of one size, as many as one likes.
#[derive(Debug, Clone)]
pub struct Winograd {
    height: usize,
    width: usize,
    from: usize,
    to: usize,
    /// What puts an image into its border.
    border: Geometry,
}

/// A kernel at the points.
#[derive(Debug, Clone)]
pub struct PointFilters(Vec<Filters>);

/// Room for one image in its border, for points that go in, and for what comes out.
#[derive(Debug, Default)]
struct Room {
    bordered: Vec<f32>,
    from: Vec<f32>,
    to: Vec<f32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

impl Winograd {
    /// For images of `height x width x from` and `to` channels out, if they can be cut into
    /// whole tiles and blocks of channels.
    #[must_use]
    pub fn new(height: usize, width: usize, from: usize, to: usize) -> Option<Self> {
        let whole = |v: usize, by| v > 0 && v.is_multiple_of(by);
        let tiles = whole(height, TILE) && whole(width, TILE);
        (tiles && whole(from, BLOCK) && whole(to, BLOCK)).then(|| Self {
            height,
            width,
            from,
            to,
            border: Geometry::new(height, width, from, 3, 1),
        })
    }

    /// Tiles of an image.
    #[must_use]
    pub fn tiles(&self) -> usize {
        self.height * self.width / (TILE * TILE)
    }

    /// Lays out a kernel `[3, 3, from, to]` for [`Self::forward`].
    ///
    /// # Panics
    /// It has another length.
    #[must_use]
    pub fn filters(&self, kernel: &[f32]) -> PointFilters {
        let (from, to) = (self.from, self.to);
        assert_eq!(kernel.len(), 9 * from * to, "kernel");
        let none = || AlignedRows::with_capacity(from * BLOCK, to / BLOCK);
        let mut points: Vec<AlignedRows> = (0..POINTS).map(|_| none()).collect();
        let mut block = vec![0.0; POINTS * from * BLOCK];
        for at in (0..to).step_by(BLOCK) {
            let squares = Squares {
                starts: (0..from).map(|k| (k * to + at, k * BLOCK)).collect(),
                from: [3 * from * to, from * to],
                to: [SIDE * from * BLOCK, from * BLOCK],
            };
            transform(Matrix::Kernel, kernel, &mut block, &squares);
            for (rows, point) in points.iter_mut().zip(block.chunks_exact(from * BLOCK)) {
                rows.push(point);
            }
        }
        let depth = from;
        let filters = |blocks| Filters { blocks, depth, to };
        PointFilters(points.into_iter().map(filters).collect())
    }

    /// `y` `[n, height, width, to]`: the convolution of `x` `[n, height, width, from]`.
    ///
    /// # Panics
    /// Sizes do not fit one another.
    pub fn forward(&self, x: &[f32], filters: &PointFilters, y: &mut [f32]) {
        ROOM.with_borrow_mut(|room| {
            for images in self.groups(x, y) {
                let tiles = self.enter(&x[self.input(&images)], room);
                let rows = Geometry::new(tiles, 1, self.from, 1, 1);
                let points = room.from.chunks_exact(tiles * self.from);
                let products = room.to.chunks_exact_mut(tiles * self.to);
                for ((x, y), filters) in points.zip(products).zip(&filters.0) {
                    forward(x, &rows, filters, y);
                }
                let squares = self.output_squares(&images).reversed();
                let y = &mut y[self.output(&images)];
                transform(Matrix::Output, &room.to, y, &squares);
            }
        });
    }

    /// Adds to `gradient` `[points, from, to]` what images `x` and the gradient `d` of what
    /// came out say about the kernel; [`Self::kernel_gradient`] takes the sum from there.
    ///
    /// # Panics
    /// Sizes do not fit one another.
    pub fn add_gradient(&self, x: &[f32], d: &[f32], gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.points(), "gradient");
        ROOM.with_borrow_mut(|room| {
            for images in self.groups(x, d) {
                let tiles = self.enter(&x[self.input(&images)], room);
                let squares = self.output_squares(&images);
                transform(
                    Matrix::Gradient,
                    &d[self.output(&images)],
                    &mut room.to,
                    &squares,
                );
                let rows = Geometry::new(tiles, 1, self.from, 1, 1);
                let points = room.from.chunks_exact(tiles * self.from);
                let gradients = gradient.chunks_exact_mut(self.from * self.to);
                let d = room.to.chunks_exact(tiles * self.to);
                for ((x, d), gradient) in points.zip(d).zip(gradients) {
                    add_kernel_gradient(x, &rows, d, gradient);
                }
            }
        });
    }

    /// Numbers of the gradient that [`Self::add_gradient`] sums up.
    #[must_use]
    pub fn points(&self) -> usize {
        POINTS * self.from * self.to
    }

    /// The gradient of the kernel `[3, 3, from, to]` from that at the points.
    ///
    /// # Panics
    /// It has another length.
    #[must_use]
    pub fn kernel_gradient(&self, points: &[f32]) -> Vec<f32> {
        assert_eq!(points.len(), self.points());
        let each = self.from * self.to;
        let mut gradient = vec![0.0; 9 * each];
        let squares = Squares {
            starts: (0..each).step_by(BLOCK).map(|at| (at, at)).collect(),
            from: [SIDE * each, each],
            to: [3 * each, each],
        };
        transform(Matrix::KernelGradient, points, &mut gradient, &squares);
        gradient
    }

    /// The numbers of images, so many at a time as are done at once.
    fn groups(&self, x: &[f32], y: &[f32]) -> impl Iterator<Item = Range<usize>> + use<> {
        let places = self.height * self.width;
        let n = x.len() / (places * self.from);
        assert_eq!(x.len(), n * places * self.from, "what goes in");
        assert_eq!(y.len(), n * places * self.to, "what comes out");
        let at_once = AT_ONCE.div_ceil(self.tiles());
        (0..n).step_by(at_once).map(move |i| i..n.min(i + at_once))
    }

    fn input(&self, images: &Range<usize>) -> Range<usize> {
        let each = self.height * self.width * self.from;
        images.start * each..images.end * each
    }

    fn output(&self, images: &Range<usize>) -> Range<usize> {
        let each = self.height * self.width * self.to;
        images.start * each..images.end * each
    }

    /// Takes images to their points `[points, tiles, from]`, and makes room for as many
    /// `[points, tiles, to]`. Answers the number of tiles.
    fn enter(&self, x: &[f32], room: &mut Room) -> usize {
        let each = self.height * self.width * self.from;
        let tiles = x.len() / each * self.tiles();
        room.from.resize(POINTS * tiles * self.from, 0.0);
        room.to.resize(POINTS * tiles * self.to, 0.0);
        let squares = self.squares(1, tiles, (self.width + 2) * self.from, self.from);
        for (i, x) in x.chunks_exact(each).enumerate() {
            self.border.border(x, &mut room.bordered);
            let points = &mut room.from[i * self.tiles() * self.from..];
            transform(Matrix::Input, &room.bordered, points, &squares);
        }
        tiles
    }

    /// From images as they come out to points.
    fn output_squares(&self, images: &Range<usize>) -> Squares {
        let n = images.len();
        self.squares(n, n * self.tiles(), self.width * self.to, self.to)
    }

    /// From `images` with lines of `line` numbers to points of `tiles` tiles in all.
    fn squares(&self, images: usize, tiles: usize, line: usize, channels: usize) -> Squares {
        let mut starts = Vec::with_capacity(images * self.tiles() * channels / BLOCK);
        let mut to = 0;
        for row in (0..images * self.height).step_by(TILE) {
            for column in (0..self.width).step_by(TILE) {
                for channel in (0..channels).step_by(BLOCK) {
                    starts.push((row * line + column * channels + channel, to));
                    to += BLOCK;
                }
            }
        }
        Squares {
            starts,
            from: [line, channels],
            to: [SIDE * tiles * channels, tiles * channels],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed * 101) % 127) as f32 / 64.0 - 1.0;
        (0..n).map(number).collect()
    }

    fn near(a: &[f32], b: &[f32], tolerance: f32) {
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= tolerance * largest, "{a} {b} of {largest}");
        }
    }

    #[test]
    fn it_agrees_with_the_direct_way_there_and_back() {
        let sizes = [(4, 4, 16, 32, 1), (8, 4, 32, 16, 3), (16, 16, 16, 80, 9)];
        let tried = if cfg!(miri) { 1 } else { sizes.len() };
        for (height, width, from, to, n) in sizes.into_iter().take(tried) {
            let winograd = Winograd::new(height, width, from, to).unwrap();
            let (places, each) = (height * width, height * width * from);
            let (x, kernel) = (numbers(n * each, 1), numbers(9 * from * to, 2));
            let d = numbers(n * places * to, 3);
            let (mut y, mut exact) = (vec![9.0; n * places * to], vec![9.0; n * places * to]);
            winograd.forward(&x, &winograd.filters(&kernel), &mut y);
            let mut gradient = vec![0.0; winograd.points()];
            winograd.add_gradient(&x, &d, &mut gradient);
            let mut exact_gradient = vec![0.0; kernel.len()];
            let (geometry, filters) = (&winograd.border, Filters::new(&kernel, to));
            let mut bordered = Vec::new();
            let outputs = exact
                .chunks_exact_mut(places * to)
                .zip(d.chunks_exact(places * to));
            for (x, (y, d)) in x.chunks_exact(each).zip(outputs) {
                geometry.border(x, &mut bordered);
                forward(&bordered, geometry, &filters, y);
                add_kernel_gradient(&bordered, geometry, d, &mut exact_gradient);
            }
            near(&y, &exact, 1e-5);
            near(&winograd.kernel_gradient(&gradient), &exact_gradient, 1e-5);
            // One image by itself: the same, bit for bit.
            let mut alone = vec![9.0; places * to];
            let last = (n - 1) * each;
            winograd.forward(&x[last..], &winograd.filters(&kernel), &mut alone);
            assert_eq!(alone, y[(n - 1) * places * to..]);
        }
    }

    #[test]
    fn what_cannot_be_cut_into_tiles_and_blocks_is_declined() {
        assert!(Winograd::new(4, 8, 16, 16).is_some());
        for (height, width, from, to) in [
            (6, 4, 16, 16),
            (4, 5, 16, 16),
            (4, 4, 8, 16),
            (4, 4, 16, 24),
            (0, 4, 16, 16),
        ] {
            assert!(Winograd::new(height, width, from, to).is_none());
        }
    }
}
