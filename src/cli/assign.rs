//! `twindex assign`: labels of images that are known to show each label at most once.

use super::client::{Client, ServerArgs, ViewArgs, image_probe};
use super::decide::probability;
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Options of `assign`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    /// Images, no two of one label
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let probes = args.images.iter().map(|path| image_probe(path, args.views));
    let request = pb::ClassifyBatchRequest {
        collection: args.collection,
        probes: probes.collect::<Result<_, _>>()?,
        one_to_one: true,
        ..pb::ClassifyBatchRequest::default()
    };
    let answer = client.classify_batch(request).await?.into_inner();
    let each = args.images.iter().zip(&answer.classifications);
    if out.is_json() {
        let each = each.map(|(image, found)| {
            let score = found.labels.first();
            json!({
                "image": image,
                "label": found.label,
                "example": found.example_id,
                "similarity": score.map(|s| s.similarity),
                "probability": score.and_then(|s| s.probability),
            })
        });
        let all: Vec<Value> = each.collect();
        return out.json(&json!({ "assigned": all, "model": answer.model_version }));
    }
    let rows = each.map(|(image, found)| {
        let score = found.labels.first();
        let similarity = score.map_or_else(String::new, |s| {
            format!("{:.4}{}", s.similarity, probability(s.probability))
        });
        vec![image.display().to_string(), found.label.clone(), similarity]
    });
    out.table(&["image", "label", "similarity"], &rows.collect::<Vec<_>>())
}
