//! From image to embedding: pre-processing, the Siamese tower, the bounded pool.
//!
//! - `decode`, `grey`, `shrink`, `ink`, `photo`, `input`: a file becomes a few numbers, within
//!   limits; `look`: what it shows, for people and to be found again.
//! - `header`, `architecture`, `plan`, `card`, `weights`: the file a model lives in; nothing in it is trusted.
//! - `backbone`: ready-made nets that a head of ours may stand on.
//! - `conv`, `layer`, `tower`: the network, on candle.
//! - `warp`, `views`: an image moved a little, and the mean over such views of it.
//! - `queue`, `pool`: many callers, few threads, small batches.

mod architecture;
pub mod backbone;
mod card;
pub mod conv;
mod decode;
mod error;
mod grey;
mod header;
mod ink;
mod input;
pub(crate) mod layer;
mod look;
mod photo;
mod plan;
mod pool;
mod queue;
mod shrink;
pub mod tower;
mod views;
pub(crate) mod warp;
pub mod weights;

pub use architecture::{Architecture, Input};
pub use card::{Card, Measured, Standing, Training};
pub use decode::ImageLimits;
pub use error::{Error, ImageError};
pub use input::{Prepared, Raster};
pub use look::{Look, thumbnail};
pub use plan::{Plan, Step};
pub use pool::{Pool, PoolError, PoolOptions, Viewed};
pub use weights::Weights;

use crate::domain::{Embedding, Metric};
use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tower::Tower;

/// The trained encoder that is part of the program; `models/omniglot.json` says what it is.
static BUNDLED: &[u8] = include_bytes!("../../models/omniglot.safetensors");

/// A trained tower with its card. Thread-safe; cheap to clone.
#[derive(Debug, Clone)]
pub struct Encoder {
    tower: Tower,
    card: Arc<Card>,
    version: Arc<str>,
    limits: ImageLimits,
    file: Option<Bytes>,
}

impl Encoder {
    /// The encoder that is part of the program, loaded on the first call.
    ///
    /// # Errors
    /// None, unless the program was built with broken weights.
    pub fn bundled() -> Result<Arc<Self>, Error> {
        static LOADED: OnceLock<Arc<Encoder>> = OnceLock::new();
        if let Some(encoder) = LOADED.get() {
            return Ok(Arc::clone(encoder));
        }
        let mut encoder = Self::from_bytes(BUNDLED)?;
        encoder.file = Some(Bytes::from_static(BUNDLED));
        let encoder = Arc::new(encoder);
        Ok(Arc::clone(LOADED.get_or_init(|| encoder)))
    }

    /// Loads a weights file.
    ///
    /// # Errors
    /// Unreadable, too large, or not the weights of a tower.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = Bytes::from(weights::read_file(path)?);
        let encoder = Self::from_bytes(&file)?;
        Ok(Self {
            file: Some(file),
            ..encoder
        })
    }

    /// Loads the contents of a weights file, which need not be trusted.
    ///
    /// # Errors
    /// Not a safetensors file, no card, or tensors other than the card's architecture has.
    pub fn from_bytes(file: &[u8]) -> Result<Self, Error> {
        let (weights, card) = Weights::parse(file)?;
        Self::new(&weights, card)
    }

    /// An encoder of these weights.
    ///
    /// # Errors
    /// Weights that overflow when batch normalisation is folded in.
    pub fn new(weights: &Weights, card: Card) -> Result<Self, Error> {
        Ok(Self {
            tower: Tower::new(weights)?,
            version: weights.version(&card).into(),
            card: Arc::new(card),
            limits: ImageLimits::default(),
            file: None,
        })
    }

    /// The same encoder with other limits on images.
    #[must_use]
    pub fn with_limits(self, limits: ImageLimits) -> Self {
        Self { limits, ..self }
    }

    /// The card's name and a hash of the weights, such as `omniglot-1-1a2b3c4d`: embeddings
    /// of different versions cannot be compared.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Dimensions of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.card.plan.dim
    }

    /// What the model is and how it was made.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The limits on images.
    #[must_use]
    pub fn limits(&self) -> ImageLimits {
        self.limits
    }

    /// The weights file it came from, where it came from one as a whole.
    #[must_use]
    pub fn file(&self) -> Option<&Bytes> {
        self.file.as_ref()
    }

    /// Bytes of memory that its weights take as they serve.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        4 * self.tower.numbers() as u64
    }

    /// Decodes an image file, turns it upright and shrinks it to what the tower sees.
    ///
    /// # Errors
    /// Not an image, or beyond the limits.
    pub fn prepare(&self, image: &[u8]) -> Result<Prepared, ImageError> {
        Ok(Raster::read(image, &self.card.plan, &self.limits)?.prepare())
    }

    /// Embeds images, each to unit length, on the calling thread (a backbone spreads over all
    /// cores by itself); [`Pool`] uses all cores.
    /// What comes out for an image is the same, bit for bit, in any batch.
    ///
    /// # Errors
    /// A vector of length zero, or a failure of the tensor library.
    pub fn embed(&self, images: &[Prepared]) -> Result<Vec<Embedding>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let pixels = self.card.plan.pixels();
        if let Some(other) = images.iter().find(|i| i.as_slice().len() != pixels) {
            let was = other.as_slice().len();
            return Err(Error::Degenerate(format!(
                "an image of {was} numbers; {pixels} are needed: it was prepared for another model"
            )));
        }
        let rows = self.tower.forward(images)?.to_vec2::<f32>()?;
        rows.into_iter()
            .map(|row| {
                Embedding::new(row, self.dim(), Metric::Cosine)
                    .map_err(|e| Error::Degenerate(e.to_string()))
            })
            .collect()
    }
}
