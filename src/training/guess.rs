//! Which recipe suits a folder, by a look at some of its images.

use super::TrainError;
use super::dataset::Folder;
use super::recipe::Recipe;
use crate::encoder::{Architecture, ImageLimits, Input, Plan, Raster};
use std::path::Path;

/// Images looked at.
const LOOKS: usize = 64;
/// How near to the border's middle value a place counts as paper; values are in -1..=1.
const NEAR: f32 = 0.15;
/// The least share of paper in a drawing.
const PAPER: f32 = 0.7;
/// The least mean difference between channels in a picture in colour.
const COLOURED: f32 = 0.04;

/// What an image looks like.
struct Look {
    paper: f32,
    colour: f32,
}

/// The recipe for the images of a folder, and why it was chosen.
///
/// # Errors
/// A folder or image that cannot be read.
pub fn recipe_for(folder: &Path, limits: &ImageLimits) -> Result<(Recipe, String), TrainError> {
    let folder = Folder::open_whole(folder)?;
    let files: Vec<_> = folder.files().collect();
    let mut looks = Vec::new();
    for file in files.iter().step_by(files.len().div_ceil(LOOKS)) {
        let bytes = std::fs::read(&file.path).map_err(|e| TrainError::io(&file.path, e))?;
        let look = look(&bytes, limits);
        looks.push(look.map_err(|e| TrainError::Data(format!("{}: {e}", file.path.display())))?);
    }
    let median = |of: &dyn Fn(&Look) -> f32| {
        let mut values: Vec<f32> = looks.iter().map(of).collect();
        values.sort_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let (paper, colour) = (median(&|l| l.paper), median(&|l| l.colour));
    let (name, why) = if colour < COLOURED && paper >= PAPER {
        ("glyphs", format!("{:.0} % is background", 100.0 * paper))
    } else if colour < COLOURED {
        ("faces", "grey pictures without a background".to_owned())
    } else {
        ("photographs", "pictures in colour".to_owned())
    };
    let recipe = Recipe::named(name).unwrap_or_default();
    Ok((recipe, why))
}

fn look(file: &[u8], limits: &ImageLimits) -> Result<Look, crate::encoder::ImageError> {
    let plan = Plan {
        input: Input::Colour,
        side: Plan::MIN_SIDE,
        ..Plan::of(Architecture::default())
    };
    let raster = Raster::read(file, &plan, limits)?;
    let (places, _) = raster.as_slice().as_chunks::<3>();
    let side = 2 * plan.side;
    let grey = |p: &[f32; 3]| (p[0] + p[1] + p[2]) / 3.0;
    let edge = |i: usize| {
        i < side || i >= side * (side - 1) || i.is_multiple_of(side) || (i + 1).is_multiple_of(side)
    };
    let on_edge = places.iter().enumerate().filter(|(i, _)| edge(*i));
    let mut border: Vec<f32> = on_edge.map(|(_, p)| grey(p)).collect();
    border.sort_by(f32::total_cmp);
    let middle = border[border.len() / 2];
    #[expect(clippy::cast_precision_loss, reason = "a few thousand places")]
    let share = |count: f32| count / places.len() as f32;
    let paper = places.iter().filter(|p| (grey(p) - middle).abs() <= NEAR);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand places")]
    let paper = share(paper.count() as f32);
    let apart = |p: &[f32; 3]| (p[0] - p[1]).abs().max((p[1] - p[2]).abs());
    Ok(Look {
        paper,
        colour: share(places.iter().map(apart).sum()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::glyphs::Alphabet;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    #[test]
    fn drawings_faces_and_photographs_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let alphabet = Alphabet::new(1, 3);
        for n in 0..3_u32 {
            for (kind, save) in [("ink", 0), ("grey", 1), ("colour", 2)] {
                let folder = dir.path().join(format!("{kind}/{n}"));
                std::fs::create_dir_all(&folder).unwrap();
                let file = folder.join("1.png");
                let wave = |x: u32, y: u32| (x * (3 + n) + y * y / 7).to_le_bytes()[0];
                match save {
                    0 => alphabet.draw(n as usize, 1).save(file).unwrap(),
                    1 => GrayImage::from_fn(92, 112, |x, y| Luma([wave(x, y)]))
                        .save(file)
                        .unwrap(),
                    _ => RgbImage::from_fn(90, 70, |x, y| Rgb([wave(x, y), wave(y, x), 40]))
                        .save(file)
                        .unwrap(),
                }
            }
        }
        for (kind, name) in [
            ("ink", "glyphs"),
            ("grey", "faces"),
            ("colour", "photographs"),
        ] {
            let found = recipe_for(&dir.path().join(kind), &ImageLimits::default());
            assert_eq!(found.unwrap().0.name, name);
        }
    }
}
