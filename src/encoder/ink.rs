//! Ink on nothing, upright and square: what a glyph or a signature is reduced to.
//!
//! The background is the median of the picture's border; ink is how far a pixel is from
//! it, positive towards the side where most of the picture's ink lies. So black on white
//! and white on black give the same numbers. A picture that is not square is centred on a
//! square of background. What is transparent lies on white, or on black where on white
//! nothing could be seen.

use super::decode::Picture;
use super::grey::Grey;
use super::shrink::{Fit, Rows, shrink, turn};
use image::metadata::Orientation;

/// Ink is scaled so that its largest value is 1, but by no more than `1 / FAINTEST`: what
/// is fainter is left faint, or noise on an empty page would be taken for ink.
pub(super) const FAINTEST: f32 = 0.25;

/// The ink of a picture on a grid of `side` x `side`, in -1..=1.
pub(super) fn ink(picture: Picture, side: usize) -> Vec<f32> {
    ink_of(
        &Grey::of(picture.pixels, FAINTEST),
        picture.orientation,
        side,
    )
}

pub(super) fn ink_of(pixels: &Grey, orientation: Orientation, side: usize) -> Vec<f32> {
    let background = border_median(pixels);
    let page = Page { pixels, background };
    let mut ink = shrink::<1>(&page, Fit::Inside, side);
    let sum: f32 = ink.iter().sum();
    let peak = ink.iter().fold(FAINTEST, |peak, v| v.abs().max(peak));
    let scale = if sum < 0.0 { -1.0 } else { 1.0 } / peak;
    for v in &mut ink {
        *v *= scale;
    }
    turn::<1>(&ink, side, orientation)
}

/// `background - grey`, in -1..=1: dark ink is positive.
struct Page<'a> {
    pixels: &'a Grey,
    /// Twice the background's grey.
    background: i32,
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
