//! One-shot classification error, as a training reports it; the protocol is that of
//! [`super::evaluate::nway`].

use super::corpus::{Class, prepared};
use super::evaluate::Embedded;
use super::evaluate::nway::{Task, run};
use crate::encoder::{Encoder, Error, Measured, Prepared};
use rayon::prelude::*;

/// Embeds all drawings, class by class, on all threads.
///
/// # Errors
/// As [`Encoder::embed`].
pub fn embed_classes(encoder: &Encoder, classes: &[Class]) -> Result<Vec<Embedded>, Error> {
    classes
        .par_iter()
        .map(|class| {
            let images: Vec<Prepared> = class.drawings.iter().map(prepared).collect();
            let parent = class.label.rsplit_once('/').map_or("", |(p, _)| p);
            Ok(Embedded {
                parent: parent.to_owned(),
                vectors: encoder.embed(&images)?,
            })
        })
        .collect()
}

/// The error of N-way one-shot trials; `None` where there are too few classes of two images.
#[must_use]
pub fn error(classes: &[Embedded], ways: usize, trials: u64, seed: u64) -> Option<f64> {
    rate(classes, ways, trials, seed, false)
}

fn rate(
    classes: &[Embedded],
    ways: usize,
    trials: u64,
    seed: u64,
    within_parent: bool,
) -> Option<f64> {
    let task = Task {
        ways,
        shots: 1,
        trials,
        within_parent,
        seed,
    };
    run(classes, &task).ok().map(|rate| rate.rate())
}

/// What a card says of an encoder: 5 and 20 ways over all classes, and 20 ways within a
/// parent folder (an alphabet).
///
/// # Errors
/// As [`Encoder::embed`].
pub fn measure(
    encoder: &Encoder,
    classes: &[Class],
    data: &str,
    trials: u64,
    seed: u64,
) -> Result<Vec<Measured>, Error> {
    let embedded = embed_classes(encoder, classes)?;
    let tasks = [
        (20, false, "20-way one-shot, classes at random"),
        (5, false, "5-way one-shot, classes at random"),
        (20, true, "20-way one-shot, classes of one parent folder"),
    ];
    let measured = tasks.into_iter().filter_map(|(ways, within, task)| {
        Some(Measured {
            task: task.to_owned(),
            data: data.to_owned(),
            error: rate(&embedded, ways, trials, seed, within)?,
            trials,
        })
    });
    Ok(measured.collect())
}
