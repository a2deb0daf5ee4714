//! From pixels to what the tower sees: ink on nothing, upright, square, small.
//!
//! The background is the median of the picture's border; ink is how far a pixel is from
//! it, positive towards the side where most of the picture's ink lies. So black on white
//! and white on black give the same numbers. A picture that is not square is centred on a
//! square of background. What is transparent lies on white, or on black where on white
//! nothing could be seen.

use super::ImageError;
use super::decode::{ImageLimits, Picture, decode};
use super::grey::Grey;
use image::metadata::Orientation;

/// Rows and columns of an [`Ink`].
pub const GRID: usize = 64;
/// Rows and columns of the tower's input.
pub const SIDE: usize = GRID / 2;
/// Ink is scaled so that its largest value is 1, but by no more than `1 / FAINTEST`: what
/// is fainter is left faint, or noise on an empty page would be taken for ink.
pub(super) const FAINTEST: f32 = 0.25;

/// An image ready for the tower: 32 x 32 numbers in -1..=1, row after row; 0 is background.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared(pub(crate) Box<[f32]>);

impl Prepared {
    /// The 32 x 32 numbers, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Twice as fine as [`Prepared`]: what training augments, 64 x 64 numbers in -1..=1.
///
/// [`Ink::prepare`] averages squares of 2 x 2, and so does bilinear sampling at the
/// centres of the coarse grid: an augmentation that moves nothing gives what serving sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Ink(Box<[f32]>);

impl Ink {
    /// Decodes a PNG or JPEG file.
    ///
    /// # Errors
    /// Not an image, or beyond the limits.
    pub fn read(file: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        decode(file, limits, Self::of)
    }

    /// The 64 x 64 numbers, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The tower's input.
    #[must_use]
    pub fn prepare(&self) -> Prepared {
        let mut out = Vec::with_capacity(SIDE * SIDE);
        for pair in self.0.chunks_exact(2 * GRID) {
            let (upper, lower) = pair.split_at(GRID);
            out.extend(
                upper
                    .chunks_exact(2)
                    .zip(lower.chunks_exact(2))
                    .map(|(u, l)| 0.25 * (u[0] + u[1] + l[0] + l[1])),
            );
        }
        Prepared(out.into_boxed_slice())
    }

    fn of(picture: Picture) -> Self {
        Self::of_grey(&Grey::of(picture.pixels, FAINTEST), picture.orientation)
    }

    pub(super) fn of_grey(pixels: &Grey, orientation: Orientation) -> Self {
        let background = border_median(pixels);
        let mut ink = shrink(pixels, background);
        let sum: f32 = ink.iter().sum();
        let peak = ink.iter().fold(FAINTEST, |peak, v| v.abs().max(peak));
        let scale = if sum < 0.0 { -1.0 } else { 1.0 } / peak;
        for v in &mut ink {
            *v *= scale;
        }
        Self(turn(&ink, orientation).into_boxed_slice())
    }
}

/// Twice the median grey of the border, so that an even count needs no rounding.
fn border_median(pixels: &Grey) -> i32 {
    let (width, height) = (pixels.width(), pixels.height());
    let mut border = vec![0; 2 * width];
    let (first, last) = border.split_at_mut(width);
    pixels.fill(0, first);
    pixels.fill((height - 1) * width, last);
    for y in 1..height.max(2) - 1 {
        let mut ends = [0; 2];
        pixels.fill(y * width, &mut ends[..1]);
        pixels.fill((y + 1) * width - 1, &mut ends[1..]);
        border.extend(ends);
    }
    let middle = border.len() / 2;
    let even = border.len().is_multiple_of(2);
    let (lower, upper, _) = border.select_nth_unstable(middle);
    let below = lower.iter().max().filter(|_| even).unwrap_or(upper);
    i32::from(*below) + i32::from(*upper)
}

/// Which source pixels a cell of the grid covers along one axis, and how much of each.
struct Cover {
    start: usize,
    weights: Vec<f32>,
}

/// Splits a side of `of` pixels, centred on a square of `square`, among the grid's cells.
/// The weights of a cell that lies wholly on the picture add up to 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixel coordinates"
)]
fn covers(of: usize, square: usize) -> Vec<Cover> {
    let cell = square as f64 / GRID as f64;
    let margin = (square - of) as f64 / 2.0;
    (0..GRID)
        .map(|i| {
            let from = (i as f64 * cell - margin).clamp(0.0, of as f64);
            let to = ((i + 1) as f64 * cell - margin).clamp(0.0, of as f64);
            let (start, end) = (from.floor() as usize, (to.ceil() as usize).min(of));
            let weights = (start..end)
                .map(|p| ((to.min((p + 1) as f64) - from.max(p as f64)).max(0.0) / cell) as f32)
                .collect();
            Cover { start, weights }
        })
        .collect()
}

/// Area average onto the grid of `background - grey`, in -1..=1: dark ink is positive.
fn shrink(pixels: &Grey, background: i32) -> Vec<f32> {
    let (width, height) = (pixels.width(), pixels.height());
    let square = width.max(height);
    let (across, down) = (covers(width, square), covers(height, square));
    let mut row = vec![0; width];
    let mut ink = vec![0.0; width];
    let mut cells = [0.0; GRID];
    let mut grid = vec![0.0; GRID * GRID];
    let mut first = 0;
    for y in 0..height {
        pixels.fill(y * width, &mut row);
        for (ink, grey) in ink.iter_mut().zip(&row) {
            #[expect(clippy::cast_precision_loss, reason = "17 bits")]
            let difference = (background - 2 * i32::from(*grey)) as f32;
            *ink = difference / 131_070.0;
        }
        for (cell, cover) in cells.iter_mut().zip(&across) {
            *cell = ink[cover.start..]
                .iter()
                .zip(&cover.weights)
                .map(|(v, w)| v * w)
                .sum();
        }
        while first < GRID && down[first].start + down[first].weights.len() <= y {
            first += 1;
        }
        for (i, cover) in down.iter().enumerate().skip(first) {
            if cover.start > y {
                break;
            }
            if let Some(weight) = cover.weights.get(y - cover.start) {
                for (sum, cell) in grid[i * GRID..(i + 1) * GRID].iter_mut().zip(&cells) {
                    *sum += weight * cell;
                }
            }
        }
    }
    grid
}

/// Turns the small square instead of the large picture: area averaging allows either.
fn turn(ink: &[f32], orientation: Orientation) -> Vec<f32> {
    const N: usize = GRID - 1;
    let from: fn(usize, usize) -> (usize, usize) = match orientation {
        Orientation::NoTransforms => |r, c| (r, c),
        Orientation::FlipHorizontal => |r, c| (r, N - c),
        Orientation::Rotate180 => |r, c| (N - r, N - c),
        Orientation::FlipVertical => |r, c| (N - r, c),
        Orientation::Rotate90FlipH => |r, c| (c, r),
        Orientation::Rotate90 => |r, c| (N - c, r),
        Orientation::Rotate270FlipH => |r, c| (N - c, N - r),
        Orientation::Rotate270 => |r, c| (c, N - r),
    };
    (0..GRID * GRID)
        .map(|i| {
            let (r, c) = from(i / GRID, i % GRID);
            ink[r * GRID + c]
        })
        .collect()
}
