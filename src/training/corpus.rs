//! What a training learns from: classes of drawings, small and in memory.

use super::TrainError;
use super::dataset::Folder;
use crate::encoder::{GRID, ImageLimits, Ink, Prepared, SIDE};
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// A drawing, 64 x 64; [`INK`] is ink of 1. Shared, since classes are put aside by cloning.
pub type Drawing = Arc<[i16]>;

/// How an ink of 1 is kept: rounded to less than 1/200 of an 8-bit grey level.
pub const INK: f32 = 32_767.0;

/// The drawings of one class.
#[derive(Debug, Clone)]
pub struct Class {
    /// Its name: the folder's path below the corpus (`Greek/character01`).
    pub label: String,
    /// At least one drawing.
    pub drawings: Vec<Drawing>,
}

/// Classes to learn from, in the order of their labels.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// The classes.
    pub classes: Vec<Class>,
}

impl Corpus {
    /// Reads a folder: every folder below it that holds PNG or JPEG files is a class.
    ///
    /// # Errors
    /// A folder or file that cannot be read, or an image that is refused.
    pub fn open(folder: &Path, limits: &ImageLimits) -> Result<Self, TrainError> {
        let folder = Folder::open_whole(folder)?;
        let classes = folder
            .classes()
            .par_iter()
            .map(|class| {
                let drawings = class.images.iter().map(|file| {
                    let bytes = std::fs::read(file).map_err(|e| TrainError::io(file, e))?;
                    let ink = Ink::read(&bytes, limits)
                        .map_err(|e| TrainError::Data(format!("{}: {e}", file.display())))?;
                    Ok(drawing(&ink))
                });
                Ok(Class {
                    label: class.label.clone(),
                    drawings: drawings.collect::<Result<_, TrainError>>()?,
                })
            })
            .collect::<Result<_, TrainError>>()?;
        Ok(Self { classes })
    }

    /// Number of drawings.
    #[must_use]
    pub fn images(&self) -> usize {
        self.classes.iter().map(|c| c.drawings.len()).sum()
    }

    /// A hash of labels and drawings: a checkpoint belongs to one corpus.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for class in &self.classes {
            hasher.update(class.label.as_bytes());
            for drawing in &class.drawings {
                let bytes: Vec<u8> = drawing.iter().flat_map(|v| v.to_le_bytes()).collect();
                hasher.update(&bytes);
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

/// Keeps an ink in half the memory: 158 MB for the 19,280 drawings of Omniglot's background.
#[must_use]
pub fn drawing(ink: &Ink) -> Drawing {
    #[expect(clippy::cast_possible_truncation, reason = "ink is within -1..=1")]
    ink.as_slice()
        .iter()
        .map(|v| (v * INK).round() as i16)
        .collect()
}

/// What the tower sees of a drawing.
#[must_use]
pub fn prepared(drawing: &Drawing) -> Prepared {
    debug_assert_eq!(drawing.len(), GRID * GRID);
    let image = super::augment::plain(drawing, 0);
    debug_assert_eq!(image.len(), SIDE * SIDE);
    Prepared(image.into_boxed_slice())
}
