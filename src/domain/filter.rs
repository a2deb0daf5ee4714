//! Which items a request means: a condition over label and payload.

use super::{Invalid, Label, Payload, Range, Scalars, Timestamp};
use serde_json::Value;
use std::collections::HashSet;

/// Deepest nesting of `and`, `or` and `not`.
pub const MAX_FILTER_DEPTH: usize = 32;
/// Most conditions within one filter: each is looked at for every item.
pub const MAX_FILTER_CONDITIONS: usize = 1_000;
/// Most labels and values in one filter, in all its conditions together.
pub const MAX_FILTER_VALUES: usize = 100_000;

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
    LabelIn(HashSet<Label>),
    /// The item has a label.
    HasLabel,
    /// The field equals one of these strings, numbers or booleans.
    In(String, Scalars),
    /// The field is a number within the range.
    Within(String, Range),
    /// The field is a moment within the range, told as RFC 3339 does.
    During(String, Range<Timestamp>),
    /// The field is a string that begins with this.
    StartsWith(String, String),
    /// The field is there and not null.
    Exists(String),
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
            Self::In(path, values) => any(payload.at(path), |x| values.contains(x)),
            Self::Within(path, range) => any(payload.at(path), |x| {
                x.as_f64().is_some_and(|x| range.holds(&x))
            }),
            Self::During(path, range) => any(payload.at(path), |x| {
                let time = x.as_str().and_then(Timestamp::parse);
                time.is_some_and(|time| range.holds(&time))
            }),
            Self::StartsWith(path, prefix) => any(payload.at(path), |x| {
                x.as_str().is_some_and(|text| text.starts_with(prefix))
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
            Self::In(..)
            | Self::Within(..)
            | Self::During(..)
            | Self::StartsWith(..)
            | Self::Exists(_) => false,
        }
    }

    /// Conditions in it, itself included.
    #[must_use]
    pub fn conditions(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                1 + parts.iter().map(Self::conditions).sum::<usize>()
            }
            Self::Not(inner) => 1 + inner.conditions(),
            _ => 1,
        }
    }

    /// Labels and values in all its conditions.
    #[must_use]
    pub fn values(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::values).sum(),
            Self::Not(inner) => inner.values(),
            Self::LabelIn(labels) => labels.len(),
            Self::In(_, values) => values.len(),
            Self::HasLabel
            | Self::Within(..)
            | Self::During(..)
            | Self::StartsWith(..)
            | Self::Exists(_) => 0,
        }
    }

    /// Checks the size of a whole filter.
    ///
    /// # Errors
    /// More than [`MAX_FILTER_CONDITIONS`] or [`MAX_FILTER_VALUES`].
    pub fn check_size(&self) -> Result<(), Invalid> {
        for (n, what, most) in [
            (self.conditions() - 1, "conditions", MAX_FILTER_CONDITIONS),
            (self.values(), "labels and values", MAX_FILTER_VALUES),
        ] {
            if n > most {
                let allowed = format!("at most {most} in all are allowed");
                return Err(Invalid::new("filter", format!("{n} {what}"), allowed));
            }
        }
        Ok(())
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
        assert!(holds(Filter::LabelIn([label.clone()].into())));
        assert!(!Filter::HasLabel.matches(None, &payload));
        let one = |v: Value| Scalars::from_iter([v]);
        assert!(holds(Filter::In(p("n"), one(3.0.into()))));
        assert!(holds(Filter::In(p("l"), one(2.into()))));
        assert!(holds(Filter::In(p("o.b"), one(true.into()))));
        assert!(!holds(Filter::In(p("s"), one("y".into()))));
        assert!(holds(Filter::Within(p("n"), range(3.0, 4.0))));
        assert!(!holds(Filter::Within(p("n"), range(2.0, 3.0))));
        assert!(!holds(Filter::Within(p("s"), Range::default())));
        let texts = r#"{"s": "gate-7", "l": ["hall", "roof"], "n": 7}"#;
        let texts = Payload::new(serde_json::from_str(texts).unwrap()).unwrap();
        let begins =
            |at: &str, with: &str| Filter::StartsWith(p(at), p(with)).matches(None, &texts);
        assert!(begins("s", "gate") && begins("s", "gate-7") && begins("l", "ro"));
        assert!(!begins("s", "gate-77") && !begins("s", "ate") && !begins("n", "7"));
        assert!(!holds(Filter::Exists(p("z"))));
        assert!(holds(Filter::Not(Box::new(Filter::Exists(p("q"))))));
    }

    #[test]
    fn the_size_of_the_whole_is_limited() {
        let many = |n| Filter::Or((0..n).map(|_| Filter::HasLabel).collect());
        assert!(many(MAX_FILTER_CONDITIONS).check_size().is_ok());
        let error = many(MAX_FILTER_CONDITIONS + 1).check_size().unwrap_err();
        assert!(error.to_string().contains("1001 conditions"), "{error}");
        let values: Scalars = (0..=MAX_FILTER_VALUES / 2).map(Value::from).collect();
        let half = || Filter::In("n".into(), values.clone());
        assert!(half().check_size().is_ok());
        assert!(Filter::And(vec![half(), half()]).check_size().is_err());
    }
}
