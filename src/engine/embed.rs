//! Images to vectors, by a collection's model.

use super::Engine;
use super::collection::Collection;
use super::error::Error;
use crate::domain::{CollectionName, Embedding};
use bytes::Bytes;
use futures_util::future::join_all;

/// What to do when the encoder's queue is full.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// Wait for room: the caller pushes back in turn.
    Yes,
    /// Refuse.
    No,
}

impl Engine {
    /// Embeds an image with the collection's model.
    pub(super) async fn embed_for(
        &self,
        collection: &Collection,
        field: &str,
        image: Bytes,
        wait: Wait,
    ) -> Result<Embedding, Error> {
        collection.check_model(self.encoder())?;
        let embedded = match wait {
            Wait::Yes => self.pool.embed(image).await,
            Wait::No => self.pool.try_embed(image).await,
        };
        let vector = embedded.map_err(|e| Error::embedding(field, e))?;
        collection.embedding(field, vector.into_vec())
    }

    /// Turns images into vectors of unit length, by the collection's model or the server's.
    ///
    /// # Errors
    /// A bad image, named by its place (`images[2]`).
    pub async fn embed(
        &self,
        collection: Option<&CollectionName>,
        images: Vec<Bytes>,
    ) -> Result<Vec<Embedding>, Error> {
        self.check_batch("images", images.len())?;
        if let Some(name) = collection {
            let collection = self.inner.collection(name)?;
            if collection.record().model.is_none() {
                return Err(collection.takes("an image", "images"));
            }
            collection.check_model(self.encoder())?;
        }
        let _bytes = self
            .reserve_bytes(images.iter().map(Bytes::len).sum())
            .await?;
        let work = images
            .into_iter()
            .enumerate()
            .map(|(nth, image)| async move {
                let embedded = self.pool.embed(image).await;
                embedded.map_err(|e| Error::embedding(&format!("images[{nth}]"), e))
            });
        let embedded = join_all(work).await;
        embedded.into_iter().collect()
    }
}
