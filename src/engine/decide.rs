//! At which threshold a decision is made, and how probable it is: by the request, or by the
//! collection's calibration.

use super::Engine;
use super::collection::Collection;
use super::error::Error;
use crate::domain::calibration::{Calibration, Interval, Point, Scale, check_rate};
use crate::domain::{CollectionName, Invalid};
use std::sync::Arc;

/// How a request wants to decide.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Decide {
    /// At this similarity, whatever the calibration says.
    pub min_similarity: Option<f32>,
    /// At this error rate instead of the calibration's own: of false accepts, or of
    /// false-positive identifications.
    pub target: Option<f64>,
    /// The share of genuine comparisons beforehand, instead of the calibration's own.
    pub prior: Option<f64>,
}

/// Where a decision was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// At least so similar.
    pub min_similarity: f32,
    /// The rate asked for and what it lies in on other labels; none where the request named
    /// the similarity itself.
    pub rate: Option<(f64, Interval)>,
    /// Share of genuine comparisons refused there, where it is known.
    pub frr: Option<f64>,
    /// Labels of the gallery that it was corrected for; against a gallery only.
    pub labels: Option<usize>,
}

impl From<Point> for OperatingPoint {
    fn from(point: Point) -> Self {
        Self {
            min_similarity: point.threshold,
            rate: Some((point.target, point.interval)),
            frr: Some(point.frr),
            labels: None,
        }
    }
}

impl Engine {
    /// Where [`Engine::classify`] decides by nearest example, if by its calibration.
    ///
    /// # Errors
    /// No such collection.
    pub fn open_point(&self, name: &CollectionName) -> Result<Option<OperatingPoint>, Error> {
        let collection = self.inner.collection(name)?;
        let against = Against::Gallery { prototype: false };
        Ok(Judge::new(&collection, &Decide::default(), against)?.point)
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// One thing with another.
    Thing,
    /// A probe with the nearest example of one label.
    Label,
    /// A probe with all labels, by nearest example or by mean.
    Gallery {
        /// By mean.
        prototype: bool,
    },
}

/// Decides by similarity.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    pub(super) point: Option<OperatingPoint>,
    known: Option<(Arc<Calibration>, f64)>,
    against: Against,
}

impl Judge {
    /// Checks what the request wants against what the collection knows.
    pub(super) fn new(
        collection: &Collection,
        decide: &Decide,
        against: Against,
    ) -> Result<Self, Error> {
        collection.max_distance(decide.min_similarity)?;
        let field = match against {
            Against::Gallery { .. } => "target_fpir",
            Against::Thing | Against::Label => "target_far",
        };
        if let Some(target) = decide.target {
            check_rate(field, target)?;
            if decide.min_similarity.is_some() {
                let allowed = "either it or min_similarity is allowed";
                return Err(Invalid::new(field, target.to_string(), allowed).into());
            }
        }
        if let Some(prior) = decide.prior {
            check_rate("prior", prior)?;
        }
        let known = collection.calibration();
        if known.is_none()
            && let Some(asked) = decide
                .target
                .map(|_| field)
                .or(decide.prior.map(|_| "prior"))
        {
            return Err(collection.not_calibrated(asked));
        }
        let point = match (decide.min_similarity, &known) {
            (Some(min_similarity), _) => Some(OperatingPoint {
                min_similarity,
                rate: None,
                frr: None,
                labels: None,
            }),
            (None, Some(known)) => calibrated(collection, known, against, field, decide.target)?,
            (None, None) => None,
        };
        Ok(Self {
            point,
            known: known.map(|k| (Arc::clone(&k), decide.prior.unwrap_or(k.prior))),
            against,
        })
    }

    /// Whether a similarity is enough; `None` where nothing says what is.
    pub(super) fn accepts(&self, similarity: f32) -> Option<bool> {
        self.point.map(|p| similarity >= p.min_similarity)
    }

    /// The probability that a comparison of this similarity is genuine, where calibrated.
    pub(super) fn probability(&self, similarity: f32) -> Option<f64> {
        let (known, prior) = self.known.as_ref()?;
        let curve = &scale(known, self.against).chosen.curve;
        Some(curve.probability(similarity, *prior))
    }
}

fn scale(known: &Calibration, against: Against) -> &Scale {
    match against {
        Against::Thing => &known.pairs,
        Against::Label | Against::Gallery { prototype: false } => &known.nearest,
        Against::Gallery { prototype: true } => &known.prototype,
    }
}

fn calibrated(
    collection: &Collection,
    known: &Calibration,
    against: Against,
    field: &str,
    target: Option<f64>,
) -> Result<Option<OperatingPoint>, Error> {
    let Against::Gallery { prototype } = against else {
        let point = scale(known, against).at(field, target.unwrap_or(known.far))?;
        return Ok(Some(point.into()));
    };
    let Some(target) = target.or(known.fpir) else {
        return Ok(None);
    };
    let labels = collection.label_count().max(1);
    let open = if prototype {
        &known.open_prototype
    } else {
        &known.open_nearest
    };
    let point = open.at(field, target, labels)?;
    Ok(Some(OperatingPoint {
        min_similarity: point.threshold,
        rate: Some((target, point.interval)),
        frr: None,
        labels: Some(labels),
    }))
}
