//! A set of strings, numbers and booleans, as JSON has them.

use super::{Finite, Scalar};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// Strings, numbers and booleans; JSON numbers compare by value: `1` equals `1.0`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scalars {
    strings: HashSet<Arc<str>>,
    /// Ascending.
    numbers: Vec<f64>,
    /// Whether `false` and `true` are in it.
    booleans: [bool; 2],
}

impl Scalars {
    /// Whether a value is in the set.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.strings.contains(text.as_str()),
            Value::Bool(b) => self.booleans[usize::from(*b)],
            Value::Number(n) => n.as_f64().is_some_and(|n| {
                let place = self.numbers.binary_search_by(|x| x.total_cmp(&positive(n)));
                place.is_ok()
            }),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        let booleans = self.booleans.iter().filter(|b| **b).count();
        self.strings.len() + self.numbers.len() + booleans
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Scalar> + '_ {
        let strings = self.strings.iter().map(Arc::clone).map(Scalar::Text);
        let numbers = self.numbers.iter();
        let numbers = numbers.map(|n| Scalar::Number(Finite::new(*n)));
        let booleans = [false, true].into_iter();
        let booleans = booleans.filter(|b| self.booleans[usize::from(*b)]);
        strings.chain(numbers).chain(booleans.map(Scalar::Boolean))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Zero has one sign here, as it has in comparisons.
fn positive(n: f64) -> f64 {
    n + 0.0
}

impl FromIterator<Value> for Scalars {
    /// Takes what it can hold; lists, objects and nulls are left out.
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        let mut set = Self::default();
        for value in values {
            match value {
                Value::String(text) => {
                    set.strings.insert(text.into());
                }
                Value::Bool(b) => set.booleans[usize::from(b)] = true,
                Value::Number(n) => set.numbers.extend(n.as_f64().map(positive)),
                Value::Null | Value::Array(_) | Value::Object(_) => {}
            }
        }
        set.numbers.sort_by(f64::total_cmp);
        set.numbers.dedup();
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_found_by_what_they_are() {
        let values = [json!("a"), json!(2), json!(-0.0), json!(true), json!(2.0)];
        let set: Scalars = values.into_iter().collect();
        assert_eq!(set.len(), 4);
        for inside in [json!("a"), json!(2.0), json!(0), json!(true)] {
            assert!(set.contains(&inside), "{inside}");
        }
        for outside in [json!("b"), json!(1), json!(false), json!(null), json!("2")] {
            assert!(!set.contains(&outside), "{outside}");
        }
    }
}
