//! From a file's bytes to pixels, within limits.

use super::ImageError;
use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, pnm::PnmDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// What an image may cost. Checked on the header, before pixels are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Largest file, in bytes.
    pub max_bytes: usize,
    /// Most pixels, width times height.
    pub max_pixels: u64,
    /// Most columns, and most rows.
    pub max_side: u32,
    /// Most memory that a decoder may take for itself, in bytes.
    pub max_decoder_bytes: u64,
    /// Images of more pixels than this are decoded one at a time in the whole process,
    /// so that many large ones together do not exhaust memory.
    pub large_pixels: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_bytes: 16 * 1024 * 1024,
            max_pixels: 50_000_000,
            // JPEG knows no longer side; every row has its cost beside that of its pixels.
            max_side: 65_535,
            max_decoder_bytes: 512 * 1024 * 1024,
            large_pixels: 4_000_000,
        }
    }
}

static LARGE: Mutex<()> = Mutex::new(());

/// A decoded picture and how it is to be turned for viewing (EXIF 2.3, tag 0x0112).
pub(super) struct Picture {
    pub pixels: DynamicImage,
    pub orientation: Orientation,
}

/// Decodes a PNG, JPEG or PNM file and hands the picture to `then`.
///
/// A panic inside a decoder is contained and reported as [`ImageError::Corrupt`].
pub(super) fn decode<R>(
    file: &[u8],
    limits: &ImageLimits,
    then: impl FnOnce(Picture) -> R,
) -> Result<R, ImageError> {
    if file.is_empty() {
        return Err(ImageError::Empty);
    }
    if file.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes {
            bytes: file.len(),
            limit: limits.max_bytes,
        });
    }
    catch_unwind(AssertUnwindSafe(|| {
        if file.starts_with(b"\x89PNG\r\n\x1a\n") {
            // The decoder reads on to the pixels; the size stands in the first 24 bytes.
            if let Some((width, height)) = png_size(file) {
                check_size(width, height, limits)?;
            }
            let allowed = header_limits(file, limits);
            pixels(
                PngDecoder::with_limits(Cursor::new(file), allowed).map_err(corrupt)?,
                limits,
                then,
            )
        } else if file.starts_with(b"\xff\xd8\xff") {
            pixels(
                JpegDecoder::new(Cursor::new(file)).map_err(corrupt)?,
                limits,
                then,
            )
        } else if is_pnm(file) {
            let decoder = PnmDecoder::new(Cursor::new(file)).map_err(corrupt)?;
            pixels(decoder, limits, then)
        } else {
            Err(ImageError::Unsupported { begins: hex(file) })
        }
    }))
    .unwrap_or_else(|_| Err(ImageError::Corrupt("the decoder gave up".into())))
}

/// Whether it begins as portable bit, grey and pixel maps do (Netpbm): `P1` to `P6`, and space.
fn is_pnm(file: &[u8]) -> bool {
    matches!(file, [b'P', b'1'..=b'6', space, ..] if space.is_ascii_whitespace())
}

fn pixels<R>(
    mut decoder: impl ImageDecoder,
    limits: &ImageLimits,
    then: impl FnOnce(Picture) -> R,
) -> Result<R, ImageError> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    decoder
        .set_limits(decoder_limits(limits))
        .map_err(corrupt)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let _alone = (count_of(width, height) > limits.large_pixels)
        .then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let pixels = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
    Ok(then(Picture {
        pixels,
        orientation,
    }))
}

/// Width and height, as the PNG specification (section 11.2.1) places them.
fn png_size(file: &[u8]) -> Option<(u32, u32)> {
    let number = |at| {
        let bytes = file.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    (file.get(12..16)? == b"IHDR").then_some((number(16)?, number(20)?))
}

fn count_of(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), ImageError> {
    let count = count_of(width, height);
    if count > limits.max_pixels || width.max(height) > limits.max_side {
        return Err(ImageError::TooManyPixels {
            width,
            height,
            limit: limits.max_pixels,
            side: limits.max_side,
        });
    }
    if count == 0 {
        return Err(ImageError::Corrupt(format!("{width} x {height} pixels")));
    }
    Ok(())
}

fn decoder_limits(limits: &ImageLimits) -> Limits {
    allow(limits.max_decoder_bytes)
}

/// What lies before a PNG's pixels is read by as many threads as there are, so it may cost
/// what the file does: its chunks, copied as the decoder copies them, and a row of pixels.
/// A colour profile that inflates beyond that is left out; nothing here looks at it.
fn header_limits(file: &[u8], limits: &ImageLimits) -> Limits {
    const ROW_AND_BUFFERS: u64 = 1024 * 1024;
    let chunks = 3 * file.len() as u64;
    allow(limits.max_decoder_bytes.min(chunks + ROW_AND_BUFFERS))
}

fn allow(bytes: u64) -> Limits {
    let mut allowed = Limits::default();
    allowed.max_alloc = Some(bytes);
    allowed
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn corrupt(error: image::ImageError) -> ImageError {
    ImageError::Corrupt(error.to_string())
}

fn hex(file: &[u8]) -> String {
    use std::fmt::Write;
    file.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
