//! From a target false accept rate to a threshold.

use super::estimate::{Interval, Tally};
use super::{Comparison, Shortage};
use serde::{Deserialize, Serialize};

/// Least false accepts that a threshold rests on (Doddington's rule of 30, 1998).
pub(super) const LEAST_ACCEPTS: f64 = 30.0;
/// Least of them that are worth independent ones: with fewer, the interval spans more than a
/// factor of five, and its own error is large.
pub(super) const LEAST_EFFECTIVE: f64 = 6.0;

/// A threshold, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The false accept rate asked for, in 0..1.
    pub target: f64,
    /// At least so similar is accepted.
    pub threshold: f32,
    /// What the rate on other classes lies in.
    pub interval: Interval,
    /// Share of genuine comparisons that are refused, in 0..=1.
    pub frr: f64,
}

/// The targets between which thresholds are interpolated.
pub(super) const TARGETS: [f64; 16] = [
    0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 5e-4, 3e-4, 2e-4, 1e-4, 1e-5,
];

/// The points of every target that the comparisons support, from the largest; also the lack
/// that the first target of `wanted` met, if it met one.
///
/// `impostor` is sorted here, most similar first.
pub(super) fn points(
    genuine: &[Comparison],
    impostor: &mut [Comparison],
    classes: usize,
    wanted: f64,
) -> (Vec<Point>, Option<Shortage>) {
    impostor.sort_unstable_by(|a, b| b.similarity.total_cmp(&a.similarity));
    let mut own: Vec<f32> = genuine.iter().map(|c| c.similarity).collect();
    own.sort_unstable_by(f32::total_cmp);
    let mut targets: Vec<f64> = TARGETS.to_vec();
    targets.push(wanted);
    targets.sort_unstable_by(f64::total_cmp);
    targets.dedup();
    let mut tally = Tally::new(classes, impostor.iter().map(|c| &c.classes));
    let mut found = Vec::new();
    let mut lack = None;
    let mut at = 0;
    for target in targets {
        while let Some(end) = next_accepts(impostor, at, target) {
            impostor[at..end]
                .iter()
                .for_each(|c| tally.event(c.classes));
            at = end;
        }
        let threshold = threshold(impostor, at);
        match point(&tally, target, threshold, &own) {
            Ok(point) => found.push(point),
            Err(short) if target.total_cmp(&wanted).is_eq() => lack = Some(short),
            Err(_) => {}
        }
    }
    found.reverse();
    (found, lack)
}

/// The end of the run of equals that begins at `at`, if accepting it stays within the target.
fn next_accepts(impostor: &[Comparison], at: usize, target: f64) -> Option<usize> {
    let first = impostor.get(at)?.similarity;
    let equals = impostor[at..]
        .iter()
        .take_while(|c| c.similarity.total_cmp(&first).is_eq());
    let end = at + equals.count();
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    let rate = end as f64 / impostor.len() as f64;
    (rate <= target).then_some(end)
}

/// Between the last accepted and the first refused.
fn threshold(impostor: &[Comparison], accepted: usize) -> f32 {
    let score = |at: usize| impostor.get(at).map(|c| c.similarity);
    match (accepted.checked_sub(1).and_then(score), score(accepted)) {
        (Some(last), Some(next)) => {
            let middle = f32::midpoint(last, next);
            if middle > next { middle } else { last }
        }
        (Some(last), None) => last,
        (None, Some(next)) => next.next_up(),
        (None, None) => f32::MAX,
    }
}

fn point(tally: &Tally, target: f64, threshold: f32, own: &[f32]) -> Result<Point, Shortage> {
    let estimate = tally.estimate();
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    let (events, trials) = (tally.events() as f64, tally.trials() as f64);
    let effective = estimate.effective();
    if trials * target < LEAST_ACCEPTS || effective < LEAST_EFFECTIVE {
        // Comparisons grow with the square of the classes, what they are worth with the classes.
        let by_count = (LEAST_ACCEPTS / (trials * target).max(1e-9)).sqrt();
        let by_worth = if events > 0.0 {
            LEAST_EFFECTIVE / effective.max(1e-9)
        } else {
            1.0
        };
        let times = by_count.max(by_worth).max(1.0);
        return Err(Shortage::new(
            "far",
            target,
            estimate.classes,
            times,
            trials,
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    let frr = own.partition_point(|s| *s < threshold) as f64 / own.len().max(1) as f64;
    Ok(Point {
        target,
        threshold,
        // About the target, not about the rate found: what was measured is the threshold.
        interval: estimate.interval(),
        frr,
    })
}

/// The point of a target between two known ones; `None` beyond them.
#[must_use]
pub fn at(points: &[Point], target: f64) -> Option<Point> {
    let above = points.iter().rfind(|p| p.target >= target)?;
    let below = points.iter().find(|p| p.target <= target)?;
    if above.target <= below.target {
        return Some(*above);
    }
    let share = (above.target / target).ln() / (above.target / below.target).ln();
    let between = |a: f64, b: f64| a + (b - a) * share;
    let relative = |of: fn(&Interval) -> f64| {
        let ratio = |p: &Point| of(&p.interval) / p.target;
        target * between(ratio(above), ratio(below))
    };
    #[expect(clippy::cast_possible_truncation, reason = "between two f32")]
    let threshold = between(above.threshold.into(), below.threshold.into()) as f32;
    Some(Point {
        target,
        threshold,
        interval: Interval {
            low: relative(|i| i.low),
            high: relative(|i| i.high).min(1.0),
        },
        frr: between(above.frr, below.frr),
    })
}
