//! What of an item is kept at hand, so that a filter need not read its record.

use super::{Label, Payload};
use serde_json::Value;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A boolean, a number or a string, in this order; numbers compare by value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// `false` before `true`.
    Boolean(bool),
    /// Never NaN.
    Number(Finite),
    /// By its bytes.
    Text(Arc<str>),
}

impl Scalar {
    /// That of a JSON value; none of a null, a list or an object.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(b) => Some(Self::Boolean(*b)),
            Value::Number(n) => n.as_f64().map(|n| Self::Number(Finite::new(n))),
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// A number as JSON has them: zero has one sign.
#[derive(Debug, Clone, Copy)]
pub struct Finite(f64);

impl Finite {
    /// Of a number that is not NaN.
    #[must_use]
    pub fn new(number: f64) -> Self {
        Self(number + 0.0)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Finite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// What a payload has at a field: nothing, or something in which there are scalars, ascending, each
/// once. A list counts as its elements.
pub type At = Option<Vec<Scalar>>;

/// What a payload has at some fields, by their dotted paths. Of others nothing is known.
pub type Fields = Vec<(Arc<str>, At)>;

/// An item's label, and what its payload has at some fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facets {
    /// The label.
    pub label: Option<Label>,
    /// What is known of the payload.
    pub fields: Fields,
}

impl Facets {
    /// Those of an item, at these fields.
    #[must_use]
    pub fn of(label: Option<&Label>, payload: &Payload, fields: &[Arc<str>]) -> Self {
        let at = |path: &Arc<str>| {
            let there = payload.at(path).filter(|value| !value.is_null());
            (Arc::clone(path), there.map(scalars))
        };
        Self {
            label: label.cloned(),
            fields: fields.iter().map(at).collect(),
        }
    }

    /// The scalars at a field, if it is there.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&[Scalar]> {
        let mut fields = self.fields.iter();
        fields.find(|(p, _)| **p == *path)?.1.as_deref()
    }

    /// Whether anything is known of a field.
    #[must_use]
    pub fn knows(&self, path: &str) -> bool {
        self.fields.iter().any(|(p, _)| **p == *path)
    }
}

fn scalars(value: &Value) -> Vec<Scalar> {
    let mut all: Vec<Scalar> = match value {
        Value::Array(list) => list.iter().filter_map(Scalar::of).collect(),
        value => Scalar::of(value).into_iter().collect(),
    };
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_field_has_is_told_by_its_scalars() {
        let payload =
            json!({"n": -0.0, "l": [2, "b", 2.0, null, [7], true], "o": {"p": "x"}, "z": null});
        let payload = Payload::new(payload.as_object().unwrap().clone()).unwrap();
        let fields = ["n", "l", "o.p", "o", "z", "q"].map(Arc::from);
        let found = Facets::of(None, &payload, &fields);
        let number = |n| Scalar::Number(Finite::new(n));
        let text = |t: &str| Scalar::Text(t.into());
        let expected = [
            Some(vec![number(0.0)]),
            Some(vec![Scalar::Boolean(true), number(2.0), text("b")]),
            Some(vec![text("x")]),
            Some(vec![]),
            None,
            None,
        ];
        let values: Vec<At> = found.fields.into_iter().map(|(_, at)| at).collect();
        assert_eq!(values, expected);
    }
}
