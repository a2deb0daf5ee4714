//! What a payload takes in a message.

use serde_json::{Map, Value};

/// More than any tags and lengths around a value take.
const AROUND: usize = 12;

/// Bytes of an object as a `google.protobuf.Struct`, if anything too many: its JSON text may
/// be a fifth of that.
pub(super) fn encoded_bytes(fields: &Map<String, Value>) -> usize {
    let field = |(key, value): (&String, &Value)| AROUND + key.len() + value_bytes(value);
    fields.iter().map(field).sum()
}

fn value_bytes(value: &Value) -> usize {
    AROUND
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(value_bytes).sum(),
            Value::Object(fields) => encoded_bytes(fields),
        }
}
