//! Questions that measure a collection: which are asked, and how sure the mean of their answers
//! is.

use crate::training::evaluate::stats::wilson_of;
use std::collections::BTreeSet;

/// `wanted` of the places `0..all`, ascending, spread evenly and in no step with their order: the
/// additive recurrence of the golden ratio. All of them where there are no more.
pub(super) fn spread(all: usize, wanted: usize) -> Vec<usize> {
    /// 2^64 divided by the golden ratio.
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    if all <= wanted {
        return (0..all).collect();
    }
    let (mut places, mut at) = (BTreeSet::new(), 0_u64);
    while places.len() < wanted {
        at = at.wrapping_add(STEP);
        let place = (u128::from(at) * all as u128) >> 64;
        places.insert(usize::try_from(place).unwrap_or(0));
    }
    places.into_iter().collect()
}

/// The mean of shares, one a question, and its 95 % interval; nothing is known without any.
///
/// What a question finds depends on where it stands, so questions are what is sampled, not
/// answers. The interval is Wilson's for as many independent trials as would make the mean as
/// sure as the scatter over questions shows it to be (Korn and Graubard 1998); where none
/// scatter, for as many as there are questions: 200 that found everything say 0.981 to 1. Near 1
/// few questions fall short, and the mean's standard error, or a bootstrap, often sees none of
/// them: then they hold 23 to 90 times of 100 where this one holds 90 to 98.
#[expect(clippy::cast_precision_loss, reason = "a count of questions")]
pub(super) fn mean(shares: &[f64]) -> (f64, (f64, f64)) {
    let n = shares.len() as f64;
    if shares.is_empty() {
        return (1.0, (0.0, 1.0));
    }
    let mean = (shares.iter().sum::<f64>() / n).clamp(0.0, 1.0);
    let squares: f64 = shares.iter().map(|share| (share - mean).powi(2)).sum();
    let variance = squares / (n - 1.0).max(1.0);
    let trials = if variance > 1e-12 {
        mean * (1.0 - mean) * n / variance
    } else {
        n
    };
    let (low, high) = wilson_of(mean, trials);
    // At the ends rounding may leave it outside.
    (mean, (low.min(mean), high.max(mean)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::random::Random;

    #[test]
    fn questions_are_spread_over_everything() {
        assert_eq!(spread(3, 5), [0, 1, 2]);
        assert!(spread(0, 5).is_empty() && spread(5, 0).is_empty());
        for (all, wanted) in [(1_000, 999), (1_000, 10), (100_000, 200), (7, 1)] {
            let places = spread(all, wanted);
            assert_eq!(places.len(), wanted);
            assert!(places.is_sorted_by(|a, b| a < b));
            let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.max().unwrap_or(0) <= 3 * all / wanted);
        }
    }

    #[test]
    fn an_interval_is_never_empty() {
        assert_eq!(mean(&[]), (1.0, (0.0, 1.0)));
        for (share, questions) in [(1.0, 1), (1.0, 200), (0.0, 200), (0.9, 3)] {
            let (mean, (low, high)) = mean(&vec![share; questions]);
            assert!((mean - share).abs() < 1e-9);
            assert!(low <= mean && mean <= high && high - low > 0.01);
        }
        let (_, (low, _)) = mean(&[1.0; 200]);
        assert!((low - 0.9812).abs() < 1e-3, "{low}");
    }

    /// Worlds whose questions fall short in different ways: how often is the truth covered?
    #[test]
    fn intervals_cover_what_they_should() {
        // The part of questions that fall short, and what those miss.
        for (some, short) in [(0.2, 0.1), (0.02, 1.0), (0.01, 0.3), (0.5, 0.2)] {
            let truth = 1.0 - some * short;
            let covered = (0..400).filter(|world| {
                let mut random = Random::new(5, *world);
                let share = |_| {
                    if f64::from(random.unit()) < some {
                        1.0 - short
                    } else {
                        1.0
                    }
                };
                let shares: Vec<f64> = (0..200).map(share).collect();
                let (_, (low, high)) = mean(&shares);
                low <= truth && truth <= high
            });
            let covered = covered.count();
            assert!(
                covered >= 360,
                "{some} fall short by {short}: {covered} of 400"
            );
        }
    }
}
