//! Verification: genuine pairs are of one class, impostor pairs of two.

use super::pairs::{Pairs, Place, Scores, Task};
use super::roc::{self, FARS, Point, Ranked};
use super::stats::{Figure, Rate};
use super::{Embedded, EvalError, bootstrap};

/// The figures. Intervals: a bootstrap over classes, as [`bootstrap`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Area under the ROC curve: how often a genuine pair is more alike than an impostor pair.
    pub auc: Figure,
    /// Error rate at the threshold where FAR and FRR are equal.
    pub eer: Figure,
    /// The lowest similarity accepted there.
    pub threshold: f32,
    /// FRRs at [`FARS`].
    pub at_far: Vec<AtFar>,
    /// Every point of the curve.
    pub curve: Vec<Point>,
    /// How often the classes were drawn anew.
    pub resamples: u64,
}

/// An operating point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtFar {
    /// Share of impostor pairs that may be accepted.
    pub far: f64,
    /// Share of genuine pairs then refused.
    pub frr: Figure,
    /// The lowest similarity accepted; infinite where nothing can be.
    pub threshold: f32,
}

/// Draws pairs and tells how well similarity keeps them apart.
///
/// # Errors
/// As [`Pairs::draw`].
pub fn run(classes: &[Embedded], task: &Task) -> Result<Verification, EvalError> {
    let pairs = Pairs::draw(classes, task)?;
    let scores = pairs.scores(classes);
    Ok(measure(&pairs, &scores, classes.len(), task.seed, &|_| {}))
}

/// The figures of scored pairs, at least one of either kind, of so many classes; `progress`
/// hears of resamples done.
#[must_use]
pub fn measure(
    pairs: &Pairs,
    scores: &Scores,
    classes: usize,
    seed: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Verification {
    let ranked = Ranked::new(pairs, scores);
    let resamples = resamples(pairs);
    let of = |drawn: &[u32]| ranked.figures(drawn);
    let drawn = bootstrap::resample(classes, resamples, seed, progress, &of);
    let values = ranked.figures(&vec![1; classes]).unwrap_or_default();
    let figure = |nth: usize| Figure {
        value: values[nth],
        ci95: bootstrap::interval(bootstrap::column(&drawn, nth)),
    };
    let curve = ranked.curve();
    let at_far = FARS.iter().enumerate().map(|(nth, far)| AtFar {
        far: *far,
        frr: figure(2 + nth),
        threshold: roc::at_far(&curve, *far).map_or(f32::INFINITY, |p| p.threshold),
    });
    Verification {
        auc: figure(0),
        eer: figure(1),
        threshold: roc::equal_errors(&curve).map_or(1.0, |p| p.threshold),
        at_far: at_far.collect(),
        curve,
        resamples,
    }
}

/// A thousand resamples, fewer where there are many pairs, at least 200.
#[must_use]
pub fn resamples(pairs: &Pairs) -> u64 {
    const PASSES: u64 = 400_000_000;
    let each = (pairs.genuine.len() + pairs.impostor.len()) as u64;
    (PASSES / each.max(1)).clamp(200, bootstrap::RESAMPLES)
}

/// How one class fares at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OfClass {
    /// Its genuine pairs that are refused.
    pub refused: Rate,
    /// Impostor pairs with it that are accepted.
    pub accepted: Rate,
}

/// How each class fares at a threshold, in the order of the classes.
#[must_use]
pub fn by_class(pairs: &Pairs, scores: &Scores, classes: usize, threshold: f32) -> Vec<OfClass> {
    let mut found = vec![OfClass::default(); classes];
    for (pair, score) in pairs.genuine.iter().zip(&scores.genuine) {
        found[pair[0].class as usize]
            .refused
            .add(*score < threshold);
    }
    for (pair, score) in pairs.impostor.iter().zip(&scores.impostor) {
        for place in pair {
            found[place.class as usize]
                .accepted
                .add(*score >= threshold);
        }
    }
    found
}

/// A pair with its score.
pub type Worst = ([Place; 2], f32);

/// The errors at a threshold that are the worst: impostor pairs of the highest score, and
/// genuine pairs of the lowest, at most `most` of each and none twice.
#[must_use]
pub fn worst(
    pairs: &Pairs,
    scores: &Scores,
    threshold: f32,
    most: usize,
) -> (Vec<Worst>, Vec<Worst>) {
    let with = |pairs: &[[Place; 2]], scores: &[f32], wrong: &dyn Fn(f32) -> bool| {
        let all = pairs.iter().zip(scores).filter(|(_, score)| wrong(**score));
        let sorted = all.map(|([a, b], score)| ([*a.min(b), *a.max(b)], *score));
        let mut found: Vec<Worst> = sorted.collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.dedup();
        found
    };
    let mut accepted = with(&pairs.impostor, &scores.impostor, &|s| s >= threshold);
    accepted.truncate(most);
    let mut refused = with(&pairs.genuine, &scores.genuine, &|s| s < threshold);
    refused.reverse();
    refused.truncate(most);
    (accepted, refused)
}
