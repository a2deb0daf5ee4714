//! Keys: a space, then big-endian numbers and bytes, so that keys sort as their parts do.

use super::Error;
use crate::domain::ItemId;

/// The first byte of a key: what kind of record it is. Numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Space {
    /// Counters and versions, by name.
    Meta = 1,
    /// Migrations applied, by number.
    Migration = 2,
    /// Collections, by number.
    Collection = 3,
    /// Numbers of collections dropped and not yet purged.
    Dropped = 4,
    /// Items, by collection and id.
    Item = 5,
    /// Tags of live rows, by collection and row.
    Tag = 6,
    /// Vectors, by collection and row.
    Vector = 7,
    /// Images, by collection and number.
    Image = 8,
    /// The manifest: published segments, by collection and number.
    Segment = 9,
    /// What was written of segments, published or not: sizes and hashes.
    SegmentBody = 10,
    /// Segments to be swept: removed, or never published.
    SegmentGarbage = 11,
    /// Answers to requests, by the client's key.
    Request = 12,
    /// The same keys by time, so that old ones are found.
    RequestTime = 13,
    /// Pieces of records too large for one value, by the length of the key, the key and a number.
    Chunk = 14,
    /// Models, by version.
    Model = 15,
    /// Operations, by name.
    Operation = 16,
    /// Calibrations, by collection.
    Calibration = 17,
    /// Payload fields that are indexed, by collection.
    PayloadIndexes = 18,
    /// What live rows have at those fields, by collection and row.
    Facets = 19,
}

impl Space {
    /// All of them, in the order of their keys.
    pub(crate) const ALL: [Self; 19] = [
        Self::Meta,
        Self::Migration,
        Self::Collection,
        Self::Dropped,
        Self::Item,
        Self::Tag,
        Self::Vector,
        Self::Image,
        Self::Segment,
        Self::SegmentBody,
        Self::SegmentGarbage,
        Self::Request,
        Self::RequestTime,
        Self::Chunk,
        Self::Model,
        Self::Operation,
        Self::Calibration,
        Self::PayloadIndexes,
        Self::Facets,
    ];

    /// The spaces whose keys go on with the number of a collection: what a purge removes.
    pub(crate) const OF_A_COLLECTION: [Self; 10] = [
        Self::Item,
        Self::Tag,
        Self::Vector,
        Self::Image,
        Self::Segment,
        Self::SegmentBody,
        Self::SegmentGarbage,
        Self::Calibration,
        Self::PayloadIndexes,
        Self::Facets,
    ];

    /// The space of a key.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        let first = *key.first()?;
        Self::ALL.into_iter().find(|space| *space as u8 == first)
    }

    /// Whether records may be larger than one value.
    pub(crate) fn chunked(self) -> bool {
        matches!(
            self,
            Self::Collection
                | Self::Item
                | Self::Image
                | Self::SegmentBody
                | Self::Request
                | Self::Model
                | Self::Operation
                | Self::Calibration
                | Self::PayloadIndexes
                | Self::Facets
        )
    }

    /// One word for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Migration => "migration",
            Self::Collection => "collection",
            Self::Dropped => "dropped collection",
            Self::Item => "item",
            Self::Tag => "tag",
            Self::Vector => "vector",
            Self::Image => "image",
            Self::Segment => "segment",
            Self::SegmentBody => "segment body",
            Self::SegmentGarbage => "segment garbage",
            Self::Request => "request",
            Self::RequestTime => "request time",
            Self::Chunk => "chunk",
            Self::Model => "model",
            Self::Operation => "operation",
            Self::Calibration => "calibration of collection",
            Self::PayloadIndexes => "payload indexes of collection",
            Self::Facets => "facets",
        }
    }
}

/// The key of a record that has a name only.
pub(crate) fn named(space: Space, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(space as u8);
    key.extend_from_slice(name);
    key
}

/// The key of a numbered record, and the prefix of all that belongs to a collection.
pub(crate) fn numbered(space: Space, number: u64) -> Vec<u8> {
    named(space, &number.to_be_bytes())
}

/// The key of a numbered record of a collection.
pub(crate) fn row(space: Space, collection: u64, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(space as u8);
    key.extend_from_slice(&collection.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The key of an item.
pub(crate) fn item(collection: u64, id: &ItemId) -> Vec<u8> {
    let id = id.as_str().as_bytes();
    let mut key = Vec::with_capacity(9 + id.len());
    key.push(Space::Item as u8);
    key.extend_from_slice(&collection.to_be_bytes());
    key.extend_from_slice(id);
    key
}

/// The key of a request's entry by time.
pub(crate) fn request_time(ms: u64, request: &[u8]) -> Vec<u8> {
    let mut key = numbered(Space::RequestTime, ms);
    key.extend_from_slice(request);
    key
}

/// The prefix of the chunks of the record at `key`, and of no other's.
pub(crate) fn chunks(key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(9 + key.len());
    prefix.push(Space::Chunk as u8);
    // `frame::MAX_KEY` keeps this within its four bytes.
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    prefix.extend_from_slice(&len.to_be_bytes());
    prefix.extend_from_slice(key);
    prefix
}

/// The key of one chunk of the record at `key`.
pub(crate) fn chunk(key: &[u8], nth: u32) -> Vec<u8> {
    let mut chunk = chunks(key);
    chunk.extend_from_slice(&nth.to_be_bytes());
    chunk
}

/// The big-endian number at `at`.
pub(crate) fn number_at(key: &[u8], at: usize) -> Result<u64, Error> {
    key.get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| Error::damaged(describe(key), "the key is too short"))
}

/// The id at the end of an item's key.
pub(crate) fn id_of(key: &[u8]) -> Result<ItemId, Error> {
    key.get(9..)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|id| ItemId::new(id).ok())
        .ok_or_else(|| Error::damaged(describe(key), "the key holds no valid id"))
}

/// A key in words, for messages.
pub(crate) fn describe(key: &[u8]) -> String {
    let Some(space) = Space::of(key) else {
        return format!("unknown record {}", key.escape_ascii());
    };
    let name = space.name();
    let part = |at: usize| number_at_or_zero(key, at);
    match space {
        Space::Meta | Space::Request | Space::Model | Space::Operation => {
            format!("{name} \"{}\"", text(&key[1..]))
        }
        Space::Migration
        | Space::Collection
        | Space::Dropped
        | Space::Calibration
        | Space::PayloadIndexes => {
            format!("{name} {}", part(1))
        }
        Space::Item => format!(
            "{name} \"{}\" of collection {}",
            text(key.get(9..).unwrap_or_default()),
            part(1)
        ),
        Space::Tag
        | Space::Vector
        | Space::Image
        | Space::Segment
        | Space::SegmentBody
        | Space::SegmentGarbage
        | Space::Facets => format!("{name} {} of collection {}", part(9), part(1)),
        Space::RequestTime => format!(
            "{name} {} of \"{}\"",
            part(1),
            text(key.get(9..).unwrap_or_default())
        ),
        Space::Chunk => {
            let end = key.len().saturating_sub(4).max(5);
            let nth = key.get(end..).and_then(|n| n.try_into().ok());
            let of = key.get(5..end).unwrap_or_default();
            format!(
                "{name} {} of {}",
                nth.map_or(0, u32::from_be_bytes),
                describe(of)
            )
        }
    }
}

fn number_at_or_zero(key: &[u8], at: usize) -> u64 {
    key.get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes)
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_parts() {
        assert!(row(Space::Tag, 1, 255) < row(Space::Tag, 1, 256));
        assert!(row(Space::Tag, 1, u64::MAX) < row(Space::Tag, 2, 0));
        assert!(row(Space::Tag, 9, 9) < row(Space::Vector, 0, 0));
        let numbers = Space::ALL.map(|space| space as u8);
        assert!(numbers.is_sorted());
    }

    #[test]
    fn chunks_of_an_id_are_not_those_of_a_longer_one() {
        let short = item(1, &ItemId::new("a").unwrap());
        let long = item(1, &ItemId::new("ab").unwrap());
        assert!(!chunk(&long, 0).starts_with(&chunks(&short)));
        assert!(chunk(&short, 7).starts_with(&chunks(&short)));
    }

    #[test]
    fn every_key_has_words_however_short() {
        let id = ItemId::new("cat").unwrap();
        assert_eq!(describe(&item(3, &id)), "item \"cat\" of collection 3");
        assert_eq!(
            describe(&chunk(&row(Space::Image, 1, 2), 5)),
            "chunk 5 of image 2 of collection 1"
        );
        for space in Space::ALL {
            for extra in 0..20 {
                describe(&named(space, &vec![0; extra]));
            }
        }
        describe(&[]);
        describe(&[0xFF, 1]);
    }
}
