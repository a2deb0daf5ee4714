//! Which items a request means: a condition over label and payload.

use super::{Invalid, Label, Payload};
use serde_json::Value;

/// Deepest nesting of `and`, `or` and `not`.
pub const MAX_FILTER_DEPTH: usize = 32;

/// A condition over an item's label and payload.
///
/// A payload field is named by its dotted path. Where the field holds a list, a condition
/// holds if any element meets it. A field that is missing meets no condition but `Not`.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All hold; true when empty.
    And(Vec<Filter>),
    /// At least one holds; false when empty.
    Or(Vec<Filter>),
    /// Does not hold.
    Not(Box<Filter>),
    /// The item's label is one of these.
    LabelIn(Vec<Label>),
    /// The item has a label.
    HasLabel,
    /// The field equals one of these strings, numbers or booleans.
    In(String, Vec<Value>),
    /// The field is a number within the range.
    Within(String, Range),
    /// The field is there and not null.
    Exists(String),
}

/// Bounds on a number; an absent bound does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Range {
    /// Greater than.
    pub gt: Option<f64>,
    /// Greater than or equal.
    pub gte: Option<f64>,
    /// Less than.
    pub lt: Option<f64>,
    /// Less than or equal.
    pub lte: Option<f64>,
}

impl Range {
    fn holds(&self, x: f64) -> bool {
        self.gt.is_none_or(|b| x > b)
            && self.gte.is_none_or(|b| x >= b)
            && self.lt.is_none_or(|b| x < b)
            && self.lte.is_none_or(|b| x <= b)
    }
}

impl Filter {
    /// Whether an item with this label and payload is meant.
    #[must_use]
    pub fn matches(&self, label: Option<&Label>, payload: &Payload) -> bool {
        match self {
            Self::And(all) => all.iter().all(|f| f.matches(label, payload)),
            Self::Or(any) => any.iter().any(|f| f.matches(label, payload)),
            Self::Not(inner) => !inner.matches(label, payload),
            Self::LabelIn(labels) => label.is_some_and(|l| labels.contains(l)),
            Self::HasLabel => label.is_some(),
            Self::In(path, values) => any(payload.at(path), |x| values.iter().any(|v| same(x, v))),
            Self::Within(path, range) => any(payload.at(path), |x| {
                x.as_f64().is_some_and(|x| range.holds(x))
            }),
            Self::Exists(path) => payload.at(path).is_some_and(|v| !v.is_null()),
        }
    }

    /// Whether the filter looks at labels only, so that payloads need not be read.
    #[must_use]
    pub fn is_label_only(&self) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().all(Self::is_label_only),
            Self::Not(inner) => inner.is_label_only(),
            Self::LabelIn(_) | Self::HasLabel => true,
            Self::In(..) | Self::Within(..) | Self::Exists(_) => false,
        }
    }

    /// The error for a filter nested too deep.
    #[must_use]
    pub fn too_deep() -> Invalid {
        Invalid::new(
            "filter",
            format!("nested more than {MAX_FILTER_DEPTH} levels deep"),
            format!("at most {MAX_FILTER_DEPTH} levels are allowed"),
        )
    }
}

fn any(value: Option<&Value>, holds: impl Fn(&Value) -> bool) -> bool {
    match value {
        None => false,
        Some(Value::Array(list)) => list.iter().any(holds),
        Some(value) => holds(value),
    }
}

/// JSON numbers compare by value: `1` equals `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        #[expect(clippy::float_cmp, reason = "equality asked for is equality meant")]
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_documented() {
        let payload = Payload::new(
            serde_json::from_str(r#"{"n": 3, "s": "x", "l": [1, 2], "z": null, "o": {"b": true}}"#)
                .unwrap(),
        )
        .unwrap();
        let label = Label::new("a").unwrap();
        let holds = |f: Filter| f.matches(Some(&label), &payload);
        let range = |gte, lt| Range {
            gte: Some(gte),
            lt: Some(lt),
            ..Range::default()
        };
        let p = |s: &str| s.to_owned();
        assert!(holds(Filter::And(vec![])));
        assert!(!holds(Filter::Or(vec![])));
        assert!(holds(Filter::LabelIn(vec![label.clone()])));
        assert!(!Filter::HasLabel.matches(None, &payload));
        assert!(holds(Filter::In(p("n"), vec![Value::from(3.0)])));
        assert!(holds(Filter::In(p("l"), vec![Value::from(2)])));
        assert!(holds(Filter::In(p("o.b"), vec![Value::from(true)])));
        assert!(!holds(Filter::In(p("s"), vec![Value::from("y")])));
        assert!(holds(Filter::Within(p("n"), range(3.0, 4.0))));
        assert!(!holds(Filter::Within(p("n"), range(2.0, 3.0))));
        assert!(!holds(Filter::Within(p("s"), Range::default())));
        assert!(!holds(Filter::Exists(p("z"))));
        assert!(holds(Filter::Not(Box::new(Filter::Exists(p("q"))))));
    }
}
