//! Isotonic regression: log odds that only ever rise with the score.
//!
//! Pool adjacent violators (Ayer et al. 1955; as a calibration: Zadrozny and Elkan 2002), with
//! half a comparison of each kind added to every pool, so that no probability is 0 or 1, and
//! straight lines from one pool to the next.

use serde::{Deserialize, Serialize};

/// Log odds at equal priors, linear between knots and constant beyond them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// Score and log odds, both rising.
    knots: Vec<(f32, f64)>,
}

/// Knots closer than this in log odds are one: a hundredth of a probability at most.
const STEP: f64 = 0.04;

/// Neighbours that would fall, put together.
#[derive(Clone, Copy)]
struct Pool {
    /// Least and greatest score.
    ends: (f32, f32),
    genuine: f64,
    impostor: f64,
}

impl Isotonic {
    /// The log odds of a score.
    #[must_use]
    pub fn log_odds(&self, score: f32) -> f64 {
        let after = self.knots.partition_point(|(s, _)| *s < score);
        let knot = |at: usize| self.knots.get(at).copied();
        match (after.checked_sub(1).and_then(knot), knot(after)) {
            (Some((low, a)), Some((high, b))) => {
                let share = f64::from((score - low) / (high - low));
                // Not a bit beyond, by rounding.
                (a + (b - a) * share).min(b)
            }
            (Some((_, edge)), None) | (None, Some((_, edge))) => edge,
            (None, None) => 0.0,
        }
    }

    /// Fits to the scores of genuine and impostor comparisons; there is at least one of each.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    pub fn fit(genuine: &[f32], impostor: &[f32]) -> Self {
        let (g, i) = (genuine.len() as f64, impostor.len() as f64);
        let of = |scores: &[f32], same: bool| -> Vec<(f32, bool)> {
            scores.iter().map(|s| (*s, same)).collect()
        };
        let mut all = [of(genuine, true), of(impostor, false)].concat();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Half a comparison of each kind, in the same proportion to its number.
        let odds =
            |p: &Pool| ((p.genuine + 0.5) / (g + 1.0) / ((p.impostor + 0.5) / (i + 1.0))).ln();
        let share = |p: &Pool| p.genuine / g / (p.genuine / g + p.impostor / i);
        let mut pools: Vec<Pool> = Vec::new();
        for (score, same) in all {
            let mut pool = Pool {
                ends: (score, score),
                genuine: f64::from(u8::from(same)),
                impostor: f64::from(u8::from(!same)),
            };
            while let Some(last) = pools.last() {
                if last.ends.1 < score && share(last) < share(&pool) {
                    break;
                }
                pool.ends.0 = last.ends.0;
                pool.genuine += last.genuine;
                pool.impostor += last.impostor;
                pools.pop();
            }
            pools.push(pool);
        }
        // Level over a pool, straight from one to the next.
        let mut levels: Vec<((f32, f32), f64)> = Vec::new();
        for pool in &pools {
            let odds = odds(pool);
            match levels.last_mut() {
                // Small pools are drawn in by what was added to them: still never down.
                Some((ends, level)) if odds < *level + STEP => ends.1 = pool.ends.1,
                _ => levels.push((pool.ends, odds)),
            }
        }
        let mut knots: Vec<(f32, f64)> = levels
            .into_iter()
            .flat_map(|((start, end), odds)| [(start, odds), (end, odds)])
            .collect();
        knots.dedup();
        Self { knots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_and_pools_what_falls() {
        let genuine: Vec<f32> = (0..100_u8).map(|n| 0.5 + 0.005 * f32::from(n)).collect();
        let impostor: Vec<f32> = (0..1_000_u16).map(|n| 0.0007 * f32::from(n)).collect();
        let fit = Isotonic::fit(&genuine, &impostor);
        let scores = (0..=100_u8).map(|n| f32::from(n) / 100.0);
        let odds: Vec<f64> = scores.map(|s| fit.log_odds(s)).collect();
        assert!(odds.is_sorted());
        // Between 0.5 and 0.7 lie 40 % of the genuine and 28.6 % of the impostors.
        assert!((fit.log_odds(0.6) - (0.4_f64 / 0.286).ln()).abs() < 0.1);
        assert!(fit.log_odds(-9.0) < -4.0 && fit.log_odds(9.0) > 4.0);
    }
}
