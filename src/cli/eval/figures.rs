//! Figures as people and programs read them.

use crate::training::evaluate::stats::Rate;
use serde_json::{Map, Value, json};

/// The members of the JSON object, and the rows of the table: a name and a figure.
pub type Figures = (Map<String, Value>, Vec<Vec<String>>);

/// A share as people read it.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// An error rate with what it rests on.
pub fn rate_row(name: &str, rate: &Rate) -> Vec<String> {
    let (low, high) = rate.ci95();
    let text = format!(
        "{}  (95 % within {} to {}; {} of {} trials)",
        percent(rate.rate()),
        percent(low),
        percent(high),
        rate.errors,
        rate.trials
    );
    vec![name.to_owned(), text]
}

/// The same for programs.
pub fn rate_json(rate: &Rate) -> Map<String, Value> {
    let (low, high) = rate.ci95();
    let mut object = Map::new();
    object.insert("error_rate".into(), json!(rate.rate()));
    object.insert("trials".into(), json!(rate.trials));
    object.insert("ci95".into(), json!([low, high]));
    object
}
