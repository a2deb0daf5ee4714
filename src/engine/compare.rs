//! How alike two things are. Nothing is stored.

use super::Engine;
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
    /// Whether they are the same, where a threshold was given.
    pub same: Option<bool>,
    /// The model version that made the vectors.
    pub model: Option<String>,
}

impl Engine {
    /// Compares two things by the collection's metric and encoder.
    ///
    /// # Errors
    /// No such collection or stored probe; a bad probe or threshold.
    pub async fn compare(
        &self,
        collection: &CollectionName,
        a: Probe,
        b: Probe,
        min_similarity: Option<f32>,
    ) -> Result<Compared, Error> {
        let collection = self.inner.collection(collection)?;
        collection.max_distance(min_similarity)?;
        let (a, b) = tokio::try_join!(
            self.resolve(&collection, "a", a),
            self.resolve(&collection, "b", b)
        )?;
        let metric = collection.record().metric;
        let distance = metric.between(&a.vector, &b.vector);
        let similarity = metric.similarity(distance);
        Ok(Compared {
            distance,
            similarity,
            same: min_similarity.map(|min| similarity >= min),
            model: collection.record().model.clone(),
        })
    }
}
