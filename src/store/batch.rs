//! What one commit changes.

use super::{CollectionRecord, ItemRecord, Tag, codec, keys};
use crate::domain::ItemId;
use crate::domain::calibration::Calibration;
use keys::Space;
use std::collections::BTreeMap;

/// Changes that become durable together or not at all.
///
/// Of several changes to one record the last one counts. Nothing is checked or written
/// before [`super::Store::commit`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// By key; `None` deletes.
    pub(crate) writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Batch {
    /// No change yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates or replaces a collection.
    pub fn put_collection(&mut self, record: &CollectionRecord) {
        let key = keys::numbered(Space::Collection, record.number);
        self.put(key, codec::collection(record));
    }

    /// Removes a collection's record and marks all it holds for [`super::Store::purge`].
    pub fn drop_collection(&mut self, number: u64) {
        self.delete(keys::numbered(Space::Collection, number));
        self.put(keys::numbered(Space::Dropped, number), Vec::new());
    }

    /// Sets a collection's calibration.
    pub fn put_calibration(&mut self, collection: u64, calibration: &Calibration) {
        let key = keys::numbered(Space::Calibration, collection);
        self.put(key, codec::calibration(calibration));
    }

    /// Forgets a collection's calibration, if it has one.
    pub fn delete_calibration(&mut self, collection: u64) {
        self.delete(keys::numbered(Space::Calibration, collection));
    }

    /// Creates or replaces an item.
    pub fn put_item(&mut self, collection: u64, id: &ItemId, record: &ItemRecord) {
        self.put(keys::item(collection, id), codec::item(record));
    }

    /// Deletes an item's record, if there is one.
    pub fn delete_item(&mut self, collection: u64, id: &ItemId) {
        self.delete(keys::item(collection, id));
    }

    /// Marks a row as live.
    pub fn put_tag(&mut self, collection: u64, seq: u64, tag: &Tag) {
        self.put(keys::row(Space::Tag, collection, seq), codec::tag(tag));
    }

    /// Marks a row as no longer live.
    pub fn delete_tag(&mut self, collection: u64, seq: u64) {
        self.delete(keys::row(Space::Tag, collection, seq));
    }

    /// Stores the vector of a row: at most [`crate::domain::MAX_DIM`] components.
    pub fn put_vector(&mut self, collection: u64, seq: u64, vector: &[f32]) {
        let key = keys::row(Space::Vector, collection, seq);
        self.put(key, codec::vector(vector));
    }

    /// Deletes the vector of a row.
    pub fn delete_vector(&mut self, collection: u64, seq: u64) {
        self.delete(keys::row(Space::Vector, collection, seq));
    }

    /// Stores an image.
    pub fn put_image(&mut self, collection: u64, number: u64, bytes: &[u8]) {
        let key = keys::row(Space::Image, collection, number);
        self.put(key, bytes.to_vec());
    }

    /// Deletes an image.
    pub fn delete_image(&mut self, collection: u64, number: u64) {
        self.delete(keys::row(Space::Image, collection, number));
    }

    /// Publishes what [`super::Store::put_segment`] wrote; what was removed does not return.
    pub fn add_segment(&mut self, collection: u64, segment: u64) {
        self.put(keys::row(Space::Segment, collection, segment), Vec::new());
    }

    /// Takes a segment out of the manifest and marks its bytes for [`super::Store::sweep`].
    pub fn remove_segment(&mut self, collection: u64, segment: u64) {
        self.delete(keys::row(Space::Segment, collection, segment));
        let garbage = keys::row(Space::SegmentGarbage, collection, segment);
        self.put(garbage, Vec::new());
    }

    /// Remembers the answer to a request, given at `ms` since 1970.
    pub fn put_request(&mut self, key: &[u8], ms: u64, bytes: &[u8]) {
        let body = codec::request(ms, bytes);
        self.put(keys::named(Space::Request, key), body);
        self.put(keys::request_time(ms, key), Vec::new());
    }

    /// Sets what [`super::Store::sequence`] answers.
    pub fn set_sequence(&mut self, sequence: u64) {
        self.put_meta(codec::SEQUENCE, sequence);
    }

    /// Sets what [`super::Store::next_collection_number`] answers.
    pub fn set_next_collection_number(&mut self, number: u64) {
        self.put_meta(codec::NEXT_COLLECTION, number);
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Records changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Bytes of keys and values so far, for deciding when a group is full.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sequence number it sets.
    pub(crate) fn sequence(&self) -> Option<u64> {
        let key = keys::named(Space::Meta, codec::SEQUENCE.as_bytes());
        codec::read_number(self.writes.get(&key)?.as_ref()?).ok()
    }

    pub(crate) fn put_meta(&mut self, name: &str, number: u64) {
        let key = keys::named(Space::Meta, name.as_bytes());
        self.put(key, number.to_le_bytes().to_vec());
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, body: Vec<u8>) {
        self.bytes += key.len() + body.len();
        self.writes.insert(key, Some(body));
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.writes.insert(key, None);
    }
}
