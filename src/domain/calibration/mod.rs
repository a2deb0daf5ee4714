//! Scores to decisions: probabilities, thresholds for a target error rate, and how sure they are.
//!
//! - `estimate`: a rate over comparisons that share classes, and its prediction interval.
//! - `platt`, `isotonic`, `curve`: probabilities, by the curve that does better on other classes.
//! - `point`: a target false accept rate to a threshold.
//! - `gallery`: how often a gallery of a size holds something like a probe.
//! - `openset`: a target false-positive identification rate to a threshold, by size of gallery.
//! - `record`: all of it, as a collection keeps it.

mod curve;
mod estimate;
mod gallery;
mod isotonic;
mod openset;
mod platt;
mod point;
mod record;

pub use curve::{Bin, Chosen, Curve, Judged, choose};
pub use estimate::{Estimate, Interval, logistic, logit, student};
pub use gallery::{Model, Table};
pub use isotonic::Isotonic;
pub use openset::{GROWTH, OpenPoint, OpenSet};
pub use platt::Platt;
pub use point::{Point, at};
pub use record::{Calibration, Origin, Scale, Targets, check_rate};

use super::Invalid;

/// A comparison of known truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// By the collection's metric.
    pub similarity: f32,
    /// The classes of its two sides: equal if it is genuine. Classes are numbered in random
    /// order.
    pub classes: [u16; 2],
}

/// There is too little to learn a target rate from.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{field}: {target}; {}", self.needs())]
pub struct Shortage {
    /// Which target: `far` or `fpir`.
    pub field: &'static str,
    /// What was asked for.
    pub target: f64,
    /// What is counted.
    pub of: &'static str,
    /// Labels of two examples or more.
    pub labels: usize,
    /// How many would do.
    pub labels_needed: usize,
    /// Impostor comparisons, or probes.
    pub there: u64,
    /// How many would do.
    pub needed: u64,
}

impl Shortage {
    /// What it takes, in words.
    #[must_use]
    pub fn needs(&self) -> String {
        let Self {
            of,
            labels,
            labels_needed,
            there,
            needed,
            ..
        } = self;
        format!(
            "it takes about {labels_needed} labels of two examples or more ({needed} {of}) to tell \
             so small a rate, and there are {labels} ({there})"
        )
    }

    /// At least so many labels are needed, whatever they look like.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "about so many"
    )]
    fn at_least(labels_needed: usize, target: f64, labels: usize, there: u64) -> Self {
        Self {
            field: "far",
            target,
            of: "impostor pairs",
            labels,
            labels_needed,
            there,
            needed: (point::LEAST_ACCEPTS / target).min(1e15).ceil() as u64,
        }
    }

    /// `times` as many labels are needed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "about so many"
    )]
    fn new(field: &'static str, target: f64, labels: usize, times: f64, there: f64) -> Self {
        let pairs = field == "far";
        let grown = if pairs { times * times } else { times };
        Self {
            field,
            target,
            of: if pairs { "impostor pairs" } else { "probes" },
            labels,
            labels_needed: (labels as f64 * times).ceil() as usize,
            there: there as u64,
            needed: (there * grown).ceil() as u64,
        }
    }
}

/// The error for a target that a calibration does not support.
fn beyond(field: &str, target: f64, [least, most]: [f64; 2]) -> Invalid {
    Invalid::new(
        field,
        target.to_string(),
        if most > 0.0 {
            format!("the calibration supports {least} to {most}; more labels support less")
        } else {
            "the calibration supports none: its labels are too few".to_owned()
        },
    )
}
