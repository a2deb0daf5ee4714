//! Figures as people and programs read them.

use crate::cli::report::Section;
use crate::training::evaluate::stats::{Figure, Rate};
use serde_json::{Map, Value, json};

/// What a command found.
#[derive(Debug, Default)]
pub struct Found {
    /// The members of the JSON object.
    pub json: Map<String, Value>,
    /// The table: a name and a figure.
    pub rows: Vec<Vec<String>>,
    /// What a report shows beside the table.
    pub sections: Vec<Section>,
}

impl Found {
    /// Adds a member to the JSON object.
    pub fn member(&mut self, name: &str, value: impl Into<Value>) {
        self.json.insert(name.to_owned(), value.into());
    }

    /// Adds a row to the table.
    pub fn row(&mut self, name: impl Into<String>, figure: impl Into<String>) {
        self.rows.push(vec![name.into(), figure.into()]);
    }
}

/// A share as people read it.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A figure of four digits, for what is no share.
pub fn plain(value: f64) -> String {
    format!("{value:.4}")
}

/// A figure and its interval.
pub fn figure(figure: &Figure, shown: fn(f64) -> String) -> String {
    let interval = figure.ci95.map_or_else(
        || "no interval of so few classes".to_owned(),
        |(low, high)| format!("95 % within {} to {}", shown(low), shown(high)),
    );
    format!("{}  ({interval})", shown(figure.value))
}

/// An error rate with what it rests on.
pub fn rate(rate: &Rate) -> String {
    let (low, high) = rate.ci95();
    format!(
        "{}  (95 % within {} to {}; {} of {} trials)",
        percent(rate.rate()),
        percent(low),
        percent(high),
        rate.errors,
        rate.trials
    )
}

/// The members of an error rate.
pub fn rate_json(found: &mut Found, rate: &Rate) {
    let (low, high) = rate.ci95();
    found.member("error_rate", rate.rate());
    found.member("trials", rate.trials);
    found.member("ci95", json!([low, high]));
}
