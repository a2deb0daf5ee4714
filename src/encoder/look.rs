//! What a file shows, however it is stored: to find images that are the same.

use super::ImageError;
use super::decode::{ImageLimits, decode};
use super::grey::Grey;
use super::ink::{FAINTEST, ink_of};
use image::{DynamicImage, ImageFormat, RgbaImage};
use std::io::Cursor;

/// A picture's pixels as a hash, and small.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Hash of size, orientation and every pixel as 16-bit grey: the same for a grey PNG
    /// file and a colour one of the same grey.
    pub digest: [u8; 32],
    /// Its ink on [`Look::SIDE`] x [`Look::SIDE`] places, row after row, in -1..=1.
    pub ink: Vec<f32>,
}

impl Look {
    /// Rows and columns of its ink.
    pub const SIDE: usize = 32;

    /// Decodes a PNG, JPEG or PNM file.
    ///
    /// # Errors
    /// Not an image, or beyond the limits.
    pub fn read(file: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        decode(file, limits, |picture| {
            let grey = Grey::of(picture.pixels, FAINTEST);
            let mut hasher = blake3::Hasher::new();
            for size in [grey.width(), grey.height()] {
                hasher.update(&(size as u64).to_le_bytes());
            }
            hasher.update(&[picture.orientation.to_exif()]);
            let mut row = vec![0; grey.width()];
            let mut bytes = Vec::with_capacity(2 * row.len());
            for y in 0..grey.height() {
                grey.fill(y * grey.width(), &mut row);
                bytes.clear();
                bytes.extend(row.iter().flat_map(|v| v.to_le_bytes()));
                hasher.update(&bytes);
            }
            Self {
                digest: hasher.finalize().into(),
                ink: ink_of(&grey, picture.orientation, Self::SIDE),
            }
        })
    }
}

/// A small copy of a PNG, JPEG or PNM file, upright and on white, as a PNG file; no side is longer
/// than `side` pixels, and nothing is enlarged.
///
/// # Errors
/// Not an image, or beyond the limits.
pub fn thumbnail(file: &[u8], limits: &ImageLimits, side: u32) -> Result<Vec<u8>, ImageError> {
    decode(file, limits, |picture| {
        let longest = picture.pixels.width().max(picture.pixels.height());
        let mut small = if longest > side {
            picture.pixels.thumbnail(side, side)
        } else {
            picture.pixels
        };
        small.apply_orientation(picture.orientation);
        let mut paper = RgbaImage::from_pixel(small.width(), small.height(), [255; 4].into());
        image::imageops::overlay(&mut paper, &small.to_rgba8(), 0, 0);
        let mut png = Vec::new();
        let written = DynamicImage::from(paper)
            .to_rgb8()
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
        written.map(|()| png)
    })?
    .map_err(|e| ImageError::Corrupt(e.to_string()))
}
