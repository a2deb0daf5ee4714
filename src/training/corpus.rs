//! What a training learns from: classes of drawings, small and in memory.

use super::TrainError;
use crate::encoder::{GRID, ImageLimits, Ink, Prepared, SIDE};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A drawing, 64 x 64; 127 is ink of 1.
pub type Drawing = Box<[i8]>;

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
        let mut found = Vec::new();
        scan(folder, &mut found)?;
        found.sort();
        let classes = found
            .into_par_iter()
            .map(|(path, files)| {
                let label = path.strip_prefix(folder).unwrap_or(&path);
                let drawings = files
                    .iter()
                    .map(|file| {
                        let bytes = std::fs::read(file).map_err(|e| TrainError::io(file, e))?;
                        let ink = Ink::read(&bytes, limits)
                            .map_err(|e| TrainError::Data(format!("{}: {e}", file.display())))?;
                        Ok(drawing(&ink))
                    })
                    .collect::<Result<_, TrainError>>()?;
                Ok(Class {
                    label: label.display().to_string(),
                    drawings,
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
                let bytes: Vec<u8> = drawing.iter().map(|v| v.cast_unsigned()).collect();
                hasher.update(&bytes);
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

/// Keeps an ink in a quarter of the memory.
#[must_use]
pub fn drawing(ink: &Ink) -> Drawing {
    #[expect(clippy::cast_possible_truncation, reason = "ink is within -1..=1")]
    ink.as_slice()
        .iter()
        .map(|v| (v * 127.0).round() as i8)
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

fn scan(folder: &Path, found: &mut Vec<(PathBuf, Vec<PathBuf>)>) -> Result<(), TrainError> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| TrainError::io(folder, e))? {
        let path = entry.map_err(|e| TrainError::io(folder, e))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            scan(&path, found)?;
        } else if path.extension().is_some_and(|e| {
            ["png", "jpg", "jpeg"]
                .iter()
                .any(|known| e.eq_ignore_ascii_case(known))
        }) {
            images.push(path);
        }
    }
    if !images.is_empty() {
        images.sort();
        found.push((folder.to_owned(), images));
    }
    Ok(())
}
