//! Ink on nothing, upright and square: what a glyph or a signature is reduced to.
//!
//! The background is the median of the picture's border; ink is how far a pixel is from
//! it, positive towards the side where most of the picture's ink lies. So black on white
//! and white on black give the same numbers. A picture that is not square is centred on a
//! square of background. What is transparent lies on white, or on black where on white
//! nothing could be seen.
//!
//! A glyph is ink that has been looked for: the square around it is seen, wherever on the
//! page it stands and however small it is drawn.

use super::decode::Picture;
use super::grey::Grey;
use super::shrink::{Rows, Window, shrink, turn};
use image::metadata::Orientation;

/// Ink is scaled so that its largest value is 1, but by no more than `1 / FAINTEST`: what
/// is fainter is left faint, or noise on an empty page would be taken for ink.
pub(super) const FAINTEST: f32 = 0.25;

/// A glyph is looked for on a grid of so many rows and columns.
const COARSE: usize = 256;
/// A cell of it this dark holds ink: a thin stroke on a large page darkens none much.
const FAINTEST_CELL: f32 = 0.02;
/// Of what is at least half as dark as the darkest, so much may be left out at each end.
const LEFT_OUT: f32 = 0.004;
/// How much of the square a glyph fills, one way or the other.
const FILLED: f64 = 0.86;
/// The side of the smallest square, of that of the picture: what is smaller remains small.
const CLOSEST: f64 = 1.0 / 3.0;

/// The ink of a picture on a grid of `side` x `side`, in -1..=1.
pub(super) fn ink(picture: Picture, side: usize) -> Vec<f32> {
    ink_of(
        &Grey::of(picture.pixels, FAINTEST),
        picture.orientation,
        side,
    )
}

pub(super) fn ink_of(pixels: &Grey, orientation: Orientation, side: usize) -> Vec<f32> {
    let page = Page::of(pixels);
    let ink = shrink::<1>(&page, Window::inside(&page), side);
    turn::<1>(&even(ink), side, orientation)
}

/// The square around a picture's ink on a grid of `side` x `side`, in -1..=1.
pub(super) fn glyph(picture: Picture, side: usize) -> Vec<f32> {
    let pixels = Grey::of(picture.pixels, FAINTEST);
    let page = Page::of(&pixels);
    let whole = Window::inside(&page);
    let mut coarse = shrink::<1>(&page, whole, COARSE);
    let (sign, darkest) = (side_of(&coarse), peak(&coarse));
    let seen = if darkest < FAINTEST_CELL {
        whole
    } else {
        scale(&mut coarse, sign / darkest);
        around(&coarse, whole)
    };
    let mut ink = shrink::<1>(&page, seen, side);
    let by = sign / peak(&ink).max(FAINTEST);
    scale(&mut ink, by);
    turn::<1>(&ink, side, picture.orientation)
}

/// Positive towards the side where most of it lies, its largest value 1.
fn even(mut ink: Vec<f32>) -> Vec<f32> {
    let by = side_of(&ink) / peak(&ink).max(FAINTEST);
    scale(&mut ink, by);
    ink
}

/// 1 where most of it is dark, -1 where most is light.
fn side_of(ink: &[f32]) -> f32 {
    if ink.iter().sum::<f32>() < 0.0 {
        -1.0
    } else {
        1.0
    }
}

fn peak(ink: &[f32]) -> f32 {
    ink.iter().fold(0.0, |peak, v| v.abs().max(peak))
}

fn scale(ink: &mut [f32], by: f32) {
    for v in ink {
        *v *= by;
    }
}

/// The square around what is dark on the coarse grid of `whole`; all of it where nothing is.
fn around(coarse: &[f32], whole: Window) -> Window {
    let (mut across, mut down) = ([0.0; COARSE], [0.0; COARSE]);
    for (i, v) in coarse.iter().enumerate().filter(|(_, v)| **v >= 0.5) {
        across[i % COARSE] += v;
        down[i / COARSE] += v;
    }
    let (Some((left, right)), Some((upper, lower))) = (extent(&across), extent(&down)) else {
        return whole;
    };
    let filled = (right - left).max(lower - upper) / FILLED;
    let side = whole.side * filled.max(CLOSEST);
    let from =
        |start: f64, (near, far): (f64, f64)| start + whole.side * (near + far) / 2.0 - side / 2.0;
    Window {
        left: from(whole.left, (left, right)),
        upper: from(whole.upper, (upper, lower)),
        side,
    }
}

/// Where along a line its weights begin and end, in 0..=1.
fn extent(weights: &[f32; COARSE]) -> Option<(f64, f64)> {
    let least = LEFT_OUT * weights.iter().sum::<f32>();
    if least <= 0.0 {
        return None;
    }
    let near = passes(weights.iter(), least)?;
    let far = passes(weights.iter().rev(), least)?;
    #[expect(clippy::cast_precision_loss, reason = "a few cells")]
    let share = |cells: usize| cells as f64 / COARSE as f64;
    Some((share(near), share(COARSE - far)))
}

/// Which of the weights brings their sum above `least`.
fn passes<'a>(mut weights: impl Iterator<Item = &'a f32>, least: f32) -> Option<usize> {
    let mut sum = 0.0;
    weights.position(|v| {
        sum += v;
        sum > least
    })
}

/// `background - grey`, in -1..=1: dark ink is positive.
struct Page<'a> {
    pixels: &'a Grey,
    /// Twice the background's grey.
    background: i32,
}

impl<'a> Page<'a> {
    fn of(pixels: &'a Grey) -> Self {
        let background = border_median(pixels);
        Self { pixels, background }
    }
}

impl Rows for Page<'_> {
    fn width(&self) -> usize {
        self.pixels.width()
    }

    fn height(&self) -> usize {
        self.pixels.height()
    }

    fn row(&self, y: usize, out: &mut [f32]) {
        let mut row = vec![0; out.len()];
        self.pixels.fill(y * out.len(), &mut row);
        for (ink, grey) in out.iter_mut().zip(&row) {
            #[expect(clippy::cast_precision_loss, reason = "17 bits")]
            let difference = (self.background - 2 * i32::from(*grey)) as f32;
            *ink = difference / 131_070.0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage, Luma};

    /// A ring on a page of `width x height`, around `(x, y)`.
    fn ring(width: u32, height: u32, [x, y, radius]: [f64; 3]) -> Picture {
        let draw = |col, row| {
            let from = (f64::from(col) + 0.5 - x).hypot(f64::from(row) + 0.5 - y);
            Luma([if (from - radius).abs() < 0.15 * radius {
                20
            } else {
                230
            }])
        };
        Picture {
            pixels: DynamicImage::ImageLuma8(GrayImage::from_fn(width, height, draw)),
            orientation: Orientation::NoTransforms,
        }
    }

    fn difference(a: &[f32], b: &[f32]) -> f32 {
        let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
        sum / a.iter().sum::<f32>()
    }

    #[test]
    fn a_glyph_is_found_wherever_it_stands_and_however_large() {
        let middle = glyph(ring(240, 240, [120.0, 120.0, 85.0]), 32);
        for [x, y, radius] in [
            [110.0, 130.0, 85.0],
            [170.0, 60.0, 40.0],
            [70.0, 75.0, 55.0],
        ] {
            let place = [x, y, radius];
            let found = glyph(ring(240, 240, place), 32);
            assert!(difference(&middle, &found) < 0.15, "{place:?}");
            assert!(difference(&middle, &ink(ring(240, 240, place), 32)) > 0.5);
        }
        let wide = glyph(ring(400, 200, [310.0, 90.0, 70.0]), 32);
        assert!(difference(&middle, &wide) < 0.15);
        assert!(wide.iter().all(|v| (-1.0..=1.0).contains(v)));
    }

    #[test]
    fn a_thin_pen_on_a_large_page_is_found() {
        let thin = |side: u32, at: u32, length: u32| {
            let on = |v: u32| v.abs_diff(at) < 2;
            let within = |v: u32| (at..at + length).contains(&v);
            let draw = |x, y| {
                let stroke = (on(x) && within(y)) || (on(y) && within(x));
                Luma([if stroke { 20 } else { 230 }])
            };
            let pixels = DynamicImage::ImageLuma8(GrayImage::from_fn(side, side, draw));
            let orientation = Orientation::NoTransforms;
            glyph(
                Picture {
                    pixels,
                    orientation,
                },
                32,
            )
        };
        let (large, small) = (thin(3000, 300, 2000), thin(3000, 900, 2000));
        assert!(
            difference(&large, &small) < 0.3,
            "{}",
            difference(&large, &small)
        );
        // It fills the square.
        let lowest = large.iter().rposition(|v| *v > 0.05).unwrap();
        assert!(lowest / 32 > 27, "{lowest}");
    }

    #[test]
    fn what_is_tiny_stays_small_and_an_empty_page_is_seen_whole() {
        let dot = glyph(ring(300, 300, [200.0, 80.0, 8.0]), 30);
        let ink = dot.iter().filter(|v| **v > 0.1).count();
        assert!((4..100).contains(&ink), "{ink}");
        let empty = glyph(ring(300, 300, [-900.0, 0.0, 1.0]), 30);
        assert!(empty.iter().all(|v| *v == 0.0));
    }
}
