//! Intervals of figures whose trials share classes: a bootstrap over the classes.
//!
//! Pairs that share a class are not independent, so it is classes that are drawn anew, with
//! all their trials: as in the subsets bootstrap (Bolle, Ratha and Pankanti 2004), an
//! impostor pair counting as often as both of its classes were drawn (the vertex bootstrap
//! of Snijders and Borgatti 1999). The intervals are percentiles (Efron 1979). With few
//! classes they are too narrow; below five none is told.

use super::stats::Figure;
use crate::training::random::Random;
use rayon::prelude::*;

/// Resamples, unless a resample is costly.
pub const RESAMPLES: u64 = 1_000;
/// Fewest classes of which an interval is told.
pub const FEWEST: usize = 5;
/// Keeps these draws apart from those of trials and pairs.
const STREAM: u64 = 0x626f_6f74_7374_7261;

/// What `of` makes of each resample, which it sees as how often each class was drawn; what
/// it cannot tell is left out; `progress` hears of resamples done. Follows from the seed, on
/// any number of threads.
pub fn resample<const N: usize>(
    classes: usize,
    resamples: u64,
    seed: u64,
    progress: &(dyn Fn(u64) + Sync),
    of: &(dyn Fn(&[u32]) -> Option<[f64; N]> + Sync),
) -> Vec<[f64; N]> {
    if classes < FEWEST {
        return Vec::new();
    }
    let one = |nth| {
        let found = of(&drawn(classes, seed, nth));
        progress(1);
        found
    };
    (0..resamples).into_par_iter().filter_map(one).collect()
}

fn drawn(classes: usize, seed: u64, nth: u64) -> Vec<u32> {
    let mut random = Random::new(seed ^ STREAM, nth);
    let mut times = vec![0; classes];
    for _ in 0..classes {
        times[random.below(classes)] += 1;
    }
    times
}

/// The 95 % percentile interval; `None` of nothing.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places among few resamples"
)]
pub fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        values[below] + (place - place.floor()) * (values[above] - values[below])
    };
    Some((at(0.025), at(0.975)))
}

/// The `nth` figure of all resamples.
#[must_use]
pub fn column<const N: usize>(resamples: &[[f64; N]], nth: usize) -> Vec<f64> {
    resamples.iter().map(|r| r[nth]).collect()
}

/// Two-sided p-value of a difference: how often its resamples lie on the other side of 0,
/// twice, and never below what so many resamples can tell (Davison and Hinkley 1997).
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of resamples")]
pub fn p_value(differences: &[f64]) -> Option<f64> {
    if differences.is_empty() {
        return None;
    }
    let beyond = |side: f64| differences.iter().filter(|d| *d * side <= 0.0).count() + 1;
    let fewer = beyond(1.0).min(beyond(-1.0));
    Some((2.0 * fewer as f64 / (differences.len() + 1) as f64).min(1.0))
}

/// A sum over a number of trials, each class giving its part of both; classes without
/// trials are left out.
#[must_use]
pub fn ratio(classes: &[(f64, f64)], seed: u64) -> Figure {
    let (value, resamples) = ratios(classes, seed);
    Figure {
        value,
        ci95: interval(resamples),
    }
}

/// The same, with every resample in place of the interval.
#[must_use]
pub fn ratios(classes: &[(f64, f64)], seed: u64) -> (f64, Vec<f64>) {
    let classes: Vec<_> = classes.iter().filter(|(_, trials)| *trials > 0.0).collect();
    let of = |times: &[u32]| {
        let sum = |part: fn(&(f64, f64)) -> f64| {
            let each = times.iter().zip(&classes);
            each.map(|(n, class)| f64::from(*n) * part(class))
                .sum::<f64>()
        };
        Some([sum(|c| c.0) / sum(|c| c.1)])
    };
    let resamples = resample(classes.len(), RESAMPLES, seed, &|_| {}, &of);
    let value = of(&vec![1; classes.len()]).map_or(0.0, |[v]| v);
    let value = if value.is_nan() { 0.0 } else { value };
    (value, column(&resamples, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes whose own rates scatter about one half: how often is one half covered?
    #[test]
    fn intervals_cover_what_they_should() {
        let worlds = 300;
        let covered = (0..worlds).filter(|world| {
            let mut random = Random::new(11, *world);
            let class = |_| {
                let rate = random.unit();
                let wrong = (0..20).filter(|_| random.unit() < rate).count();
                (f64::from(u32::try_from(wrong).unwrap()), 20.0)
            };
            let classes: Vec<_> = (0..60).map(class).collect();
            let (low, high) = ratio(&classes, *world).ci95.unwrap();
            low <= 0.5 && 0.5 <= high
        });
        let covered = covered.count();
        // 95 % of 300, give or take four deviations of the count.
        assert!((268..=298).contains(&covered), "{covered} of {worlds}");
    }

    #[test]
    fn percentiles_and_p_values_by_hand() {
        let values: Vec<f64> = (0..=1000).map(f64::from).collect();
        assert_eq!(interval(values), Some((25.0, 975.0)));
        assert_eq!(interval(vec![]), None);
        assert_eq!(p_value(&[1.0; 999]), Some(0.002));
        assert_eq!(p_value(&[0.0; 999]), Some(1.0));
        assert_eq!(p_value(&[1.0, -1.0, 1.0]), Some(1.0));
        assert_eq!(p_value(&[]), None);
        let few = ratio(&[(1.0, 2.0), (0.0, 2.0), (0.0, 0.0)], 1);
        assert_eq!((few.value, few.ci95), (0.25, None));
        let alike = ratio(&[(1.0, 2.0); 8], 1);
        assert_eq!(alike.ci95, Some((0.5, 0.5)));
    }
}
