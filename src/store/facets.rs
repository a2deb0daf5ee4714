//! What payloads have at the indexed fields, row by row, and which fields are indexed.

use super::codec::{Reader, put_text};
use super::keys::{self, Space};
use super::{Batch, Error, Store, values};
use crate::domain::{At, Facets, Fields, Scalar};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// A payload field that filters are answered by without reading records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadIndex {
    /// The dotted path of the field.
    pub field: String,
    /// Whether it covers the items that were there before it.
    pub ready: bool,
}

impl Batch {
    /// Sets a collection's payload indexes.
    pub fn put_payload_indexes(&mut self, collection: u64, indexes: &[PayloadIndex]) {
        let key = keys::numbered(Space::PayloadIndexes, collection);
        // Strings and booleans always serialize.
        self.put(key, serde_json::to_vec(indexes).unwrap_or_default());
    }

    /// Keeps what a row has at the indexed fields.
    pub fn put_facets(&mut self, collection: u64, seq: u64, facets: &Facets) {
        let key = keys::row(Space::Facets, collection, seq);
        self.put(key, encode(&facets.fields));
    }

    /// Forgets it.
    pub fn delete_facets(&mut self, collection: u64, seq: u64) {
        self.delete(keys::row(Space::Facets, collection, seq));
    }
}

impl Store {
    /// A collection's payload indexes; `None` if it never had any.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn payload_indexes(&self, collection: u64) -> Result<Option<Vec<PayloadIndex>>, Error> {
        let key = keys::numbered(Space::PayloadIndexes, collection);
        self.decoded(&key, read_indexes)
    }

    /// What rows have at indexed fields, by row.
    pub fn facets(
        &self,
        collection: u64,
    ) -> impl Iterator<Item = Result<(u64, Fields), Error>> + Send + '_ {
        self.rows(Space::Facets, collection, decode)
    }
}

pub(super) fn read_indexes(bytes: &[u8]) -> Result<Vec<PayloadIndex>, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// Each field's path, and a list of what is there, or null.
fn encode(fields: &[(Arc<str>, At)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, at) in fields {
        put_text(&mut out, path);
        let list = at.as_ref().map(|at| at.iter().map(value).collect());
        values::put(&mut out, &list.map_or(Value::Null, Value::Array));
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Fields, String> {
    let mut from = Reader(bytes);
    let mut fields = Vec::new();
    while !from.0.is_empty() {
        let path = from.text()?.into();
        let at = match values::read(&mut from, 1)? {
            Value::Null => None,
            Value::Array(list) => Some(list.iter().filter_map(Scalar::of).collect()),
            other => return Err(format!("{other} is no list")),
        };
        fields.push((path, at));
    }
    Ok(fields)
}

fn value(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Boolean(b) => Value::Bool(*b),
        Scalar::Number(n) => n.get().into(),
        Scalar::Text(text) => Value::String(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Finite;

    #[test]
    fn what_is_written_is_read() {
        let scalars = vec![
            Scalar::Boolean(true),
            Scalar::Number(Finite::new(-2.5)),
            Scalar::Text("x".into()),
        ];
        let fields: Fields = vec![
            ("a.b".into(), Some(scalars)),
            ("c".into(), Some(vec![])),
            ("d".into(), None),
        ];
        let bytes = encode(&fields);
        assert_eq!(decode(&bytes).unwrap(), fields);
        let whole = (0..bytes.len()).filter(|end| decode(&bytes[..*end]).is_ok());
        // Only where one field ends and the next begins.
        assert_eq!(whole.count(), 3);
    }
}
