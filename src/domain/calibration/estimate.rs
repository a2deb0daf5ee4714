//! How sure a rate over dependent comparisons is.
//!
//! Comparisons that share a class are not independent: a label that looks like others errs in
//! all its comparisons. An interval that counts comparisons (Wilson, Clopper-Pearson) is far too
//! narrow, so whole classes are what is left out here: the jackknife of a U-statistic of degree
//! two (Arvesen 1969; for biometrics: Schuckers 2010, Bolle, Ratha and Pankanti 2004).

use serde::{Deserialize, Serialize};

/// A rate, and how far it would scatter over draws of as many classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// In 0..=1.
    pub rate: f64,
    /// Standard error, by leaving out one class at a time.
    pub error: f64,
    /// Classes that took part.
    pub classes: usize,
}

/// What a rate measured on *other* classes is expected to lie in, 95 times of 100.
///
/// The promise: draw as many classes anew from where these came from, measure the rate on them
/// at this threshold, and it lies inside. It says nothing of classes of another kind (another
/// alphabet, camera or country).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end, in 0..=1.
    pub low: f64,
    /// Upper end, in 0..=1.
    pub high: f64,
}

impl Interval {
    /// Nothing is known.
    pub const ANY: Self = Self {
        low: 0.0,
        high: 1.0,
    };

    /// Whether a rate lies inside.
    #[must_use]
    pub fn holds(&self, rate: f64) -> bool {
        (self.low..=self.high).contains(&rate)
    }
}

impl Estimate {
    /// From the rate with everything and the rates with each class left out.
    #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
    pub(super) fn jackknife(rate: f64, without: &[f64]) -> Self {
        let n = without.len() as f64;
        let mean = without.iter().sum::<f64>() / n.max(1.0);
        let squares = without.iter().map(|r| (r - mean).powi(2)).sum::<f64>();
        Self {
            rate,
            error: (squares * (n - 1.0) / n.max(1.0)).max(0.0).sqrt(),
            classes: without.len(),
        }
    }

    /// Independent events that would make the rate as sure as it is; 0 where there is none.
    #[must_use]
    pub fn effective(&self) -> f64 {
        if self.rate <= 0.0 || self.error <= 0.0 {
            return 0.0;
        }
        (self.rate / self.error).powi(2)
    }

    /// The prediction interval: Student's quantile on the logit scale, on which small rates
    /// scatter evenly, of the error of two draws, theirs and ours.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
    pub fn interval(&self) -> Interval {
        let n = self.classes as f64;
        let none = 1.0 - 0.05_f64.powf(1.0 / n.max(1.0));
        if self.classes < 2 {
            return Interval::ANY;
        }
        // None seen: the rule of three, on classes.
        if self.rate <= 0.0 {
            return Interval {
                low: 0.0,
                high: none,
            };
        }
        if self.rate >= 1.0 {
            return Interval {
                low: 1.0 - none,
                high: 1.0,
            };
        }
        let centre = logit(self.rate);
        let spread = self.error * std::f64::consts::SQRT_2 / (self.rate * (1.0 - self.rate));
        let reach = student(n - 1.0) * spread;
        Interval {
            low: logistic(centre - reach),
            high: logistic(centre + reach),
        }
    }
}

/// Counts of events and trials, in all and by class.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    all: (u64, u64),
    by_class: Vec<(u64, u64)>,
}

impl Tally {
    /// Of trials in which no event was seen yet.
    pub(super) fn new<'a>(classes: usize, trials: impl IntoIterator<Item = &'a [u16; 2]>) -> Self {
        let mut tally = Self {
            all: (0, 0),
            by_class: vec![(0, 0); classes],
        };
        for pair in trials {
            tally.all.1 += 1;
            tally.each(*pair, |count| count.1 += 1);
        }
        tally
    }

    fn each(&mut self, [a, b]: [u16; 2], change: impl Fn(&mut (u64, u64))) {
        change(&mut self.by_class[usize::from(a)]);
        if a != b {
            change(&mut self.by_class[usize::from(b)]);
        }
    }

    /// Counts an event in one of the trials.
    pub(super) fn event(&mut self, classes: [u16; 2]) {
        self.all.0 += 1;
        self.each(classes, |count| count.0 += 1);
    }

    /// Events so far.
    pub(super) fn events(&self) -> u64 {
        self.all.0
    }

    /// Trials.
    pub(super) fn trials(&self) -> u64 {
        self.all.1
    }

    /// The rate as it stands.
    #[expect(clippy::cast_precision_loss, reason = "counts of trials")]
    pub(super) fn estimate(&self) -> Estimate {
        let rate = |events: u64, trials: u64| events as f64 / trials.max(1) as f64;
        let (events, trials) = self.all;
        let taking_part = self.by_class.iter().filter(|(_, t)| *t > 0);
        let without: Vec<f64> = taking_part
            .map(|(e, t)| rate(events - e, trials - t))
            .collect();
        Estimate::jackknife(rate(events, trials), &without)
    }
}

/// The log odds of a probability.
#[must_use]
pub fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

/// The probability of log odds.
#[must_use]
pub fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// 97.5 % quantile of Student's t (Cornish and Fisher's expansion; within 2 % from 4 degrees on).
#[must_use]
pub fn student(degrees: f64) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    let (z3, z5) = (Z.powi(3), Z.powi(5));
    let n = degrees.max(1.0);
    Z + (z3 + Z) / (4.0 * n) + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_as_in_the_tables() {
        for (degrees, t) in [(4.0, 2.776), (9.0, 2.262), (30.0, 2.042), (1e9, 1.960)] {
            assert!((student(degrees) - t).abs() < 0.02 * t, "{degrees}");
        }
    }

    #[test]
    fn classes_are_left_out_whole() {
        // Independent trials of one class each: the jackknife is the binomial error.
        let pairs: Vec<[u16; 2]> = (0..1_000).map(|n| [n, n]).collect();
        let mut tally = Tally::new(1_000, &pairs);
        pairs[..100].iter().for_each(|p| tally.event(*p));
        let estimate = tally.estimate();
        assert!((estimate.rate - 0.1).abs() < 1e-12);
        assert!((estimate.error - (0.09_f64 / 999.0).sqrt()).abs() < 1e-9);
        // The same trials from 10 classes, all events in one: as good as a draw of 10.
        let pairs: Vec<[u16; 2]> = (0..1_000).map(|n| [n % 10; 2]).collect();
        let mut tally = Tally::new(10, &pairs);
        pairs
            .iter()
            .filter(|p| p[0] == 0)
            .for_each(|p| tally.event(*p));
        let clustered = tally.estimate();
        assert!((clustered.error - 0.1).abs() < 1e-9, "{clustered:?}");
        assert!(clustered.effective() < 1.01);
        assert!(clustered.interval().high > 0.4);
    }

    #[test]
    fn nothing_seen_is_not_nothing() {
        let pairs: Vec<[u16; 2]> = (0..50).map(|n| [n, n]).collect();
        let none = Tally::new(50, &pairs).estimate().interval();
        assert!(none.low.abs() < 1e-12 && (0.05..0.07).contains(&none.high));
        assert!(Tally::new(1, &[[0, 0]]).estimate().interval() == Interval::ANY);
    }
}
