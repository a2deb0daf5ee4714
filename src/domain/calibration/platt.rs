//! Platt's sigmoid: log odds that are linear in the score.
//!
//! Platt 1999, with his smoothed targets and the Newton steps of Lin, Lin and Weng 2007; both
//! kinds of comparison weigh the same in all, however many there are.

use super::estimate::logistic;
use serde::{Deserialize, Serialize};

/// Log odds at equal priors: `slope * (score - centre) / scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    centre: f64,
    scale: f64,
    slope: f64,
    offset: f64,
}

const STEPS: usize = 100;

impl Platt {
    /// The log odds of a score.
    #[must_use]
    pub fn log_odds(&self, score: f32) -> f64 {
        self.slope * (f64::from(score) - self.centre) / self.scale + self.offset
    }

    /// Fits to the scores of genuine and impostor comparisons; there is at least one of each.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    pub fn fit(genuine: &[f32], impostor: &[f32]) -> Self {
        let (g, i) = (genuine.len() as f64, impostor.len() as f64);
        // Standardised, so that any metric's scores suit the steps.
        let moment = |scores: &[f32], f: &dyn Fn(f64) -> f64| {
            scores.iter().map(|s| f(f64::from(*s))).sum::<f64>() / scores.len() as f64
        };
        let centre = f64::midpoint(moment(genuine, &|s| s), moment(impostor, &|s| s));
        let square = |s: f64| (s - centre).powi(2);
        let spread = f64::midpoint(moment(genuine, &square), moment(impostor, &square));
        let scale = spread.sqrt().max(1e-12);
        let sides = [
            (genuine, (g + 1.0) / (g + 2.0), 0.5 / g),
            (impostor, 1.0 / (i + 2.0), 0.5 / i),
        ];
        let mut fit = Self {
            centre,
            scale,
            slope: 0.0,
            offset: 0.0,
        };
        let mut loss = fit.loss(&sides);
        for _ in 0..STEPS {
            let step = fit.newton(&sides);
            // Halved until it helps: the loss is convex.
            let mut part = 1.0;
            let better = loop {
                let mut next = fit;
                next.slope -= part * step.0;
                next.offset -= part * step.1;
                let there = next.loss(&sides);
                if there < loss - 1e-12 {
                    break Some((next, there));
                }
                part /= 2.0;
                if part < 1e-6 {
                    break None;
                }
            };
            let Some((next, there)) = better else { break };
            let done = loss - there < 1e-9;
            (fit, loss) = (next, there);
            if done {
                break;
            }
        }
        // Less alike never means more probable.
        fit.slope = fit.slope.max(0.0);
        fit
    }

    fn loss(&self, sides: &[(&[f32], f64, f64)]) -> f64 {
        let side = |(scores, target, weight): &(&[f32], f64, f64)| {
            let each = scores.iter().map(|s| {
                let odds = self.log_odds(*s);
                // ln(1 + e^odds) without overflow.
                odds.max(0.0) + (-odds.abs()).exp().ln_1p() - target * odds
            });
            weight * each.sum::<f64>()
        };
        sides.iter().map(side).sum()
    }

    fn newton(&self, sides: &[(&[f32], f64, f64)]) -> (f64, f64) {
        let (mut ga, mut gb, mut aa, mut ab, mut bb) = (0.0, 0.0, 1e-9, 0.0, 1e-9);
        for (scores, target, weight) in sides {
            for score in *scores {
                let x = (f64::from(*score) - self.centre) / self.scale;
                let p = logistic(self.log_odds(*score));
                let (error, curve) = (weight * (p - target), weight * p * (1.0 - p));
                ga += error * x;
                gb += error;
                aa += curve * x * x;
                ab += curve * x;
                bb += curve;
            }
        }
        let determinant = aa * bb - ab * ab;
        (
            (bb * ga - ab * gb) / determinant,
            (aa * gb - ab * ga) / determinant,
        )
    }
}
