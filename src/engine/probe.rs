//! What a query looks for, and the vector that stands for it.

use super::Engine;
use super::collection::{Collection, RowTag};
use super::embed::Wait;
use super::error::Error;
use super::item::{GivenImage, GivenVector};
use crate::domain::{Embedding, ItemId};
use crate::index::Snapshot;
use std::sync::PoisonError;

/// What to look for.
#[derive(Debug, Clone)]
pub enum Probe {
    /// An encoded image, for collections that embed.
    Image(GivenImage),
    /// A vector of the collection's dimension.
    Vector(GivenVector),
    /// A stored item; it does not find itself.
    Item(ItemId),
}

impl Probe {
    /// The path of the field that holds the probe's content.
    fn field(&self, outer: &str) -> String {
        let inner = match self {
            Self::Image(_) => "image",
            Self::Vector(_) => "vector",
            Self::Item(_) => "item_id",
        };
        format!("{outer}.{inner}")
    }
}

/// A probe's vector, and the row it is itself, if it is stored.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) vector: Embedding,
    pub(super) itself: Option<ItemId>,
}

impl Engine {
    /// Finds a probe's vector. `field` is where the probe stood in the request.
    pub(super) async fn resolve(
        &self,
        collection: &Collection,
        field: &str,
        probe: Probe,
    ) -> Result<Resolved, Error> {
        self.resolve_or(collection, field, probe, Wait::No).await
    }

    /// The same for one of many probes: waits for room in the encoder's queue.
    pub(super) async fn resolve_patiently(
        &self,
        collection: &Collection,
        field: &str,
        probe: Probe,
    ) -> Result<Resolved, Error> {
        self.resolve_or(collection, field, probe, Wait::Yes).await
    }

    async fn resolve_or(
        &self,
        collection: &Collection,
        field: &str,
        probe: Probe,
        wait: Wait,
    ) -> Result<Resolved, Error> {
        let field = probe.field(field);
        let vector = match probe {
            Probe::Vector(given) => collection.given(&field, given)?,
            Probe::Image(image) => {
                if collection.record().model.is_none() {
                    return Err(collection.takes("an image", &field));
                }
                let _bytes = self.reserve_bytes(image.bytes.len()).await?;
                self.embed_for(collection, &field, image, wait).await?
            }
            Probe::Item(id) => {
                let vector = self.stored_vector(collection, &id)?;
                return Ok(Resolved {
                    vector,
                    itself: Some(id),
                });
            }
        };
        Ok(Resolved {
            vector,
            itself: None,
        })
    }

    fn stored_vector(&self, collection: &Collection, id: &ItemId) -> Result<Embedding, Error> {
        let look = |snapshot: &Snapshot<RowTag>| -> Result<Option<Vec<f32>>, Error> {
            let record = self.inner.store.item(collection.record().number, id)?;
            let record = record.ok_or_else(|| Collection::no_item(id))?;
            Ok(snapshot.vector(record.seq))
        };
        let mut found = look(&collection.snapshot())?;
        if found.is_none() {
            // The store is ahead of the index: wait for it to catch up.
            let _gate = self
                .inner
                .gate
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            found = look(&collection.snapshot())?;
        }
        let values = found
            .ok_or_else(|| Error::Internal(format!("item {id} is stored but not in the index")))?;
        collection.embedding("vector", values)
    }
}
