//! `twindex verify`: whether a probe is what it claims to be.

use super::client::{Client, ProbeArgs, ServerArgs};
use super::compare::word;
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
    /// At least so similar to the nearest example means "same"
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    min_similarity: f32,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let request = pb::VerifyRequest {
        collection: args.collection,
        probe: Some(args.probe.probe()?),
        label: args.label,
        min_similarity: Some(args.min_similarity),
    };
    let answer = client.verify(request).await?.into_inner();
    let decision = word(answer.decision()).unwrap_or("undecided");
    if out.is_json() {
        return out.json(&json!({
            "decision": decision,
            "example": answer.example_id,
            "distance": answer.distance,
            "similarity": answer.similarity,
            "model": answer.model_version,
        }));
    }
    out.line(&format!(
        "{decision}: similarity {:.4} to {}",
        answer.similarity, answer.example_id
    ))
}
