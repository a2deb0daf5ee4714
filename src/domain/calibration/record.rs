//! What a collection keeps of its calibration.

use super::curve::{Chosen, choose};
use super::gallery::Table;
use super::openset::OpenSet;
use super::point::{self, Point};
use super::{Comparison, Shortage, beyond};
use crate::domain::{Invalid, Metric};
use serde::{Deserialize, Serialize};

/// What the comparisons came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The model version that made the vectors; none where clients bring them.
    pub model: Option<String>,
    /// Their metric.
    pub metric: Metric,
    /// The collection whose labels were compared, if it is another.
    pub source: Option<String>,
    /// Labels that took part.
    pub labels: u32,
    /// Items that took part.
    pub items: u32,
    /// Fingerprint of them: equal data gives an equal one.
    pub fingerprint: String,
    /// Seed of what was drawn at random.
    pub seed: u64,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// Rates asked for, each in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// False accepts of [`Calibration::pairs`] and [`Calibration::nearest`].
    pub far: f64,
    /// False-positive identifications; `None` takes the least of 1, 2, 5 and 10 % that the
    /// labels are enough for.
    pub fpir: Option<f64>,
    /// Share of genuine comparisons beforehand.
    pub prior: f64,
}

impl Default for Targets {
    /// 1 % of false accepts; genuine and impostor equally likely.
    fn default() -> Self {
        Self {
            far: 0.01,
            fpir: None,
            prior: 0.5,
        }
    }
}

/// Fewer labels cannot be dealt into folds, nor tell how labels differ.
const MIN_LABELS: u16 = 10;
/// Tried in turn where no rate is asked for.
const DEFAULT_FPIRS: [f64; 4] = [0.01, 0.02, 0.05, 0.1];

/// Similarities of one kind: a curve, and thresholds by target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Probabilities.
    pub chosen: Chosen,
    /// Thresholds, from the largest target.
    pub points: Vec<Point>,
    /// Genuine comparisons.
    pub genuine: u64,
    /// Impostor comparisons.
    pub impostor: u64,
}

impl Scale {
    /// Fits; `far` must be supported.
    ///
    /// # Errors
    /// It is not: how many labels it would take.
    pub fn fit(
        genuine: &[Comparison],
        mut impostor: Vec<Comparison>,
        labels: usize,
        far: f64,
    ) -> Result<Self, Shortage> {
        let chosen = choose(genuine, &impostor);
        let (points, lack) = point::points(genuine, &mut impostor, labels, far);
        match lack {
            Some(short) => Err(short),
            None => Ok(Self {
                chosen,
                points,
                genuine: genuine.len() as u64,
                impostor: impostor.len() as u64,
            }),
        }
    }

    /// The threshold for a target rate.
    ///
    /// # Errors
    /// The target is out of range, or finer than the calibration supports.
    pub fn at(&self, field: &str, target: f64) -> Result<Point, Invalid> {
        check_rate(field, target)?;
        point::at(&self.points, target).ok_or_else(|| {
            let ends =
                [self.points.last(), self.points.first()].map(|p| p.map_or(0.0, |p| p.target));
            beyond(field, target, ends)
        })
    }
}

/// A collection's calibration; it holds for vectors of its model and metric only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What it was learnt from.
    pub origin: Origin,
    /// The false accept rate decided at where a request asks for none.
    pub far: f64,
    /// The false-positive identification rate likewise; none where the labels are too few.
    pub fpir: Option<f64>,
    /// The share of genuine comparisons beforehand likewise.
    pub prior: f64,
    /// One thing with another.
    pub pairs: Scale,
    /// A probe with a label: by its nearest example.
    pub nearest: Scale,
    /// A probe with a label: by the mean of its examples.
    pub prototype: Scale,
    /// The best label of a gallery, by nearest example.
    pub open_nearest: OpenSet,
    /// The best label of a gallery, by mean.
    pub open_prototype: OpenSet,
}

impl Calibration {
    /// Learns all of it from pairs of single examples (genuine, impostor), and from each
    /// probe's similarity to each label by nearest example and by mean.
    ///
    /// # Errors
    /// Too few labels for a target.
    pub fn fit(
        origin: Origin,
        pairs: [Vec<Comparison>; 2],
        nearest: &Table,
        prototype: &Table,
        targets: &Targets,
    ) -> Result<Self, Shortage> {
        let labels = usize::from(nearest.labels);
        if nearest.labels < MIN_LABELS {
            let impostor = pairs[1].len() as u64;
            return Err(Shortage::at_least(
                MIN_LABELS.into(),
                targets.far,
                labels,
                impostor,
            ));
        }
        let scale = |[genuine, impostor]: [Vec<Comparison>; 2]| {
            Scale::fit(&genuine, impostor, labels, targets.far)
        };
        let (fpir, [open_nearest, open_prototype]) = match targets.fpir {
            Some(wanted) => (Some(wanted), open_sets(nearest, prototype, wanted)?),
            None => DEFAULT_FPIRS
                .into_iter()
                .find_map(|wanted| {
                    Some((Some(wanted), open_sets(nearest, prototype, wanted).ok()?))
                })
                .unwrap_or_default(),
        };
        Ok(Self {
            origin,
            far: targets.far,
            fpir,
            prior: targets.prior,
            pairs: scale(pairs)?,
            nearest: scale(nearest.comparisons())?,
            prototype: scale(prototype.comparisons())?,
            open_nearest,
            open_prototype,
        })
    }
}

fn open_sets(nearest: &Table, prototype: &Table, wanted: f64) -> Result<[OpenSet; 2], Shortage> {
    Ok([
        OpenSet::fit(nearest, wanted)?,
        OpenSet::fit(prototype, wanted)?,
    ])
}

/// Checks a rate or a prior probability.
///
/// # Errors
/// It is not above 0 and below 1.
pub fn check_rate(field: &str, rate: f64) -> Result<(), Invalid> {
    if rate > 0.0 && rate < 1.0 {
        return Ok(());
    }
    let allowed = "a rate above 0 and below 1 is allowed";
    Err(Invalid::new(field, rate.to_string(), allowed))
}
