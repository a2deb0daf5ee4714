//! The pixels of any picture as 16-bit grey.

use image::DynamicImage;

const WHITE: u32 = 65_535;
const BLACK: u32 = 0;

/// A picture read as grey: 0 black, 65,535 white. Colour counts by luma (ITU-R BT.709); what
/// is transparent lies on paper.
pub(super) struct Grey {
    picture: DynamicImage,
    paper: u32,
}

impl Grey {
    /// On white paper; on black, where on white no pixel would be darker than `faintest` of
    /// the way to black: white ink without a background is to be seen like any other.
    pub fn of(picture: DynamicImage, faintest: f32) -> Self {
        let mut grey = Self {
            picture: readable(picture),
            paper: WHITE,
        };
        let lightest = (1.0 - faintest) * f32::from(u16::MAX);
        if grey.picture.color().has_alpha() && !grey.any_darker(lightest) {
            grey.paper = BLACK;
        }
        grey
    }

    pub fn width(&self) -> usize {
        self.picture.width() as usize
    }

    pub fn height(&self) -> usize {
        self.picture.height() as usize
    }

    /// Fills `out` with the pixels from the `at`-th on, row after row.
    pub fn fill(&self, at: usize, out: &mut [u16]) {
        use DynamicImage as D;
        let over = |v, alpha| over(self.paper, v, alpha);
        match &self.picture {
            D::ImageLuma8(p) => each(p.as_raw(), at, out, |[v]| wide(v)),
            D::ImageLumaA8(p) => each(p.as_raw(), at, out, |[v, a]| over(wide(v), wide(a))),
            D::ImageRgb8(p) => each(p.as_raw(), at, out, |c| luma(c.map(wide))),
            D::ImageRgba8(p) => each(p.as_raw(), at, out, |[r, g, b, a]| {
                over(luma([r, g, b].map(wide)), wide(a))
            }),
            D::ImageLuma16(p) => each(p.as_raw(), at, out, |[v]| u32::from(v)),
            D::ImageLumaA16(p) => each(p.as_raw(), at, out, |[v, a]| over(v.into(), a.into())),
            D::ImageRgb16(p) => each(p.as_raw(), at, out, |c| luma(c.map(u32::from))),
            D::ImageRgba16(p) => each(p.as_raw(), at, out, |[r, g, b, a]| {
                over(luma([r, g, b].map(u32::from)), a.into())
            }),
            _ => out.fill(u16::MAX),
        }
    }

    fn any_darker(&self, than: f32) -> bool {
        let mut row = vec![0; self.width()];
        (0..self.height()).any(|y| {
            self.fill(y * self.width(), &mut row);
            row.iter().any(|v| f32::from(*v) < than)
        })
    }
}

/// Makes the picture one of the kinds that [`Grey::fill`] reads.
fn readable(picture: DynamicImage) -> DynamicImage {
    use DynamicImage as D;
    match picture {
        D::ImageLuma8(_)
        | D::ImageLumaA8(_)
        | D::ImageRgb8(_)
        | D::ImageRgba8(_)
        | D::ImageLuma16(_)
        | D::ImageLumaA16(_)
        | D::ImageRgb16(_)
        | D::ImageRgba16(_) => picture,
        other => D::ImageRgba16(other.to_rgba16()),
    }
}

fn each<T: Copy, const N: usize>(
    samples: &[T],
    at: usize,
    out: &mut [u16],
    grey: impl Fn([T; N]) -> u32,
) {
    let (pixels, _) = samples.as_chunks::<N>();
    for (out, pixel) in out.iter_mut().zip(&pixels[at..]) {
        *out = grey(*pixel).min(WHITE) as u16;
    }
}

fn wide(v: u8) -> u32 {
    u32::from(v) * 257
}

fn luma([r, g, b]: [u32; 3]) -> u32 {
    (2126 * r + 7152 * g + 722 * b + 5000) / 10_000
}

fn over(paper: u32, v: u32, alpha: u32) -> u32 {
    let sum = u64::from(v) * u64::from(alpha) + u64::from(paper) * u64::from(WHITE - alpha);
    // A mean of two 16-bit numbers: it fits.
    u32::try_from((sum + u64::from(WHITE / 2)) / u64::from(WHITE)).unwrap_or(WHITE)
}
