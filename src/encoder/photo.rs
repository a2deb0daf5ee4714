//! Photographs and other pictures without a background of their own: the square in their
//! middle, in colour or in grey.

use super::decode::Picture;
use super::grey::Grey;
use super::shrink::{Rows, Window, shrink, turn};
use image::DynamicImage;

/// Grey values are brought to mean 0 and to this deviation, and cut off at 1.
const DEVIATION: f32 = 0.3;
/// No contrast is raised above this many times what it was: noise stays noise.
const RAISED: f32 = 8.0;

/// Red, green and blue in -1..=1 on a grid of `side` x `side`; transparent is white.
pub(super) fn colour(picture: Picture, side: usize) -> Vec<f32> {
    let pixels = Colour::of(picture.pixels);
    let grid = shrink::<3>(&pixels, Window::crop(&pixels), side);
    turn::<3>(&grid, side, picture.orientation)
}

/// Grey with mean 0 and even contrast, in -1..=1, on a grid of `side` x `side`.
pub(super) fn grey(picture: Picture, side: usize) -> Vec<f32> {
    let pixels = Even(Grey::of(picture.pixels, 0.0));
    let mut grid = shrink::<1>(&pixels, Window::crop(&pixels), side);
    #[expect(clippy::cast_precision_loss, reason = "a count of cells")]
    let count = grid.len() as f32;
    let mean = grid.iter().sum::<f32>() / count;
    let variance = grid.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count;
    let scale = (DEVIATION / variance.sqrt()).min(RAISED);
    for v in &mut grid {
        *v = ((*v - mean) * scale).clamp(-1.0, 1.0);
    }
    turn::<1>(&grid, side, picture.orientation)
}

struct Even(Grey);

impl Rows for Even {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn height(&self) -> usize {
        self.0.height()
    }

    fn row(&self, y: usize, out: &mut [f32]) {
        let mut row = vec![0; out.len()];
        self.0.fill(y * out.len(), &mut row);
        for (out, grey) in out.iter_mut().zip(&row) {
            *out = f32::from(*grey) / f32::from(u16::MAX);
        }
    }
}

enum Colour {
    Opaque(image::RgbImage),
    Transparent(image::RgbaImage),
}

impl Colour {
    fn of(picture: DynamicImage) -> Self {
        if picture.color().has_alpha() {
            Self::Transparent(picture.into_rgba8())
        } else {
            Self::Opaque(picture.into_rgb8())
        }
    }
}

impl Rows for Colour {
    fn width(&self) -> usize {
        match self {
            Self::Opaque(p) => p.width() as usize,
            Self::Transparent(p) => p.width() as usize,
        }
    }

    fn height(&self) -> usize {
        match self {
            Self::Opaque(p) => p.height() as usize,
            Self::Transparent(p) => p.height() as usize,
        }
    }

    fn row(&self, y: usize, out: &mut [f32]) {
        let width = self.width();
        match self {
            Self::Opaque(p) => {
                let row = &p.as_raw()[3 * y * width..][..3 * width];
                for (out, v) in out.iter_mut().zip(row) {
                    *out = signed(f32::from(*v));
                }
            }
            Self::Transparent(p) => {
                let (row, _) = p.as_raw()[4 * y * width..][..4 * width].as_chunks::<4>();
                let (out, _) = out.as_chunks_mut::<3>();
                for (out, [r, g, b, a]) in out.iter_mut().zip(row) {
                    let a = f32::from(*a) / 255.0;
                    *out = [r, g, b].map(|v| signed(a * f32::from(*v) + (1.0 - a) * 255.0));
                }
            }
        }
    }
}

fn signed(v: f32) -> f32 {
    v / 127.5 - 1.0
}
