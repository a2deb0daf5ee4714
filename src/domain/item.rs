//! What a collection holds.

use super::{ItemId, Label, Payload};

/// An item without its vector and image.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Unique within the collection.
    pub id: ItemId,
    /// The identity or class it is an example of, if any.
    pub label: Option<Label>,
    /// What the client keeps with it.
    pub payload: Payload,
}
