//! `twindex compare`: how alike two images are.

use super::client::{Client, ServerArgs, ViewArgs, image_probe};
use super::decide::{self, point, point_json, probability};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::json;
use std::path::PathBuf;

/// Options of `compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection whose encoder and metric are used
    collection: String,
    /// The first image
    a: PathBuf,
    /// The second image
    b: PathBuf,
    /// At least so similar means "same"
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    min_similarity: Option<f32>,
    /// Decide at this false accept rate, in a calibrated collection
    #[arg(long, value_name = "RATE", conflicts_with = "min_similarity", value_parser = decide::rate)]
    far: Option<f64>,
    /// Share of genuine comparisons beforehand, in a calibrated collection
    #[arg(long, value_name = "P", value_parser = decide::rate)]
    prior: Option<f64>,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A decision in a word, if one was made.
#[must_use]
pub fn word(decision: pb::Decision) -> Option<&'static str> {
    match decision {
        pb::Decision::Unspecified => None,
        pb::Decision::Same => Some("same"),
        pb::Decision::Different => Some("different"),
    }
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let request = pb::CompareRequest {
        collection: args.collection,
        a: Some(image_probe(&args.a, args.views)?),
        b: Some(image_probe(&args.b, args.views)?),
        min_similarity: args.min_similarity,
        target_far: args.far,
        prior: args.prior,
    };
    let answer = client.compare(request).await?.into_inner();
    let decision = word(answer.decision());
    if out.is_json() {
        return out.json(&json!({
            "distance": answer.distance,
            "similarity": answer.similarity,
            "decision": decision,
            "probability": answer.probability,
            "operating_point": point_json(answer.operating_point.as_ref()),
            "model": answer.model_version,
        }));
    }
    let decision = decision.map_or_else(String::new, |d| format!(": {d}"));
    let probability = probability(answer.probability);
    out.line(&format!(
        "similarity {:.4}{decision}{probability}",
        answer.similarity
    ))?;
    match answer.operating_point.filter(|p| p.target_rate.is_some()) {
        Some(at) => out.line(&format!("decided at {}", point(&at))),
        None => Ok(()),
    }
}
