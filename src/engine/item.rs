//! Items on their way in and out: what is stored, what is changed, what is answered.

use super::size::encoded_bytes;
use crate::domain::{Embedding, Invalid, Item, ItemId, Label, Payload, Views};
use crate::store::ItemRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A vector that a client brings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GivenVector {
    /// Its components.
    pub values: Vec<f32>,
    /// The model version that made it, where the client says so.
    pub model: Option<String>,
}

/// An image that a client brings.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenImage {
    /// The encoded image.
    pub bytes: Bytes,
    /// Which views of it are embedded; `None`: as many as the collection says.
    pub views: Option<Views>,
}

/// What an item is indexed by.
#[derive(Debug, Clone)]
pub enum Content {
    /// An encoded image, for collections that embed. It is kept with the item unless the
    /// collection discards images or only another view of it is embedded.
    Image(GivenImage),
    /// A vector, for collections that take vectors.
    Vector(GivenVector),
}

/// An item to store.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// Its id; `None`: a `UUIDv7` is made.
    pub id: Option<ItemId>,
    /// The identity or class it is an example of.
    pub label: Option<Label>,
    /// What the client keeps with it.
    pub payload: Payload,
    /// What it is indexed by.
    pub content: Content,
}

impl NewItem {
    /// About the memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Image(image) => image.bytes.len(),
            Content::Vector(given) => given.values.len() * 4,
        };
        1_024 + content + encoded_bytes(self.payload.fields())
    }
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upserted {
    /// Its id.
    pub id: ItemId,
    /// Whether the id was new.
    pub created: bool,
}

/// An item as it is stored, without vector and image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its id.
    pub id: ItemId,
    /// Its label.
    pub label: Option<Label>,
    /// Its payload's fields.
    pub payload: Map<String, Value>,
    /// When the id was first stored, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it last changed, in milliseconds since 1970.
    pub updated_ms: u64,
    /// The model version that made the vector; `None` where clients bring vectors.
    pub model: Option<String>,
}

impl Stored {
    pub(super) fn new(id: ItemId, record: &ItemRecord) -> Self {
        Self {
            id,
            label: record.label.clone(),
            payload: record.payload.fields().clone(),
            created_ms: record.created_ms,
            updated_ms: record.updated_ms,
            model: record.model.clone(),
        }
    }
}

/// A change of label or payload; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The new label, or none.
    pub label: Option<Option<Label>>,
    /// The whole payload anew.
    pub payload: Option<Payload>,
    /// Single top-level fields of the payload: set, or removed.
    pub fields: Vec<(String, Option<Value>)>,
}

impl Change {
    pub(super) fn apply(
        self,
        label: &mut Option<Label>,
        payload: &mut Payload,
    ) -> Result<(), Invalid> {
        if let Some(new) = self.label {
            *label = new;
        }
        if let Some(new) = self.payload {
            *payload = new;
        }
        if !self.fields.is_empty() {
            let mut fields = std::mem::take(payload).into_fields();
            for (key, value) in self.fields {
                match value {
                    Some(value) => fields.insert(key, value),
                    None => fields.remove(&key),
                };
            }
            *payload = Payload::new(fields)?;
        }
        Ok(())
    }
}

/// An item that only needs writing.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) item: Item,
    pub(super) vector: Embedding,
    pub(super) image: Option<Bytes>,
}

impl Ready {
    pub(super) fn bytes(&self) -> usize {
        let payload = encoded_bytes(self.item.payload.fields());
        let vector = self.vector.as_slice().len() * 4;
        1_024 + payload + vector + self.image.as_ref().map_or(0, Bytes::len)
    }
}
