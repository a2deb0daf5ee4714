//! Two encoders on the same data and the same trials: is the difference real?

use super::nway::{self, Trials};
use super::paired::Discordant;
use super::pairs::{self, Pairs};
use super::roc::Ranked;
use super::{Embedded, EvalError, bootstrap, verify};
use rayon::prelude::*;

/// A p-value below this is taken for a real difference.
pub const SIGNIFICANT: f64 = 0.05;

/// A figure of both, and what sets them apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Of the first encoder.
    pub a: f64,
    /// Of the second.
    pub b: f64,
    /// 95 % interval of the second's less the first's; none with too few classes.
    pub ci95: Option<(f64, f64)>,
    /// Two-sided p-value; none with too few classes.
    pub p: Option<f64>,
}

impl Difference {
    /// The second's figure less the first's.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.b - self.a
    }

    /// Whether the test takes the difference for real.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.p.is_some_and(|p| p < SIGNIFICANT)
    }
}

/// Errors of N-way trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfTrials {
    /// Tested by McNemar's mid-p: for the classes at hand, and other trials of them.
    pub trials: Difference,
    /// Tested by a bootstrap over the classes of the probes: for other classes of this kind.
    pub classes: Difference,
    /// Trials that only one got wrong.
    pub discordant: Discordant,
}

/// Runs the same N-way trials on both.
///
/// # Errors
/// As [`Trials::new`].
#[expect(clippy::cast_precision_loss, reason = "counts of trials")]
pub fn nway(a: &[Embedded], b: &[Embedded], task: &nway::Task) -> Result<OfTrials, EvalError> {
    let (first, second) = (Trials::new(a, task)?, Trials::new(b, task)?);
    // Of each class: trials, wrong by the first, by the second, by the first or second alone.
    let count = |mut counts: Vec<[u64; 5]>, trial: u64| {
        let outcome = first.outcome(trial);
        let (x, y) = (outcome.failed(), second.outcome(trial).failed());
        let found = [true, x, y, x && !y, y && !x].map(u64::from);
        let class = &mut counts[outcome.probe.class as usize];
        *class = add(*class, found);
        counts
    };
    let none = || vec![[0; 5]; a.len()];
    let counts = (0..task.trials).into_par_iter().fold(none, count);
    let counts = counts.reduce(none, |x, y| {
        x.into_iter().zip(y).map(|(x, y)| add(x, y)).collect()
    });
    let [trials, wrong_a, wrong_b, only_a, only_b] =
        counts.iter().fold([0; 5], |sum, class| add(sum, *class));
    let discordant = Discordant {
        only_a,
        only_b,
        trials,
    };
    let share = |wrong: u64| wrong as f64 / trials.max(1) as f64;
    let by_class = counts
        .iter()
        .map(|c| (c[2] as f64 - c[1] as f64, c[0] as f64));
    let (_, resamples) = bootstrap::ratios(&by_class.collect::<Vec<_>>(), task.seed);
    let classes = Difference {
        a: share(wrong_a),
        b: share(wrong_b),
        p: bootstrap::p_value(&resamples),
        ci95: bootstrap::interval(resamples),
    };
    Ok(OfTrials {
        trials: Difference {
            ci95: Some(discordant.difference().1),
            p: Some(discordant.mid_p()),
            ..classes
        },
        classes,
        discordant,
    })
}

fn add(a: [u64; 5], b: [u64; 5]) -> [u64; 5] {
    std::array::from_fn(|i| a[i] + b[i])
}

/// Scores the same pairs by both: the differences of AUC and EER, tested by a bootstrap that
/// draws the same classes for both; `progress` hears of resamples done, of 1,000 at most.
///
/// # Errors
/// As [`Pairs::draw`].
pub fn verification(
    a: &[Embedded],
    b: &[Embedded],
    task: &pairs::Task,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<[Difference; 2], EvalError> {
    let drawn = Pairs::draw(a, task)?;
    let ranked = [a, b].map(|classes| Ranked::new(&drawn, &drawn.scores(classes)));
    let both = |times: &[u32]| {
        let [x, y] = [ranked[0].figures(times)?, ranked[1].figures(times)?];
        Some([x[0], y[0], x[1], y[1]])
    };
    let resamples = verify::resamples(&drawn);
    let resamples = bootstrap::resample(a.len(), resamples, task.seed, progress, &both);
    let values = both(&vec![1; a.len()]).unwrap_or_default();
    Ok([0, 2].map(|at| {
        let differences: Vec<f64> = resamples.iter().map(|r| r[at + 1] - r[at]).collect();
        Difference {
            a: values[at],
            b: values[at + 1],
            p: bootstrap::p_value(&differences),
            ci95: bootstrap::interval(differences),
        }
    }))
}
