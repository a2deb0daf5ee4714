//! Payloads as bytes: smaller and faster to read than JSON, and exact for every number.

use super::codec::{Reader, put_text};
use crate::domain::{MAX_PAYLOAD_DEPTH, Payload};
use serde_json::{Map, Number, Value};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const UNSIGNED: u8 = 3;
const NEGATIVE: u8 = 4;
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const LIST: u8 = 7;
const OBJECT: u8 = 8;

/// Appends a payload: the number of fields, then each name and value.
pub(crate) fn put_payload(into: &mut Vec<u8>, payload: &Payload) {
    put_fields(into, payload.fields());
}

pub(crate) fn read_payload(from: &mut Reader<'_>) -> Result<Payload, String> {
    let fields = read_fields(from, MAX_PAYLOAD_DEPTH)?;
    Payload::new(fields).map_err(|e| e.to_string())
}

fn put_len(into: &mut Vec<u8>, len: usize) {
    // A payload is at most 64 KiB of JSON.
    into.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_fields(into: &mut Vec<u8>, fields: &Map<String, Value>) {
    put_len(into, fields.len());
    for (name, value) in fields {
        put_text(into, name);
        put(into, value);
    }
}

/// Appends a value.
pub(crate) fn put(into: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => into.push(NULL),
        Value::Bool(false) => into.push(FALSE),
        Value::Bool(true) => into.push(TRUE),
        Value::Number(number) => put_number(into, number),
        Value::String(text) => {
            into.push(TEXT);
            put_text(into, text);
        }
        Value::Array(list) => {
            into.push(LIST);
            put_len(into, list.len());
            for value in list {
                put(into, value);
            }
        }
        Value::Object(fields) => {
            into.push(OBJECT);
            put_fields(into, fields);
        }
    }
}

fn put_number(into: &mut Vec<u8>, number: &Number) {
    if let Some(n) = number.as_u64() {
        into.push(UNSIGNED);
        into.extend_from_slice(&n.to_le_bytes());
    } else if let Some(n) = number.as_i64() {
        into.push(NEGATIVE);
        into.extend_from_slice(&n.to_le_bytes());
    } else {
        into.push(FLOAT);
        into.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
    }
}

/// `depth`: how many levels may still follow, so that no input exhausts the stack.
fn read_fields(from: &mut Reader<'_>, depth: usize) -> Result<Map<String, Value>, String> {
    let len = from.u32()?;
    let mut fields = Map::new();
    for _ in 0..len {
        let name = from.text()?.to_owned();
        fields.insert(name, read(from, depth)?);
    }
    Ok(fields)
}

/// Reads a value of so many levels at most.
pub(crate) fn read(from: &mut Reader<'_>, depth: usize) -> Result<Value, String> {
    let inner = || depth.checked_sub(1).ok_or("nested too deep");
    Ok(match from.byte()? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        UNSIGNED => from.u64()?.into(),
        NEGATIVE => from.u64()?.cast_signed().into(),
        FLOAT => Number::from_f64(from.f64()?)
            .ok_or("a number that is not finite")?
            .into(),
        TEXT => from.text()?.into(),
        LIST => {
            let len = from.u32()?;
            let mut list = Vec::new();
            for _ in 0..len {
                list.push(read(from, inner()?)?);
            }
            Value::Array(list)
        }
        OBJECT => Value::Object(read_fields(from, inner()?)?),
        other => return Err(format!("unknown kind of value {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(payload: &Payload) -> Result<Payload, String> {
        let mut bytes = Vec::new();
        put_payload(&mut bytes, payload);
        let mut from = Reader(&bytes);
        let back = read_payload(&mut from)?;
        from.end()?;
        for cut in 0..bytes.len() {
            assert!(read_payload(&mut Reader(&bytes[..cut])).is_err());
        }
        Ok(back)
    }

    #[test]
    fn every_kind_of_value_returns_exactly() {
        let json = r#"{"": null, "b": [true, false], "n": [0, 18446744073709551615, -1,
            -9223372036854775808, 0.1, -0.0, 5e-324, 1.7976931348623157e308],
            "s": "\u0000🦀", "o": {"o": {"l": [[[]]]}}}"#;
        let payload = Payload::new(serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(back(&payload), Ok(payload));
        assert_eq!(back(&Payload::default()), Ok(Payload::default()));
    }

    #[test]
    fn the_deepest_payload_returns_and_no_deeper_one() {
        let nested = |levels: usize| {
            let mut value = Value::Null;
            for _ in 1..levels {
                value = Value::Array(vec![value]);
            }
            Map::from_iter([("k".to_owned(), value)])
        };
        let deepest = Payload::new(nested(MAX_PAYLOAD_DEPTH)).unwrap();
        assert_eq!(back(&deepest), Ok(deepest));
        let mut bytes = Vec::new();
        put_fields(&mut bytes, &nested(10_000));
        assert!(read_payload(&mut Reader(&bytes)).is_err());
    }
}
