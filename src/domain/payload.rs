//! What a client keeps with an item: a JSON object of bounded size and depth.

use super::Invalid;
use serde_json::{Map, Value};

/// Largest payload, in bytes of its JSON text.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Deepest nesting of objects and lists; the payload itself is depth 1.
pub const MAX_PAYLOAD_DEPTH: usize = 32;

/// A JSON object within [`MAX_PAYLOAD_BYTES`] and [`MAX_PAYLOAD_DEPTH`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Payload(Map<String, Value>);

impl Payload {
    /// Checks an object against the limits.
    ///
    /// # Errors
    /// Nested deeper than [`MAX_PAYLOAD_DEPTH`] or larger than [`MAX_PAYLOAD_BYTES`].
    pub fn new(fields: Map<String, Value>) -> Result<Self, Invalid> {
        let deepest = 1 + fields.values().map(depth).max().unwrap_or(0);
        if deepest > MAX_PAYLOAD_DEPTH {
            return Err(Self::too_deep(deepest));
        }
        let payload = Self(fields);
        let bytes = payload.to_json().len();
        if bytes > MAX_PAYLOAD_BYTES {
            return Err(Invalid::new(
                "payload",
                format!("{bytes} bytes of JSON"),
                format!("at most {MAX_PAYLOAD_BYTES} bytes are allowed"),
            ));
        }
        Ok(payload)
    }

    /// The error for a payload nested `deepest` levels.
    #[must_use]
    pub fn too_deep(deepest: usize) -> Invalid {
        Invalid::new(
            "payload",
            format!("nested {deepest} levels deep"),
            format!("at most {MAX_PAYLOAD_DEPTH} levels are allowed"),
        )
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The fields, without a copy.
    #[must_use]
    pub fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    /// The value at a dotted path (`camera.site`), if there is one. A key that itself
    /// contains the dots is found first.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let mut keys = path.split('.');
        let mut value = self.0.get(keys.next()?)?;
        for key in keys {
            value = value.as_object()?.get(key)?;
        }
        Some(value)
    }

    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Payload {
        Payload::new(serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn paths_reach_into_objects() {
        let p = parse(r#"{"a": {"b": 1}, "a.c": 2}"#);
        assert_eq!(p.at("a.b"), Some(&Value::from(1)));
        assert_eq!(p.at("a.c"), Some(&Value::from(2)));
        assert_eq!(p.at("a.d"), None);
    }

    #[test]
    fn depth_and_size_are_limited() {
        let nest = |n: usize| {
            let mut v = Value::Null;
            for _ in 0..n {
                v = Value::Array(vec![v]);
            }
            Payload::new(Map::from_iter([("k".to_owned(), v)]))
        };
        assert!(nest(31).is_ok());
        assert_eq!(nest(32).unwrap_err().was, "nested 33 levels deep");
        let big = Map::from_iter([("k".to_owned(), Value::from("x".repeat(65536)))]);
        assert!(Payload::new(big).is_err());
    }
}
