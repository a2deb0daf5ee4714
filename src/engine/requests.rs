//! Retried writes: a request id is applied once and answered alike.

use super::collection::Collection;
use super::error::Error;
use super::item::{Stored, Upserted};
use super::limits::Limits;
use crate::domain::Invalid;
use crate::domain::calibration::Calibration;
use crate::store::{CollectionRecord, ModelRecord};
use serde::{Deserialize, Serialize};

/// What a write answers, as it is remembered under its request id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// A collection was created.
    Created(Box<CollectionRecord>),
    /// Items were stored.
    Upserted(Vec<Upserted>),
    /// An item was changed.
    Updated(Box<Stored>),
    /// So many things were deleted.
    Deleted(u64),
    /// A model was imported.
    Imported(Box<ModelRecord>),
    /// An operation was accepted: its name.
    Accepted(String),
    /// A collection was calibrated.
    Calibrated(Box<Calibration>),
    /// Payload indexes were changed.
    Indexed,
    /// A segment was installed.
    Installed,
}

/// The key an answer is remembered under: the kind of write, what it is about, the client's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RequestKey(Vec<u8>);

impl RequestKey {
    /// The key for a client's request id to write items, if it gave one. A collection counts
    /// by its number: one made anew under an old name has seen no request.
    pub(super) fn items(
        method: &str,
        collection: &Collection,
        id: &str,
        limits: &Limits,
    ) -> Result<Option<Self>, Error> {
        // No name begins like this.
        let number = format!("#{}", collection.record().number);
        Self::new(method, &number, id, limits)
    }

    /// The key for a client's request id to make or delete a collection or model, if it gave one.
    pub(super) fn new(
        method: &str,
        about: &str,
        id: &str,
        limits: &Limits,
    ) -> Result<Option<Self>, Error> {
        if id.len() > limits.max_request_id_bytes {
            return Err(Invalid::new(
                "request_id",
                format!("{} bytes", id.len()),
                format!("at most {} bytes are allowed", limits.max_request_id_bytes),
            )
            .into());
        }
        let key = [method, about, id].join("\0").into_bytes();
        Ok((!id.is_empty()).then_some(Self(key)))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Outcome {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|e| Error::Internal(format!("remembering an answer: {e}")))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::Internal(format!("a remembered answer is damaged: {e}")))
    }
}
