//! From an image file to the numbers that a tower sees.

use super::decode::{ImageLimits, decode};
use super::{ImageError, Input, Plan, ink, photo};

/// An image ready for the tower: `side x side x channels` numbers in -1..=1, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared(pub(crate) Box<[f32]>);

impl Prepared {
    /// The numbers, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Twice as fine as [`Prepared`], each way: what training augments, and views are taken of.
///
/// [`Raster::prepare`] averages squares of 2 x 2, and so does bilinear sampling at the
/// centres of the coarse grid: an augmentation that moves nothing gives what serving sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    pub(super) values: Box<[f32]>,
    pub(super) side: usize,
    pub(super) input: Input,
}

impl Raster {
    /// Decodes an image file for towers of this plan.
    ///
    /// # Errors
    /// Not an image of a format that is known, or beyond the limits.
    pub fn read(file: &[u8], plan: &Plan, limits: &ImageLimits) -> Result<Self, ImageError> {
        let side = 2 * plan.side;
        let values = decode(file, limits, |picture| match plan.input {
            Input::Ink => ink::ink(picture, side),
            Input::Glyph => ink::glyph(picture, side),
            Input::Grey => photo::grey(picture, side),
            Input::Colour => photo::colour(picture, side),
        })?;
        Ok(Self {
            values: values.into_boxed_slice(),
            side,
            input: plan.input,
        })
    }

    /// The numbers, row after row, channels last, in -1..=1.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// The tower's input.
    #[must_use]
    pub fn prepare(&self) -> Prepared {
        let line = self.values.len() / self.side;
        let c = line / self.side;
        let mut out = Vec::with_capacity(self.values.len() / 4);
        for pair in self.values.chunks_exact(2 * line) {
            let (upper, lower) = pair.split_at(line);
            for (u, l) in upper.chunks_exact(2 * c).zip(lower.chunks_exact(2 * c)) {
                out.extend((0..c).map(|i| 0.25 * (u[i] + u[i + c] + l[i] + l[i + c])));
            }
        }
        Prepared(out.into_boxed_slice())
    }
}

/// What a card says of the way from pixels to numbers.
pub(super) fn description(plan: Plan) -> String {
    let side = plan.side;
    match plan.input {
        Input::Ink => format!(
            "{side} x {side} grey; background (median of the border) 0, ink positive, largest 1; \
             not square: centred on a square; area-averaged"
        ),
        Input::Glyph => format!(
            "{side} x {side} grey; background (median of the border) 0, ink positive, largest 1; \
             the square around the ink; area-averaged"
        ),
        Input::Grey => format!(
            "{side} x {side} grey; mean 0, deviation 0.3, cut off at 1; not square: the square \
             in the middle; area-averaged"
        ),
        Input::Colour => format!(
            "{side} x {side} red, green, blue in -1..=1; not square: the square in the middle; \
             area-averaged"
        ),
    }
}
