//! One-shot classification error, as a training reports it; the protocol is that of
//! [`super::evaluate::nway`].

use super::TrainError;
use super::corpus::{Class, Corpus};
use super::dataset::Folder;
use super::evaluate::nway::{Task, run};
use super::evaluate::stats::Rate;
use super::evaluate::{Embedded, EvalError, embed_folder};
use crate::domain::Views;
use crate::encoder::{Encoder, Measured, Prepared};
use rayon::prelude::*;
use std::path::Path;

/// Embeds all pictures, class by class, on all threads.
///
/// # Errors
/// A file that can no longer be read, or as [`Encoder::embed`].
pub fn embed_classes(encoder: &Encoder, corpus: &Corpus) -> Result<Vec<Embedded>, TrainError> {
    let embed = |class: &Class| {
        let images = class.pictures.iter().map(|p| corpus.prepared(p));
        let images = images.collect::<Result<Vec<Prepared>, _>>()?;
        Ok(Embedded {
            parent: class.parent().to_owned(),
            vectors: encoder.embed(&images)?,
        })
    };
    corpus.classes.par_iter().map(embed).collect()
}

/// The error of N-way one-shot trials; `None` where there are too few classes of two images.
#[must_use]
pub fn error(classes: &[Embedded], ways: usize, trials: u64, seed: u64) -> Option<f64> {
    rate(classes, ways, trials, seed, false).map(|rate| rate.rate())
}

fn rate(
    classes: &[Embedded],
    ways: usize,
    trials: u64,
    seed: u64,
    within_parent: bool,
) -> Option<Rate> {
    let task = Task {
        ways,
        shots: 1,
        trials,
        within_parent,
        seed,
    };
    run(classes, &task).ok()
}

/// What [`measure`] asks for: ways, whether within a parent folder, the task's name.
const TASKS: [(usize, bool, &str); 3] = [
    (20, false, "20-way one-shot, classes at random"),
    (5, false, "5-way one-shot, classes at random"),
    (20, true, "20-way one-shot, classes of one parent folder"),
];

/// Opens a folder for [`measure`].
///
/// # Errors
/// It cannot be read whole, or has too few classes for any task.
pub fn open(folder: &Path) -> Result<Folder, TrainError> {
    let opened = Folder::open_whole(folder)?;
    let several = opened.classes().iter().filter(|c| c.images.len() > 1);
    let (several, needed) = (several.count(), 5);
    if several < needed {
        return Err(TrainError::Data(format!(
            "{}: {several} classes of 2 images or more; {needed} are needed to measure on",
            folder.display()
        )));
    }
    Ok(opened)
}

/// What a card says of an encoder: 5 and 20 ways over all classes, and 20 ways within a
/// parent folder (an alphabet), where there are so many. The images pass through
/// [`Encoder::prepare`], as they do when serving: `twindex eval nway` tells the same.
///
/// # Errors
/// An image that cannot be read, or as [`Encoder::embed`].
pub fn measure(
    encoder: &Encoder,
    folder: &Folder,
    name: &str,
    trials: u64,
    seed: u64,
) -> Result<Vec<Measured>, EvalError> {
    let embedded = embed_folder(encoder, folder, Views::ONE, &|_| {})?;
    let (classes, images) = (folder.classes().len(), folder.labelled());
    let measured = TASKS.into_iter().filter_map(|(ways, within, task)| {
        let rate = rate(&embedded, ways, trials, seed, within)?;
        let (low, high) = rate.ci95();
        Some(Measured {
            task: task.to_owned(),
            data: format!("{name}: {classes} classes, {images} images"),
            error: rate.rate(),
            low,
            high,
            trials,
            seed,
        })
    });
    Ok(measured.collect())
}
