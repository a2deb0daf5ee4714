//! How alike two things are. Nothing is stored.

use super::Engine;
use super::decide::{Against, Decide, Judge, OperatingPoint};
use super::error::Error;
use super::probe::Probe;
use crate::domain::CollectionName;

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// By the collection's metric.
    pub distance: f32,
    /// The similarity belonging to it.
    pub similarity: f32,
    /// Whether they are the same, where something says from which similarity on.
    pub same: Option<bool>,
    /// The probability that they are, where the collection is calibrated.
    pub probability: Option<f64>,
    /// Where that was decided.
    pub point: Option<OperatingPoint>,
    /// The model version that made the vectors.
    pub model: Option<String>,
}

impl Compared {
    pub(super) fn new(
        distance: f32,
        similarity: f32,
        judge: &Judge,
        model: Option<String>,
    ) -> Self {
        Self {
            distance,
            similarity,
            same: judge.accepts(similarity),
            probability: judge.probability(similarity),
            point: judge.point,
            model,
        }
    }
}

impl Engine {
    /// Compares two things by the collection's metric and encoder.
    ///
    /// # Errors
    /// No such collection or stored probe; a bad probe, threshold, target or prior; a target or
    /// prior without a calibration.
    pub async fn compare(
        &self,
        collection: &CollectionName,
        a: Probe,
        b: Probe,
        decide: Decide,
    ) -> Result<Compared, Error> {
        let collection = self.inner.collection(collection)?;
        let judge = Judge::new(&collection, &decide, Against::Thing)?;
        let (a, b) = tokio::try_join!(
            self.resolve(&collection, "a", a),
            self.resolve(&collection, "b", b)
        )?;
        let record = collection.record();
        let distance = record.metric.between(&a.vector, &b.vector);
        let similarity = record.metric.similarity(distance);
        let model = record.model.clone();
        Ok(Compared::new(distance, similarity, &judge, model))
    }
}
