//! How often a probe of no enrolled label finds one: the false-positive identification rate.
//!
//! FPIR (ISO/IEC 19795-1) grows with the gallery. Comparisons of one probe depend on one another
//! (some probes look like many labels), so that `1 - (1 - FAR)^N` is too high; it is measured
//! over galleries of each size instead ([`super::Model`]), and the interval widens where a
//! gallery is larger than any measured.

use super::estimate::{Estimate, Interval};
use super::gallery::{Growth, Model, STEP, Table, ln_ratio};
use super::point::LEAST_EFFECTIVE;
use super::{Shortage, beyond};
use crate::domain::Invalid;
use serde::{Deserialize, Serialize};

/// A threshold for one size of gallery.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OpenPoint {
    /// The rate asked for, in 0..1.
    pub target: f64,
    /// Labels of the gallery.
    pub labels: u32,
    /// Below this similarity of the best label the probe is unknown.
    pub threshold: f32,
    /// What the rate lies in with other probes and labels.
    pub interval: Interval,
}

/// Thresholds by target and size of gallery, as far as the data support them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenSet {
    /// By target, falling, then by labels, rising.
    points: Vec<OpenPoint>,
}

/// The targets between which thresholds are interpolated.
const TARGETS: [f64; 7] = [0.3, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001];
/// A gallery may grow to so many times the labels it was calibrated with.
pub const GROWTH: usize = 10;

impl OpenSet {
    /// Calibrates; `wanted` must be supported for as many labels as there are.
    ///
    /// # Errors
    /// It is not: how many labels it would take.
    pub fn fit(table: &Table, wanted: f64) -> Result<Self, Shortage> {
        let model = Model::new(table);
        let mut points = Vec::new();
        let mut targets = TARGETS.to_vec();
        targets.push(wanted);
        targets.sort_unstable_by(|a, b| b.total_cmp(a));
        targets.dedup();
        for target in targets {
            let growth = model.growth(target);
            let sizes = sizes(&model).into_iter();
            let each = sizes.map(|labels| point(&model, target, labels, growth));
            // All sizes or none: a threshold of a small gallery is too low for a large one.
            match each.collect::<Result<Vec<_>, _>>() {
                Ok(each) => points.extend(each),
                Err(short) if target.total_cmp(&wanted).is_eq() => return Err(short),
                Err(_) => {}
            }
        }
        Ok(Self { points })
    }

    /// The threshold for a target rate and a gallery. A gallery beyond the sizes supported has
    /// the largest one's threshold and no interval.
    ///
    /// # Errors
    /// The target is finer or coarser than the calibration supports.
    pub fn at(&self, field: &str, target: f64, labels: usize) -> Result<OpenPoint, Invalid> {
        self.find(target, labels).ok_or_else(|| {
            let ends = [self.points.last(), self.points.first()];
            beyond(field, target, ends.map(|p| p.map_or(0.0, |p| p.target)))
        })
    }

    fn find(&self, target: f64, labels: usize) -> Option<OpenPoint> {
        let labels = u32::try_from(labels.max(1)).unwrap_or(u32::MAX);
        let mut targets: Vec<f64> = self.points.iter().map(|p| p.target).collect();
        targets.dedup();
        let above = *targets.iter().rfind(|t| **t >= target)?;
        let below = *targets.iter().find(|t| **t <= target)?;
        let (a, b) = (self.of(above, labels)?, self.of(below, labels)?);
        let share = if above > below {
            (above / target).ln() / (above / below).ln()
        } else {
            0.0
        };
        Some(between(&a, &b, share, target, labels))
    }

    /// For one of the targets.
    fn of(&self, target: f64, labels: u32) -> Option<OpenPoint> {
        let points = || {
            self.points
                .iter()
                .filter(move |p| p.target.total_cmp(&target).is_eq())
        };
        let after = points().find(|p| p.labels >= labels);
        let before = points().rfind(|p| p.labels <= labels);
        match (before, after) {
            (Some(a), Some(b)) if a.labels < b.labels => {
                let ln = |n: u32| f64::from(n).ln();
                let share = (ln(labels) - ln(a.labels)) / (ln(b.labels) - ln(a.labels));
                Some(between(a, b, share, target, labels))
            }
            (_, Some(point)) => Some(*point),
            (Some(last), None) => Some(OpenPoint {
                interval: Interval::ANY,
                labels,
                ..*last
            }),
            (None, None) => None,
        }
    }
}

fn between(a: &OpenPoint, b: &OpenPoint, share: f64, target: f64, labels: u32) -> OpenPoint {
    let mix = |a: f64, b: f64| a + (b - a) * share;
    let relative = |of: fn(&Interval) -> f64| {
        let ratio = |p: &OpenPoint| of(&p.interval) / p.target;
        target * mix(ratio(a), ratio(b))
    };
    #[expect(clippy::cast_possible_truncation, reason = "between two f32")]
    let threshold = mix(a.threshold.into(), b.threshold.into()) as f32;
    let known = a.interval != Interval::ANY && b.interval != Interval::ANY;
    let interval = Interval {
        low: relative(|i| i.low),
        high: relative(|i| i.high).min(1.0),
    };
    OpenPoint {
        target,
        labels,
        threshold,
        interval: if known { interval } else { Interval::ANY },
    }
}

fn point(model: &Model, target: f64, labels: usize, growth: Growth) -> Result<OpenPoint, Shortage> {
    let measured = labels.min(model.direct());
    let threshold = model.solve(measured, target);
    let estimate = model.estimate(measured, threshold);
    let effective = estimate.effective();
    if effective < LEAST_EFFECTIVE {
        let probes = model.probes();
        #[expect(clippy::cast_precision_loss, reason = "a count of probes")]
        let (events, probes) = (target * probes as f64, probes as f64);
        let worth = if effective > 0.0 { effective } else { events };
        let times = LEAST_EFFECTIVE / worth.clamp(0.01, LEAST_EFFECTIVE);
        return Err(Shortage::new("fpir", target, model.labels(), times, probes));
    }
    let beyond = ln_ratio(labels, measured);
    let shift = growth.shift(beyond / ln_ratio(STEP, 1));
    #[expect(clippy::cast_possible_truncation, reason = "a similarity")]
    let threshold = (f64::from(threshold) + shift) as f32;
    Ok(OpenPoint {
        target,
        labels: u32::try_from(labels).unwrap_or(u32::MAX),
        threshold,
        // What is extrapolated is less sure the farther away it is.
        interval: Estimate {
            error: estimate.error * beyond.hypot(1.0),
            ..estimate
        }
        .interval(),
    })
}

/// Sizes of gallery, rising about by halves, to [`GROWTH`] times the labels.
fn sizes(model: &Model) -> Vec<usize> {
    let most = GROWTH * model.labels();
    let mut sizes: Vec<usize> = std::iter::successors(Some(1), |n: &usize| Some(n + n.div_ceil(2)))
        .take_while(|n| *n < most)
        .collect();
    sizes.extend([model.direct(), model.labels(), most]);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}
