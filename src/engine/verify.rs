//! Whether a probe is what it claims to be.

use super::Engine;
use super::classify::exact;
use super::collection::RowTag;
use super::compare::Compared;
use super::decide::{Against, Decide, Judge};
use super::error::{Error, Resource};
use super::probe::Probe;
use crate::domain::{CollectionName, Invalid, ItemId, Label};

impl Engine {
    /// Compares a probe with the examples of the label it claims: the nearest decides.
    ///
    /// # Errors
    /// The label has no example; neither a threshold nor a calibration; otherwise as
    /// [`Engine::classify`].
    pub async fn verify(
        &self,
        collection: &CollectionName,
        probe: Probe,
        label: Label,
        decide: Decide,
    ) -> Result<(ItemId, Compared), Error> {
        let collection = self.inner.collection(collection)?;
        let judge = Judge::new(&collection, &decide, Against::Label)?;
        if judge.point.is_none() {
            let why = collection.not_calibrated("it is required").to_string();
            return Err(Invalid::new("min_similarity", "not set", why).into());
        }
        let model = collection.record().model.clone();
        let probe = self.resolve(&collection, "probe", probe).await?;
        let cost = collection.snapshot().len();
        let name = label.clone();
        let best = self
            .read(collection, cost, move |state| {
                let mine = |_: u64, tag: &RowTag| {
                    tag.label.as_ref() == Some(&label) && probe.itself.as_ref() != Some(&tag.id)
                };
                let nearest = state
                    .snapshot()
                    .search(&exact(&probe.vector, 1), Some(&mine));
                let metric = state.collection().record().metric;
                Ok(nearest.into_iter().next().map(|hit| {
                    let similarity = metric.similarity(hit.distance);
                    (hit.tag.id.clone(), hit.distance, similarity)
                }))
            })
            .await?;
        let (id, distance, similarity) =
            best.ok_or_else(|| Error::not_found(Resource::Label, name.as_str()))?;
        Ok((id, Compared::new(distance, similarity, &judge, model)))
    }
}
