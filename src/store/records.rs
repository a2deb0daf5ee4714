//! What the store keeps, as its callers see it.

use crate::domain::{
    CollectionName, ItemId, Label, Metric, Payload, Recall, VectorStorage, ViewNumber,
};
use serde::{Deserialize, Serialize};

/// A collection and how its index is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// Its number, never used again: names can be.
    pub number: u64,
    /// Its name.
    pub name: CollectionName,
    /// For people.
    pub description: String,
    /// Its notion of nearness.
    pub metric: Metric,
    /// Components of a vector.
    pub dim: u32,
    /// The encoder that makes its vectors; none where clients bring their own.
    pub model: Option<String>,
    /// HNSW: links a node.
    pub m: u32,
    /// HNSW: breadth of the search while building.
    pub ef_construction: u32,
    /// Whether images are kept beside their vectors.
    pub keep_images: bool,
    /// Views of an image whose mean is embedded, where nothing else is asked for.
    #[serde(default)]
    pub views: ViewNumber,
    /// The recall of searches that ask for none.
    #[serde(default)]
    pub recall: Recall,
    /// Where vectors lie while it is served.
    #[serde(default)]
    pub storage: VectorStorage,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// A model that is kept: what is known of it without its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its card's name and a hash of its weights.
    pub version: String,
    /// Its card's name.
    pub name: String,
    /// The family of networks it belongs to.
    pub architecture: String,
    /// Components of its vectors.
    pub dim: u32,
    /// Bytes of its file.
    pub bytes: u64,
    /// BLAKE3 of its file, in hexadecimal.
    pub hash: String,
    /// Its card, as JSON text.
    pub card: String,
    /// Milliseconds since 1970.
    pub imported_ms: u64,
}

/// Something that runs long. What its JSON means is known to who runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Its name, never used again.
    pub name: String,
    /// What is to be done.
    pub task: serde_json::Value,
    /// How it ended; none while it is under way.
    pub end: Option<serde_json::Value>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub ended_ms: Option<u64>,
}

/// An item without its id and vector.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemRecord {
    /// The row of its vector and tag.
    pub seq: u64,
    /// The identity or class it is an example of, if any.
    pub label: Option<Label>,
    /// What the client keeps with it.
    pub payload: Payload,
    /// The number of its image, if one is kept.
    pub image: Option<u64>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970.
    pub updated_ms: u64,
    /// The encoder that made its vector, if one did.
    pub model: Option<String>,
}

/// What the index keeps of a live row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// The item.
    pub id: ItemId,
    /// Its label, if any.
    pub label: Option<Label>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec;

    #[test]
    fn a_collection_from_before_there_were_views_recall_and_storage_has_the_defaults() {
        let written = br#"{"number":3,"name":"faces","description":"","metric":"cosine","dim":64,
            "model":"m-1","m":16,"ef_construction":200,"keep_images":true,"created_ms":7}"#;
        let read = codec::read_collection(written).unwrap();
        assert_eq!((read.number, read.views), (3, ViewNumber::ONE));
        assert_eq!(read.recall, Recall::default());
        assert_eq!(read.storage, VectorStorage::Memory);
        let four = CollectionRecord {
            views: ViewNumber::new("views", 4).unwrap(),
            recall: Recall::new("recall_target", 0.9).unwrap(),
            storage: VectorStorage::Disk,
            ..read
        };
        assert_eq!(codec::read_collection(&codec::collection(&four)), Ok(four));
    }
}
