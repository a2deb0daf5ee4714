//! `twindex verify`: whether a probe is what it claims to be.

use super::client::{Client, ProbeArgs, ServerArgs, ViewArgs};
use super::compare::word;
use super::decide::{self, point, point_json, probability};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::json;

/// Options of `verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    /// The claimed label
    label: String,
    #[command(flatten)]
    probe: ProbeArgs,
    /// At least so similar to the nearest example means "same"; needed until the collection is
    /// calibrated
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    min_similarity: Option<f32>,
    /// Decide at this false accept rate, in a calibrated collection
    #[arg(long, value_name = "RATE", conflicts_with = "min_similarity", value_parser = decide::rate)]
    far: Option<f64>,
    /// Share of genuine claims beforehand, in a calibrated collection
    #[arg(long, value_name = "P", value_parser = decide::rate)]
    prior: Option<f64>,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// With what helps where nothing says how similar is enough.
fn explained(status: tonic::Status) -> CliError {
    let lacks = status.message().starts_with("min_similarity: not set");
    let error = CliError::from(status);
    if lacks {
        return error.with_hint("`twindex calibrate COLLECTION`, or give --min-similarity");
    }
    error
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let request = pb::VerifyRequest {
        collection: args.collection,
        probe: Some(args.probe.probe(args.views)?),
        label: args.label,
        min_similarity: args.min_similarity,
        target_far: args.far,
        prior: args.prior,
    };
    let answer = client
        .verify(request)
        .await
        .map_err(explained)?
        .into_inner();
    let decision = word(answer.decision()).unwrap_or("undecided");
    if out.is_json() {
        return out.json(&json!({
            "decision": decision,
            "probability": answer.probability,
            "operating_point": point_json(answer.operating_point.as_ref()),
            "example": answer.example_id,
            "distance": answer.distance,
            "similarity": answer.similarity,
            "model": answer.model_version,
        }));
    }
    let probability = probability(answer.probability);
    out.line(&format!(
        "{decision}: similarity {:.4} to {}{probability}",
        answer.similarity, answer.example_id
    ))?;
    match answer.operating_point.filter(|p| p.target_rate.is_some()) {
        Some(at) => out.line(&format!("decided at {}", point(&at))),
        None => Ok(()),
    }
}
