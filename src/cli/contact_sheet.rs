//! A contact sheet: a row for each probe, what was found beside it.

use super::error::CliError;
use image::{Rgb, RgbImage, imageops};
use std::fmt::Display;
use std::path::Path;

/// Side of a picture, in pixels, and the frame around it.
const SIDE: u32 = 96;
const FRAME: u32 = 4;
const CELL: u32 = SIDE + 2 * FRAME + 6;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const PROBE: Rgb<u8> = Rgb([90, 90, 90]);
const RIGHT: Rgb<u8> = Rgb([40, 160, 70]);
const WRONG: Rgb<u8> = Rgb([205, 50, 50]);

/// A probe's file, and what was found: files, and whether they are right.
pub type Row<'a> = (&'a Path, Vec<(&'a Path, bool)>);

/// Draws the rows into a PNG file: the probe framed grey, then what is right green, what is
/// wrong red.
///
/// # Errors
/// An image cannot be read, or the sheet not be written.
pub fn write(rows: &[Row], sheet: &Path) -> Result<(), CliError> {
    let columns = 1 + rows.iter().map(|(_, found)| found.len()).max().unwrap_or(0);
    let size = |n: usize| CELL * u32::try_from(n).unwrap_or(1) + 6;
    let mut paper = RgbImage::from_pixel(size(columns) + CELL / 4, size(rows.len()), PAPER);
    for (down, (probe, found)) in rows.iter().enumerate() {
        let top = size(down);
        put(&mut paper, probe, PROBE, 6, top)?;
        for (right, (image, is_right)) in found.iter().enumerate() {
            let frame = if *is_right { RIGHT } else { WRONG };
            let left = size(right + 1) + CELL / 4;
            put(&mut paper, image, frame, left, top)?;
        }
    }
    paper
        .save(sheet)
        .map_err(|e| CliError::failed(format!("writing {}: {e}", sheet.display())))
}

fn put(
    sheet: &mut RgbImage,
    file: &Path,
    frame: Rgb<u8>,
    left: u32,
    top: u32,
) -> Result<(), CliError> {
    let failed = |why: &dyn Display| CliError::failed(format!("reading {}: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|e| failed(&e))?;
    let picture = image::load_from_memory(&bytes).map_err(|e| failed(&e))?;
    let picture = picture
        .resize(SIDE, SIDE, imageops::FilterType::Triangle)
        .to_rgb8();
    let outer = RgbImage::from_pixel(SIDE + 2 * FRAME, SIDE + 2 * FRAME, frame);
    imageops::replace(sheet, &outer, left.into(), top.into());
    let (right, down) = ((SIDE - picture.width()) / 2, (SIDE - picture.height()) / 2);
    let paper = RgbImage::from_pixel(SIDE, SIDE, PAPER);
    imageops::replace(sheet, &paper, (left + FRAME).into(), (top + FRAME).into());
    let place = (left + FRAME + right, top + FRAME + down);
    imageops::replace(sheet, &picture, place.0.into(), place.1.into());
    Ok(())
}
