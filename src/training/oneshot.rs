//! One-shot classification error, as a training reports it.

use super::corpus::{Class, prepared};
use super::random::Random;
use crate::domain::Embedding;
use crate::encoder::{Encoder, Error, Measured, Prepared};
use rayon::prelude::*;

/// Embeds all drawings, class by class, on all threads.
///
/// # Errors
/// As [`Encoder::embed`].
pub fn embed_classes(encoder: &Encoder, classes: &[Class]) -> Result<Vec<Vec<Embedding>>, Error> {
    classes
        .par_iter()
        .map(|class| {
            let images: Vec<Prepared> = class.drawings.iter().map(prepared).collect();
            encoder.embed(&images)
        })
        .collect()
}

/// Share of `trials` in which the nearest of `ways` examples, each of another class drawn
/// at random, is not of the probe's class. Probe and examples are different images. None
/// where fewer than `ways` classes have two images.
#[must_use]
pub fn error(classes: &[Vec<Embedding>], ways: usize, trials: u64, seed: u64) -> Option<f64> {
    let usable: Vec<&Vec<Embedding>> = classes.iter().filter(|c| c.len() >= 2).collect();
    if usable.len() < ways || ways < 2 || trials == 0 {
        return None;
    }
    let cosine = |a: &Embedding, b: &Embedding| -> f32 {
        let pairs = a.as_slice().iter().zip(b.as_slice());
        pairs.map(|(a, b)| a * b).sum()
    };
    let failed = (0..trials).filter(|trial| {
        let mut random = Random::new(seed, *trial);
        let chosen = random.distinct(usable.len(), ways);
        let own = usable[chosen[0]];
        let pair = random.distinct(own.len(), 2);
        let probe = &own[pair[0]];
        let right = cosine(probe, &own[pair[1]]);
        chosen[1..].iter().any(|class| {
            let other = usable[*class];
            cosine(probe, &other[random.below(other.len())]) >= right
        })
    });
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    let share = failed.count() as f64 / trials as f64;
    Some(share)
}

/// What a card says of an encoder: 5 and 20 ways over all classes, and 20 ways within a
/// parent folder (an alphabet), averaged over those that have 20 classes.
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
    let mut measured = Vec::new();
    let mut note = |task: String, error: Option<f64>, trials| {
        measured.extend(error.map(|error| Measured {
            task,
            data: data.to_owned(),
            error,
            trials,
        }));
    };
    for ways in [20, 5] {
        let task = format!("{ways}-way one-shot, classes at random");
        note(task, error(&embedded, ways, trials, seed), trials);
    }
    let parent = |class: &Class| class.label.rsplit_once('/').map(|(p, _)| p.to_owned());
    let mut parents: Vec<_> = classes.iter().map(parent).collect();
    parents.dedup();
    let errors: Vec<f64> = parents
        .iter()
        .filter_map(|p| {
            let within: Vec<Vec<Embedding>> = classes
                .iter()
                .zip(&embedded)
                .filter(|(class, _)| parent(class) == *p)
                .map(|(_, e)| e.clone())
                .collect();
            error(&within, 20, trials, seed)
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a count of folders")]
    let mean = (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64);
    let task = "20-way one-shot, classes of one parent folder".to_owned();
    note(task, mean, trials * errors.len() as u64);
    Ok(measured)
}
