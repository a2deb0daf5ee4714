//! Features of a folder's images, as a backbone extracts them: once for each image, whatever its
//! name, and kept in a file.

use super::cache::{Cache, Hash};
use super::corpus::{Corpus, MIN_CLASSES};
use super::dataset::{Class, Folder};
use super::{Recipe, TrainError, TrainOptions};
use crate::encoder::backbone::Backbone;
use crate::encoder::{Architecture, ImageLimits, Plan, Prepared, Raster};
use rayon::prelude::*;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Images whose features are extracted between two looks at `cancel`.
const BATCH: usize = 8;

/// How far an extraction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// Different images whose features are there.
    pub done: usize,
    /// Of so many.
    pub of: usize,
    /// Those that were in the cache.
    pub cached: usize,
}

impl Recipe {
    /// This recipe, for a head on a backbone.
    #[must_use]
    pub fn on(self, backbone: &Backbone) -> Self {
        let plan = backbone.plan();
        Self {
            architecture: Architecture::Head,
            widths: None,
            input: plan.input,
            side: plan.side,
            fold: None,
            backbone: plan.backbone,
            turns: false,
            ..self
        }
    }
}

/// Where the features go that a training extracts: beside its weights, `.features` after their
/// whole name.
#[must_use]
pub fn cache_of(out: &Path) -> PathBuf {
    let mut name = OsString::from(out);
    name.push(".features");
    name.into()
}

/// The features of `options.data`, which a head learns from.
///
/// # Errors
/// A folder, image or cache that cannot be read or written, too few classes, more features than
/// `options.memory` takes, or cancelled.
pub fn corpus(
    options: &TrainOptions,
    backbone: &Backbone,
    told: &dyn Fn(Extracted),
    cancel: &AtomicBool,
) -> Result<Corpus, TrainError> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(options.threads);
    let threads = threads.build();
    let threads = threads.map_err(|e| TrainError::Threads(e.to_string()))?;
    let plan = backbone.plan();
    let folder = Folder::open_whole(&options.data)?;
    check(&folder, &plan, options.memory)?;
    let hashed = |class: &Class| {
        let hash = |path: &PathBuf| {
            stop_if(cancel)?;
            Ok((*blake3::hash(&read(path)?).as_bytes(), path.clone()))
        };
        let images = class.images.iter().map(hash);
        Ok((
            class.label.clone(),
            images.collect::<Result<Vec<_>, TrainError>>()?,
        ))
    };
    let classes = || folder.classes().par_iter().map(hashed);
    let classes = threads.install(|| classes().collect::<Result<Vec<_>, TrainError>>())?;

    let images = classes.iter().flat_map(|(_, images)| images);
    let wanted: HashSet<Hash> = images.clone().map(|(hash, _)| *hash).collect();
    let of = wanted.len();
    let mut cache = Cache::open(&cache_of(&options.out), &plan, &wanted)?;
    let cached = cache.len();
    let mut left: Vec<_> = images.filter(|(hash, _)| !cache.has(hash)).collect();
    let mut asked = HashSet::new();
    left.retain(|(hash, _)| asked.insert(*hash));
    for images in left.chunks(BATCH) {
        stop_if(cancel)?;
        let (done, limits) = (cache.len(), &options.limits);
        told(Extracted { done, of, cached });
        threads.install(|| extract(backbone, images, limits, &mut cache))?;
    }
    let done = cache.len();
    told(Extracted { done, of, cached });
    cache.sync()?;
    let features = |(label, images): (String, Vec<(Hash, PathBuf)>)| {
        let features = images.iter().filter_map(|(hash, _)| cache.get(hash));
        (label, features.map(Arc::clone).collect())
    };
    let plan = Plan {
        architecture: Architecture::Head,
        ..plan
    };
    let classes = classes.into_iter().map(features).collect();
    Ok(Corpus::of_drawings(classes, plan, options.limits))
}

/// Refuses early what would be refused late.
fn check(folder: &Folder, plan: &Plan, memory: usize) -> Result<(), TrainError> {
    let several = folder.classes().iter().filter(|c| c.images.len() > 1);
    let several = several.count();
    if several < MIN_CLASSES {
        return Err(TrainError::Data(format!(
            "{several} classes of 2 images or more to learn from; at least {MIN_CLASSES} are \
             needed, in a folder each"
        )));
    }
    let (images, most) = (folder.labelled(), memory / (2 * plan.features()));
    if images > most {
        return Err(TrainError::Data(format!(
            "{images} images; of {} features each, at most {most} fit into memory",
            plan.features()
        )));
    }
    Ok(())
}

fn stop_if(cancel: &AtomicBool) -> Result<(), TrainError> {
    if cancel.load(Ordering::Acquire) {
        return Err(TrainError::Cancelled { step: 0 });
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, TrainError> {
    std::fs::read(path).map_err(|e| TrainError::io(path, e))
}

fn extract(
    backbone: &Backbone,
    images: &[&(Hash, PathBuf)],
    limits: &ImageLimits,
    cache: &mut Cache,
) -> Result<(), TrainError> {
    let plan = backbone.plan();
    let prepared = images.par_iter().map(|(_, path)| {
        let raster = Raster::read(&read(path)?, &plan, limits);
        let raster = raster.map_err(|e| TrainError::Data(format!("{}: {e}", path.display())))?;
        Ok(raster.prepare())
    });
    let prepared = prepared.collect::<Result<Vec<Prepared>, TrainError>>()?;
    let features = backbone.features(&prepared)?.to_vec2::<f32>()?;
    for ((hash, _), features) in images.iter().zip(features) {
        cache.put(hash, &features)?;
    }
    Ok(())
}
