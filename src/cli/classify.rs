//! `twindex classify`: the label of a probe, by the enrolled examples.

use super::client::{Client, ProbeArgs, ServerArgs, ViewArgs};
use super::decide::{self, point, point_json};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use clap::ValueEnum;
use serde_json::{Value, json};

/// Options of `classify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    #[command(flatten)]
    probe: ProbeArgs,
    /// How examples decide
    #[arg(long, value_enum, default_value_t = Method::Nearest)]
    method: Method,
    /// Examples that vote
    #[arg(short, default_value_t = 5)]
    k: u32,
    /// Below this similarity the answer is "unknown"
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    min_similarity: Option<f32>,
    /// Decide at this false-positive identification rate, in a calibrated collection
    #[arg(long, value_name = "RATE", conflicts_with = "min_similarity", value_parser = decide::rate)]
    fpir: Option<f64>,
    /// Share of genuine comparisons beforehand, in a calibrated collection
    #[arg(long, value_name = "P", value_parser = decide::rate)]
    prior: Option<f64>,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    /// The nearest example
    Nearest,
    /// A vote of the k nearest
    Vote,
    /// The nearest mean of a label
    Prototype,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let method = match args.method {
        Method::Nearest => pb::ClassifyMethod::Nearest,
        Method::Vote => pb::ClassifyMethod::Vote,
        Method::Prototype => pb::ClassifyMethod::Prototype,
    };
    let request = pb::ClassifyRequest {
        collection: args.collection,
        probe: Some(args.probe.probe(args.views)?),
        method: method.into(),
        k: args.k,
        min_similarity: args.min_similarity,
        target_fpir: args.fpir,
        prior: args.prior,
        ..pb::ClassifyRequest::default()
    };
    let answer = client.classify(request).await?.into_inner();
    if out.is_json() {
        let labels = answer.labels.iter().map(|l| {
            json!({
                "label": l.label,
                "example": l.example_id,
                "distance": l.distance,
                "similarity": l.similarity,
                "vote_share": l.vote_share,
                "probability": l.probability,
            })
        });
        let labels: Vec<Value> = labels.collect();
        return out.json(&json!({
            "unknown": answer.unknown,
            "label": answer.label,
            "example": answer.example_id,
            "operating_point": point_json(answer.operating_point.as_ref()),
            "labels": labels,
            "model": answer.model_version,
        }));
    }
    out.line(if answer.unknown {
        "unknown"
    } else {
        &answer.label
    })?;
    let rows = answer.labels.iter().map(|l| {
        vec![
            l.label.clone(),
            format!("{:.4}", l.similarity),
            l.probability
                .map_or_else(String::new, |p| format!("{p:.4}")),
            l.example_id.clone(),
        ]
    });
    out.table(
        &["label", "similarity", "probability", "example"],
        &rows.collect::<Vec<_>>(),
    )?;
    match answer.operating_point.filter(|p| p.target_rate.is_some()) {
        Some(at) => out.line(&format!("decided at {}", point(&at))),
        None => Ok(()),
    }
}
