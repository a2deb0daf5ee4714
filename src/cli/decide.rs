//! Options and output that decisions share: thresholds, targets, operating points.

use crate::grpc::pb;
use serde_json::{Value, json};

/// A rate or probability of the command line.
///
/// # Errors
/// It is not above 0 and below 1.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|e| format!("{e}"))?;
    let fits = rate > 0.0 && rate < 1.0;
    fits.then_some(rate)
        .ok_or_else(|| "a rate above 0 and below 1 is allowed".to_owned())
}

/// A share in percent, with as many digits as a small one needs.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{} %", (share * 100_000.0).round() / 1_000.0)
}

/// A rate with its interval, in words.
#[must_use]
pub fn point(point: &pb::OperatingPoint) -> String {
    let at = format!("similarity {:.4}", point.min_similarity);
    let (Some(rate), Some(low), Some(high)) = (point.target_rate, point.rate_low, point.rate_high)
    else {
        return at;
    };
    let gallery = match point.gallery_labels {
        0 => String::new(),
        n => format!(" among {n} labels"),
    };
    let what = if point.gallery_labels > 0 {
        "FPIR"
    } else {
        "FAR"
    };
    let (rate, low, high) = (percent(rate), percent(low), percent(high));
    let frr = point.false_reject_rate;
    let frr = frr.map_or_else(String::new, |frr| format!(", FRR {}", percent(frr)));
    format!("{at}: {what} {rate}{gallery} (95 % within {low} to {high}){frr}")
}

/// The same as JSON; null where nothing was decided.
#[must_use]
pub fn point_json(point: Option<&pb::OperatingPoint>) -> Value {
    let Some(p) = point else { return Value::Null };
    json!({
        "min_similarity": p.min_similarity,
        "target_rate": p.target_rate,
        "rate_low": p.rate_low,
        "rate_high": p.rate_high,
        "false_reject_rate": p.false_reject_rate,
        "gallery_labels": p.gallery_labels,
    })
}

/// `, probability 0.98`, where it is known.
#[must_use]
pub fn probability(probability: Option<f64>) -> String {
    probability.map_or_else(String::new, |p| format!(", probability {p:.4}"))
}
