//! Does a calibration keep its promise? Calibrated on half of the classes, judged on the other.

use super::{Embedded, EvalError, parameter};
use crate::domain::Metric;
use crate::domain::calibration::{
    Bin, Calibration, Comparison, Interval, Judged, Model, Origin, Scale, Shortage, Targets,
};
use crate::training::compared::{Compared, Labelled, compare};
use crate::training::random::Random;
use rayon::prelude::*;

/// A rate on held-out classes, beside what was stated of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Realised {
    /// The rate asked for.
    pub target: f64,
    /// The threshold for it.
    pub threshold: f32,
    /// What the calibration stated.
    pub stated: Interval,
    /// What the held-out classes showed.
    pub found: f64,
}

impl Realised {
    /// Whether the rate lies where it was stated to.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.stated.holds(self.found)
    }
}

/// One kind of similarity, on held-out classes.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldScale {
    /// False accepts.
    pub far: Realised,
    /// Share of genuine comparisons refused.
    pub frr: f64,
    /// The curve's kind.
    pub curve: &'static str,
    /// Expected calibration error.
    pub ece: f64,
    /// The reliability table.
    pub bins: Vec<Bin>,
}

/// What one split into halves shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Labels and items calibrated on.
    pub learnt: (u32, u32),
    /// Labels and items judged.
    pub judged: (u32, u32),
    /// Single examples with one another.
    pub pairs: HeldScale,
    /// Probes with labels, by nearest example.
    pub nearest: HeldScale,
    /// Open-set identification by nearest example: the size of the gallery, and false positives.
    /// The largest gallery is ten times the smallest; none where the labels are too few.
    pub open: Vec<(usize, Realised)>,
}

impl From<Shortage> for EvalError {
    fn from(short: Shortage) -> Self {
        parameter(short.field, short.target.to_string(), short.needs())
    }
}

/// Deals the classes into halves by the seed, calibrates on one and judges on the other.
///
/// # Errors
/// Too few classes for a target.
pub fn held_out(classes: &[Embedded], targets: &Targets, seed: u64) -> Result<Held, EvalError> {
    let order = Random::new(seed, 1).distinct(classes.len(), classes.len());
    let (learn, judge) = order.split_at(classes.len() / 2);
    let learn = compared(classes, learn, seed);
    let judge = compared(classes, judge, seed);
    let origin = Origin {
        model: None,
        metric: Metric::Cosine,
        source: None,
        labels: learn.nearest.labels.into(),
        items: learn.items,
        fingerprint: learn.fingerprint,
        seed,
        created_ms: 0,
    };
    let learnt = (origin.labels, origin.items);
    let known = Calibration::fit(
        origin,
        learn.pairs,
        &learn.nearest,
        &learn.prototype,
        targets,
    )?;
    Ok(Held {
        learnt,
        judged: (judge.nearest.labels.into(), judge.items),
        pairs: scale(&known.pairs, known.far, &judge.pairs)?,
        nearest: scale(&known.nearest, known.far, &judge.nearest.comparisons())?,
        open: open(&known, &judge)?,
    })
}

/// [`held_out`] with seeds of 0 and up, so many times.
///
/// # Errors
/// As [`held_out`].
pub fn repeated(
    classes: &[Embedded],
    targets: &Targets,
    times: u64,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Held>, EvalError> {
    let one = |seed| {
        let held = held_out(classes, targets, seed);
        progress(1);
        held
    };
    (0..times).into_par_iter().map(one).collect()
}

fn compared(classes: &[Embedded], some: &[usize], seed: u64) -> Compared {
    // Equal lengths: they sort as the numbers do.
    let names: Vec<String> = (0..classes.len()).map(|n| format!("{n:08}")).collect();
    let most = classes.iter().map(|c| c.vectors.len()).max().unwrap_or(0);
    let ids: Vec<String> = (0..most).map(|n| format!("{n:08}")).collect();
    let dim = classes.iter().find_map(|c| c.vectors.first());
    let dim = dim.map_or(1, |v| v.as_slice().len());
    let labelled = some.iter().map(|class| Labelled {
        label: &names[*class],
        examples: ids
            .iter()
            .zip(&classes[*class].vectors)
            .map(|(id, v)| (&**id, v.as_slice()))
            .collect(),
    });
    let never = || false;
    compare(labelled.collect(), Metric::Cosine, dim, seed, &never).unwrap_or_else(|| Compared {
        pairs: [Vec::new(), Vec::new()],
        nearest: crate::domain::calibration::Table::default(),
        prototype: crate::domain::calibration::Table::default(),
        items: 0,
        fingerprint: String::new(),
    })
}

fn scale(
    scale: &Scale,
    far: f64,
    [genuine, impostor]: &[Vec<Comparison>; 2],
) -> Result<HeldScale, EvalError> {
    let point = scale
        .at("far", far)
        .map_err(|e| parameter("far", e.was, e.allowed))?;
    let curve = &scale.chosen.curve;
    let scores = |all: &[Comparison]| all.iter().map(|c| c.similarity).collect::<Vec<_>>();
    let mut judged = Judged::default();
    judged.add(curve, &scores(genuine), &scores(impostor));
    Ok(HeldScale {
        far: Realised {
            target: far,
            threshold: point.threshold,
            stated: point.interval,
            found: share(impostor, |c| c.similarity >= point.threshold),
        },
        frr: share(genuine, |c| c.similarity < point.threshold),
        curve: curve.name(),
        ece: judged.ece(),
        bins: judged.bins(),
    })
}

fn open(known: &Calibration, judge: &Compared) -> Result<Vec<(usize, Realised)>, EvalError> {
    let Some(target) = known.fpir else {
        return Ok(Vec::new());
    };
    let model = Model::new(&judge.nearest);
    let largest = model.direct();
    let sizes = [largest / 10, largest / 3, largest];
    let sizes = sizes.into_iter().filter(|n| *n > 0);
    sizes
        .map(|n| {
            let point = known.open_nearest.at("fpir", target, n);
            let point = point.map_err(|e| parameter("fpir", e.was, e.allowed))?;
            let found = Realised {
                target,
                threshold: point.threshold,
                stated: point.interval,
                found: model.rate(n, point.threshold),
            };
            Ok((n, found))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of comparisons")]
fn share(all: &[Comparison], some: impl Fn(&Comparison) -> bool) -> f64 {
    all.iter().filter(|c| some(c)).count() as f64 / all.len().max(1) as f64
}
