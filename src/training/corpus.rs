//! What a training learns from: classes of pictures, small and, as far as they fit, in memory.

use super::TrainError;
use super::augment::plain;
use super::dataset::Folder;
use crate::encoder::{ImageLimits, Plan, Prepared, Raster};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A picture of `2 side x 2 side x channels` numbers; [`SCALE`] is 1. Shared, since classes
/// are put aside by cloning.
pub type Drawing = Arc<[i16]>;

/// How a value of 1 is kept: rounded to less than 1/200 of an 8-bit grey level.
pub const SCALE: f32 = 32_767.0;

/// Fewest classes of two pictures or more that a training with labels takes.
pub const MIN_CLASSES: usize = 5;
/// Fewest pictures that a training without labels takes.
pub const MIN_PICTURES: usize = 32;

/// A picture, in memory or still in its file.
#[derive(Debug, Clone)]
pub enum Picture {
    /// In memory.
    Kept(Drawing),
    /// Read anew whenever it is needed.
    File(PathBuf),
}

/// The pictures of one class.
#[derive(Debug, Clone)]
pub struct Class {
    /// Its name: the folder's path below the corpus (`Greek/character01`).
    pub label: String,
    /// At least one picture.
    pub pictures: Vec<Picture>,
}

impl Class {
    /// The path of the folder above its own; may be empty.
    #[must_use]
    pub fn parent(&self) -> &str {
        self.label.rsplit_once('/').map_or("", |(parent, _)| parent)
    }
}

/// Classes to learn from, in the order of their labels.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The classes.
    pub classes: Vec<Class>,
    /// The towers that pictures are prepared for.
    pub plan: Plan,
    /// Limits on files read.
    pub limits: ImageLimits,
    fingerprint: String,
}

impl Corpus {
    /// Reads a folder: every folder below it that holds images is a class. `memory` is how
    /// many bytes of pictures are kept; those beyond are read whenever they are needed.
    ///
    /// # Errors
    /// A folder or file that cannot be read, or an image that is refused.
    pub fn open(
        folder: &Path,
        plan: Plan,
        limits: ImageLimits,
        memory: usize,
    ) -> Result<Self, TrainError> {
        let folder = Folder::open_whole(folder)?;
        let sources = folder
            .classes()
            .iter()
            .map(|class| (class.label.clone(), class.images.clone()));
        let mut sources: Vec<_> = sources.collect();
        // Images in the folder itself have no label: each stands for itself.
        let lone = folder.files().take_while(|file| file.label.is_empty());
        sources.extend(lone.map(|file| (file.id, vec![file.path])));
        Self::read(sources, plan, limits, memory)
    }

    /// Classes of pictures that are in memory, by label.
    #[must_use]
    pub fn of_drawings(
        classes: Vec<(String, Vec<Drawing>)>,
        plan: Plan,
        limits: ImageLimits,
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        let class = |(label, drawings): (String, Vec<Drawing>)| {
            hasher.update(label.as_bytes());
            for drawing in &drawings {
                hasher.update(&bytes_of(drawing));
            }
            Class {
                label,
                pictures: drawings.into_iter().map(Picture::Kept).collect(),
            }
        };
        let classes = classes.into_iter().map(class).collect();
        Self {
            classes,
            plan,
            limits,
            fingerprint: hasher.finalize().to_hex()[..16].to_owned(),
        }
    }

    fn read(
        sources: Vec<(String, Vec<PathBuf>)>,
        plan: Plan,
        limits: ImageLimits,
        memory: usize,
    ) -> Result<Self, TrainError> {
        let kept = AtomicUsize::new(0);
        let read = |(label, sources): (String, Vec<PathBuf>)| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(label.as_bytes());
            let mut pictures = Vec::with_capacity(sources.len());
            for path in sources {
                let drawing = read_drawing(&path, &plan, &limits)?;
                let bytes = bytes_of(&drawing);
                hasher.update(&bytes);
                let full = kept.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > memory;
                pictures.push(if full {
                    Picture::File(path)
                } else {
                    Picture::Kept(drawing)
                });
            }
            let class = Class { label, pictures };
            Ok((class, hasher.finalize()))
        };
        let read: Vec<_> = sources
            .into_par_iter()
            .map(read)
            .collect::<Result<_, TrainError>>()?;
        let mut whole = blake3::Hasher::new();
        for (_, hash) in &read {
            whole.update(hash.as_bytes());
        }
        Ok(Self {
            classes: read.into_iter().map(|(class, _)| class).collect(),
            plan,
            limits,
            fingerprint: whole.finalize().to_hex()[..16].to_owned(),
        })
    }

    /// Number of pictures.
    #[must_use]
    pub fn images(&self) -> usize {
        self.classes.iter().map(|c| c.pictures.len()).sum()
    }

    /// A hash of labels and pictures: a checkpoint belongs to one corpus.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A picture's numbers.
    ///
    /// # Errors
    /// Its file can no longer be read.
    pub fn drawing(&self, picture: &Picture) -> Result<Drawing, TrainError> {
        match picture {
            Picture::Kept(drawing) => Ok(Arc::clone(drawing)),
            Picture::File(path) => read_drawing(path, &self.plan, &self.limits),
        }
    }

    /// What the tower sees of a picture.
    ///
    /// # Errors
    /// As [`Corpus::drawing`].
    pub fn prepared(&self, picture: &Picture) -> Result<Prepared, TrainError> {
        let image = plain(&self.drawing(picture)?, &self.plan, 0);
        Ok(Prepared(image.into_boxed_slice()))
    }

    /// The same pictures, each a class of its own, as a training without labels sees them: in no
    /// group, since folders above tell as much as labels.
    #[must_use]
    pub fn unlabelled(mut self) -> Self {
        let pictures = self.classes.into_iter().flat_map(|class| class.pictures);
        let lone = pictures.enumerate().map(|(i, picture)| Class {
            label: i.to_string(),
            pictures: vec![picture],
        });
        self.classes = lone.collect();
        self
    }

    /// This corpus with other classes, of its own.
    #[must_use]
    pub fn with(&self, classes: Vec<Class>) -> Self {
        Self {
            classes,
            plan: self.plan,
            limits: self.limits,
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// Checks that there is enough to learn from.
    ///
    /// # Errors
    /// Too few classes, or pictures.
    pub fn check(&self, labelled: bool) -> Result<(), TrainError> {
        let several = self.classes.iter().filter(|c| c.pictures.len() > 1);
        let (several, images) = (several.count(), self.images());
        if labelled && several < MIN_CLASSES {
            return Err(TrainError::Data(format!(
                "{several} classes of 2 images or more to learn from; at least {MIN_CLASSES} are \
                 needed, in a folder each"
            )));
        }
        if !labelled && images < MIN_PICTURES {
            return Err(TrainError::Data(format!(
                "{images} images to learn from; at least {MIN_PICTURES} are needed without labels"
            )));
        }
        Ok(())
    }
}

fn read_drawing(path: &Path, plan: &Plan, limits: &ImageLimits) -> Result<Drawing, TrainError> {
    let bytes = std::fs::read(path).map_err(|e| TrainError::io(path, e))?;
    let raster = Raster::read(&bytes, plan, limits);
    let raster = raster.map_err(|e| TrainError::Data(format!("{}: {e}", path.display())))?;
    Ok(drawing(&raster))
}

fn bytes_of(drawing: &Drawing) -> Vec<u8> {
    drawing.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Keeps a raster in half the memory: 158 MB for the 19,280 drawings of Omniglot's background.
#[must_use]
pub fn drawing(raster: &Raster) -> Drawing {
    #[expect(clippy::cast_possible_truncation, reason = "values are within -1..=1")]
    let keep = |v: &f32| (v * SCALE).round() as i16;
    raster.as_slice().iter().map(keep).collect()
}
