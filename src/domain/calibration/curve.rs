//! Which curve makes probabilities of scores: the one that does better on other classes.

use super::Comparison;
use super::estimate::{logistic, logit};
use super::isotonic::Isotonic;
use super::platt::Platt;
use serde::{Deserialize, Serialize};

/// Log odds that a comparison is genuine, where genuine and impostor are equally likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// A sigmoid.
    Platt(Platt),
    /// A rising line through pools.
    Isotonic(Isotonic),
}

/// Classes are dealt into so many folds.
const FOLDS: u16 = 5;
/// More comparisons of a kind teach nothing: the curve has few parameters or pools.
const MOST: usize = 50_000;
/// Bins of the calibration error.
const BINS: usize = 15;

/// A curve, and how well its kind does on classes that it was not fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Fitted to everything.
    pub curve: Curve,
    /// Cross-validated log loss of either kind, in nats: Platt's, isotonic's. Genuine and
    /// impostor weigh the same; knowing nothing is 0.693.
    pub losses: [f64; 2],
    /// Cross-validated expected calibration error of the chosen kind, in 0..=1.
    pub ece: f64,
}

impl Curve {
    /// The log odds of a score, where both are equally likely beforehand.
    #[must_use]
    pub fn log_odds(&self, score: f32) -> f64 {
        match self {
            Self::Platt(platt) => platt.log_odds(score),
            Self::Isotonic(isotonic) => isotonic.log_odds(score),
        }
    }

    /// The probability that a comparison of this score is genuine, where `prior` of all
    /// comparisons are: Bayes' rule on the log odds. `prior` is in 0..1.
    #[must_use]
    pub fn probability(&self, score: f32, prior: f64) -> f64 {
        logistic(self.log_odds(score) + logit(prior))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Platt(_) => "platt",
            Self::Isotonic(_) => "isotonic",
        }
    }

    fn fit(kind: usize, genuine: &[f32], impostor: &[f32]) -> Self {
        if kind == 0 {
            Self::Platt(Platt::fit(genuine, impostor))
        } else {
            Self::Isotonic(Isotonic::fit(genuine, impostor))
        }
    }
}

/// Every so-manieth comparison, so that at most [`MOST`] are left.
fn thinned(all: &[Comparison]) -> Vec<Comparison> {
    // Odd, so that it is in step with no usual number of examples.
    let stride = all.len().div_ceil(MOST) | 1;
    all.iter().step_by(stride).copied().collect()
}

fn scores(all: &[Comparison], keep: impl Fn(&Comparison) -> bool) -> Vec<f32> {
    all.iter()
        .filter(|c| keep(c))
        .map(|c| c.similarity)
        .collect()
}

/// Fits both kinds and takes the one of less log loss on held-out classes: comparisons with a
/// class of a fold are not learnt from, those within the fold are judged. There are comparisons
/// of both sorts, and classes are numbered in random order.
#[must_use]
pub fn choose(genuine: &[Comparison], impostor: &[Comparison]) -> Chosen {
    let (genuine, impostor) = (thinned(genuine), thinned(impostor));
    let within = |fold: u16| move |c: &Comparison| c.classes.iter().all(|k| k % FOLDS == fold);
    let beyond = |fold: u16| move |c: &Comparison| c.classes.iter().all(|k| k % FOLDS != fold);
    let mut judged: [Judged; 2] = Default::default();
    for fold in 0..FOLDS {
        let learn = [&genuine, &impostor].map(|all| scores(all, beyond(fold)));
        let judge = [&genuine, &impostor].map(|all| scores(all, within(fold)));
        if learn.iter().any(Vec::is_empty) {
            continue;
        }
        for (kind, judged) in judged.iter_mut().enumerate() {
            let curve = Curve::fit(kind, &learn[0], &learn[1]);
            judged.add(&curve, &judge[0], &judge[1]);
        }
    }
    let losses = [judged[0].loss(), judged[1].loss()];
    let kind = usize::from(losses[1] < losses[0]);
    let all = |of: &[Comparison]| scores(of, |_| true);
    Chosen {
        curve: Curve::fit(kind, &all(&genuine), &all(&impostor)),
        losses,
        ece: judged[kind].ece(),
    }
}

/// Probabilities at equal priors, set beside the truth.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    genuine: Vec<f64>,
    impostor: Vec<f64>,
}

/// A bin of probabilities: the mean told, the share that is genuine, the weight of the bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Mean probability told, in 0..=1.
    pub told: f64,
    /// Share of genuine comparisons, both sorts weighing the same, in 0..=1.
    pub found: f64,
    /// Share of all weight, in 0..=1.
    pub weight: f64,
}

impl Judged {
    /// Adds comparisons of known truth.
    pub fn add(&mut self, curve: &Curve, genuine: &[f32], impostor: &[f32]) {
        let told = |s: &f32| logistic(curve.log_odds(*s));
        self.genuine.extend(genuine.iter().map(told));
        self.impostor.extend(impostor.iter().map(told));
    }

    /// Mean log loss in nats, genuine and impostor weighing the same; ln 2 without comparisons.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    pub fn loss(&self) -> f64 {
        if self.genuine.is_empty() || self.impostor.is_empty() {
            return std::f64::consts::LN_2;
        }
        let mean = |of: &[f64], f: fn(f64) -> f64| {
            of.iter().map(|p| -f(*p).max(1e-15).ln()).sum::<f64>() / of.len() as f64
        };
        f64::midpoint(
            mean(&self.genuine, |p| p),
            mean(&self.impostor, |p| 1.0 - p),
        )
    }

    /// The reliability table: 15 bins of equal width (Guo et al. 2017), empty ones left out.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
    pub fn bins(&self) -> Vec<Bin> {
        let mut sums = [(0.0, 0.0, 0.0); BINS];
        for (told, same) in [(&self.genuine, 1.0), (&self.impostor, 0.0)] {
            let weight = 0.5 / told.len().max(1) as f64;
            for p in told {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a bin's number"
                )]
                let bin = ((p * BINS as f64) as usize).min(BINS - 1);
                sums[bin].0 += weight * p;
                sums[bin].1 += weight * same;
                sums[bin].2 += weight;
            }
        }
        let filled = sums.into_iter().filter(|(_, _, weight)| *weight > 0.0);
        filled
            .map(|(told, found, weight)| Bin {
                told: told / weight,
                found: found / weight,
                weight,
            })
            .collect()
    }

    /// The expected calibration error: the mean gap between told and found, in 0..=1.
    #[must_use]
    pub fn ece(&self) -> f64 {
        let gap = |b: &Bin| b.weight * (b.told - b.found).abs();
        self.bins().iter().map(gap).sum()
    }
}
