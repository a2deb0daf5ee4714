//! Calibrating a collection by its own labels, or by those of another of the same model.

use super::collection::{Collection, RowTag};
use super::error::{Error, Resource};
use super::requests::{Outcome, RequestKey};
use super::state::State;
use super::writer::Write;
use super::{Engine, now_ms};
use crate::domain::calibration::{Calibration, Origin, Targets, check_rate};
use crate::domain::{CollectionName, Invalid};
use crate::store::CollectionRecord;
use crate::training::compared::{Compared, Labelled, compare};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How to calibrate.
#[derive(Debug, Clone, Default)]
pub struct Calibrate {
    /// Rates asked for.
    pub targets: Targets,
    /// Whose labels to compare; `None`: the collection's own.
    pub source: Option<CollectionName>,
    /// Seed of what is drawn where there is more than is compared.
    pub seed: u64,
}

impl Engine {
    /// Learns thresholds and probabilities and keeps them with the collection.
    ///
    /// # Errors
    /// No such collection; a rate out of range; a source of another model, metric or dimension;
    /// too few labels for a target ([`Error::TooFew`]).
    pub async fn calibrate(
        &self,
        name: &CollectionName,
        calibrate: Calibrate,
        request_id: &str,
    ) -> Result<Calibration, Error> {
        let Targets { far, fpir, prior } = calibrate.targets;
        check_rate("far", far)?;
        check_rate("fpir", fpir.unwrap_or(0.5))?;
        check_rate("prior", prior)?;
        let collection = self.inner.collection(name)?;
        let request = RequestKey::items("calibrate", &collection, request_id, self.limits())?;
        let source = match &calibrate.source {
            None => Arc::clone(&collection),
            Some(other) => self.inner.collection(other)?,
        };
        fits("source_collection", source.record(), collection.record())?;
        let learn = move |state: &State<'_>| learn(state, &calibrate);
        let learnt = self.read(source, usize::MAX, learn).await?;
        let write = Write::Calibrate(collection, Some(Box::new(learnt)));
        match self.write(write, request).await? {
            Outcome::Calibrated(calibration) => Ok(*calibration),
            other => Err(Error::Internal(format!(
                "an answer to something else: {other:?}"
            ))),
        }
    }

    /// A collection's calibration, and whether it holds: it is void once the collection's model
    /// is another.
    ///
    /// # Errors
    /// No such collection, or it is not calibrated.
    pub fn calibration(&self, name: &CollectionName) -> Result<(Arc<Calibration>, bool), Error> {
        let collection = self.inner.collection(name)?;
        let kept = collection.kept_calibration();
        let kept = kept.ok_or_else(|| Error::not_found(Resource::Calibration, name.as_str()))?;
        let holds = collection.calibration().is_some();
        Ok((kept, holds))
    }

    /// Forgets a collection's calibration.
    ///
    /// # Errors
    /// No such collection, or it is not calibrated.
    pub async fn delete_calibration(
        &self,
        name: &CollectionName,
        request_id: &str,
    ) -> Result<(), Error> {
        let collection = self.inner.collection(name)?;
        let request = RequestKey::items("uncalibrate", &collection, request_id, self.limits())?;
        self.write(Write::Calibrate(collection, None), request)
            .await?;
        Ok(())
    }
}

/// Similarities of one collection say something of another's only if they are made alike.
fn fits(field: &str, source: &CollectionRecord, own: &CollectionRecord) -> Result<(), Error> {
    let made = |c: &CollectionRecord| (c.metric, c.dim, c.model.clone(), c.views);
    if made(source) == made(own) {
        return Ok(());
    }
    let allowed = format!(
        "a collection of the metric, dimension, model and views of {:?} is allowed",
        own.name.as_str()
    );
    Err(Invalid::new(field, source.name.as_str(), allowed).into())
}

fn learn(state: &State<'_>, calibrate: &Calibrate) -> Result<Calibration, Error> {
    let record = state.collection().record();
    let mut labels: BTreeMap<&str, Labelled<'_>> = BTreeMap::new();
    for (_, tag, vector) in state.snapshot().iter() {
        let tag: &RowTag = tag;
        let Some(label) = &tag.label else { continue };
        let label = label.as_str();
        let of_label = labels.entry(label).or_insert_with(|| Labelled {
            label,
            examples: Vec::new(),
        });
        of_label.examples.push((tag.id.as_str(), vector));
    }
    let labelled = labels.into_values().collect();
    let compared = compare(
        labelled,
        record.metric,
        record.dim as usize,
        calibrate.seed,
        &|| state.is_given_up(),
    );
    // Nobody waits for it then.
    let Compared {
        pairs,
        nearest,
        prototype,
        items,
        fingerprint,
    } = compared.ok_or(Error::Closed)?;
    let origin = Origin {
        model: record.model.clone(),
        metric: record.metric,
        source: calibrate.source.clone().map(Into::into),
        labels: nearest.labels.into(),
        items,
        fingerprint,
        seed: calibrate.seed,
        created_ms: now_ms(),
    };
    Ok(Calibration::fit(
        origin,
        pairs,
        &nearest,
        &prototype,
        &calibrate.targets,
    )?)
}

/// Writes it down, and decides by it from then on.
pub(super) fn keep(
    inner: &super::Inner,
    collection: &Collection,
    calibration: Option<Box<Calibration>>,
    mut batch: crate::store::Batch,
) -> Result<(), Error> {
    collection.check_alive()?;
    let number = collection.record().number;
    match &calibration {
        Some(calibration) => batch.put_calibration(number, calibration),
        None => batch.delete_calibration(number),
    }
    inner.store.commit(batch)?;
    collection.set_calibration(calibration.map(Arc::from));
    Ok(())
}
