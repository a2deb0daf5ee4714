//! `google.protobuf.Struct` to JSON and back.

use crate::domain::{Invalid, MAX_PAYLOAD_DEPTH, Payload};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Number, Value};

/// A payload from its message.
///
/// # Errors
/// Too deep, too large, or a number that is not finite.
pub fn from_struct(message: Struct) -> Result<Payload, Invalid> {
    Payload::new(object(message, 1)?)
}

fn object(message: Struct, depth: usize) -> Result<Map<String, Value>, Invalid> {
    if depth > MAX_PAYLOAD_DEPTH {
        return Err(Payload::too_deep(depth));
    }
    let fields = message.fields.into_iter();
    fields.map(|(key, v)| Ok((key, value(v, depth)?))).collect()
}

/// A JSON value from its message; `depth` is that of what holds it.
pub(super) fn value(message: prost_types::Value, depth: usize) -> Result<Value, Invalid> {
    Ok(match message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(b)) => Value::Bool(b),
        Some(Kind::StringValue(s)) => Value::String(s),
        Some(Kind::NumberValue(n)) => Value::Number(number(n)?),
        Some(Kind::StructValue(inner)) => Value::Object(object(inner, depth + 1)?),
        Some(Kind::ListValue(list)) => {
            if depth + 1 > MAX_PAYLOAD_DEPTH {
                return Err(Payload::too_deep(depth + 1));
            }
            let values = list.values.into_iter();
            Value::Array(
                values
                    .map(|v| value(v, depth + 1))
                    .collect::<Result<_, _>>()?,
            )
        }
    })
}

/// Whole numbers become integers, so that 3 is written as 3.
fn number(n: f64) -> Result<Number, Invalid> {
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
    if n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0 {
        return Ok(Number::from(n as i64));
    }
    Number::from_f64(n)
        .ok_or_else(|| Invalid::new("payload", n.to_string(), "numbers must be finite"))
}

/// The message of an object.
#[must_use]
pub fn to_struct(fields: Map<String, Value>) -> Struct {
    let fields = fields.into_iter().map(|(key, v)| (key, to_value(v)));
    Struct {
        fields: fields.collect(),
    }
}

fn to_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or(0.0)),
        Value::String(s) => Kind::StringValue(s),
        Value::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(to_value).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(to_struct(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}
