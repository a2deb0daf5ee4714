//! Honest figures: how often an encoder errs, on data that it has not seen.
//!
//! - [`calibration`]: whether a calibration keeps its promise on other classes.
//! - [`methods`]: nearest example, vote or prototype.
//! - [`nway`]: N-way K-shot classification; [`drawers`]: the same, over every pair of drawers.
//! - [`runs`]: the one-shot runs that the Omniglot paper published (Lake et al. 2015).
//! - [`verify`]: same or different: ROC AUC, EER, FRR at a given FAR, by [`pairs`] and [`roc`].
//! - [`retrieval`]: recall@k and mean average precision.
//! - [`compare`]: two encoders on the same trials, by [`paired`] tests.
//! - [`stats`], [`bootstrap`]: how sure a figure is; [`tally`]: who is taken for whom.
//! - [`leakage`]: test images that are among the training images, by [`alike`].

pub mod alike;
pub mod bootstrap;
pub mod calibration;
pub mod compare;
pub mod drawers;
pub mod leakage;
pub mod methods;
pub mod nway;
pub mod paired;
pub mod pairs;
pub mod retrieval;
pub mod roc;
pub mod runs;
pub mod stats;
pub mod tally;
pub mod verify;

use super::dataset::{Class, DataError, File, Folder};
use crate::domain::{Embedding, Views};
use crate::encoder::{Encoder, ImageError, Prepared};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An image is refused.
    #[error("{path}: {source}")]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
    /// The encoder failed.
    #[error("embedding: {0}")]
    Encoder(#[from] crate::encoder::Error),
    /// A parameter does not fit the data.
    #[error("{field}: {was}; {allowed}")]
    Parameter {
        /// Which.
        field: &'static str,
        /// What was given.
        was: String,
        /// What is allowed.
        allowed: String,
    },
}

pub(super) fn parameter(
    field: &'static str,
    was: impl Into<String>,
    allowed: impl Into<String>,
) -> EvalError {
    EvalError::Parameter {
        field,
        was: was.into(),
        allowed: allowed.into(),
    }
}

/// The embeddings of a class.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The folder above the class.
    pub parent: String,
    /// One for each image, of unit length.
    pub vectors: Vec<Embedding>,
}

/// The cosine of two embeddings.
#[must_use]
pub fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    a.as_slice()
        .iter()
        .zip(b.as_slice())
        .map(|(x, y)| x * y)
        .sum()
}

/// Most images that pass through the tower together.
const BATCH: usize = 64;

/// Embeds files in their order, by these views, on all cores; `progress` hears of files done.
///
/// # Errors
/// A file that cannot be read, or is no image.
pub fn embed_files(
    encoder: &Encoder,
    files: &[PathBuf],
    views: Views,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Embedding>, EvalError> {
    let some = |files: &[PathBuf]| {
        let prepared = files.iter().map(|path| prepare(encoder, path, views));
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let vectors = encoder.embed_views(prepared)?;
        progress(files.len());
        Ok::<_, EvalError>(vectors)
    };
    let batch = (BATCH / views.count()).max(1);
    let all: Result<Vec<_>, _> = files.par_chunks(batch).map(some).collect();
    Ok(all?.into_iter().flatten().collect())
}

fn read(path: &Path) -> Result<Vec<u8>, EvalError> {
    std::fs::read(path).map_err(|source| EvalError::Read {
        path: path.to_owned(),
        source,
    })
}

fn prepare(encoder: &Encoder, path: &Path, views: Views) -> Result<Vec<Prepared>, EvalError> {
    let bytes = read(path)?;
    let prepared = encoder.prepare_views(&bytes, views);
    prepared.map_err(|source| EvalError::Image {
        path: path.to_owned(),
        source,
    })
}

/// Embeds a folder by these views, class by class.
///
/// # Errors
/// As [`embed_files`].
pub fn embed_folder(
    encoder: &Encoder,
    folder: &Folder,
    views: Views,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Embedded>, EvalError> {
    let files = folder.classes().iter().flat_map(|class| &class.images);
    let files: Vec<PathBuf> = files.cloned().collect();
    let mut vectors = embed_files(encoder, &files, views, progress)?.into_iter();
    let classes = folder.classes().iter().map(|class| Embedded {
        parent: class.parent.clone(),
        vectors: vectors.by_ref().take(class.images.len()).collect(),
    });
    Ok(classes.collect())
}

/// A hash of a folder's labels, file names and files: which data a figure is of.
///
/// # Errors
/// A file that cannot be read.
pub fn fingerprint(folder: &Folder) -> Result<String, EvalError> {
    let files: Vec<_> = folder.classes().iter().flat_map(Class::files).collect();
    let hash = |file: &File| {
        let bytes = read(&file.path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(blake3::hash(file.id.as_bytes()).as_bytes());
        hasher.update(blake3::hash(&bytes).as_bytes());
        Ok::<_, EvalError>(hasher.finalize())
    };
    let hashes: Vec<_> = files.par_iter().map(hash).collect::<Result<_, _>>()?;
    let mut hasher = blake3::Hasher::new();
    for hash in hashes {
        hasher.update(hash.as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
