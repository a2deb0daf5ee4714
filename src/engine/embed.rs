//! Images to vectors, by a collection's model.

use super::Engine;
use super::collection::Collection;
use super::error::Error;
use super::item::GivenImage;
use crate::domain::{CollectionName, Embedding, Views};
use crate::encoder::Viewed;
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;

/// What to do when the encoder's queue is full.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// Wait for room: the caller pushes back in turn.
    Yes,
    /// Refuse.
    No,
}

impl Engine {
    /// Embeds an image with the collection's model, by the collection's views or its own.
    pub(super) async fn embed_for(
        &self,
        collection: &Collection,
        field: &str,
        image: GivenImage,
        wait: Wait,
    ) -> Result<Embedding, Error> {
        let encoder = self.encoder_of(collection).await?;
        let image = Viewed {
            views: image.views.unwrap_or_else(|| collection.views()),
            image: image.bytes,
        };
        let embedded = match wait {
            Wait::Yes => self.pool.embed(encoder, image).await,
            Wait::No => self.pool.try_embed(encoder, image).await,
        };
        let vector = embedded.map_err(|e| Error::embedding(field, e))?;
        collection.embedding(field, vector.into_vec())
    }

    /// Turns images into vectors of unit length, by the collection's model and views or by the
    /// server's model and the images themselves; answers which model. `views`: other ones.
    ///
    /// # Errors
    /// A bad image, named by its place (`images[2]`).
    pub async fn embed(
        &self,
        collection: Option<&CollectionName>,
        images: Vec<Bytes>,
        views: Option<Views>,
    ) -> Result<(Vec<Embedding>, String), Error> {
        self.check_batch("images", images.len())?;
        let (encoder, default) = match collection {
            None => (Arc::clone(self.encoder()), Views::ONE),
            Some(name) => {
                let collection = self.inner.collection(name)?;
                if collection.record().model.is_none() {
                    return Err(collection.takes("an image", "images"));
                }
                (self.encoder_of(&collection).await?, collection.views())
            }
        };
        let views = views.unwrap_or(default);
        let encoder = &encoder;
        let _bytes = self
            .reserve_bytes(images.iter().map(Bytes::len).sum())
            .await?;
        let work = images
            .into_iter()
            .enumerate()
            .map(|(nth, image)| async move {
                let image = Viewed { image, views };
                let embedded = self.pool.embed(Arc::clone(encoder), image).await;
                embedded.map_err(|e| Error::embedding(&format!("images[{nth}]"), e))
            });
        let embedded = join_all(work).await;
        let vectors = embedded.into_iter().collect::<Result<_, _>>()?;
        Ok((vectors, encoder.version().to_owned()))
    }
}
