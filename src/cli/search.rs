//! `twindex search`: the nearest items.

use super::client::{Client, ProbeArgs, ServerArgs, ViewArgs};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::{Value, json};

/// Options of `search`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    #[command(flatten)]
    probe: ProbeArgs,
    /// How many
    #[arg(short, default_value_t = 10)]
    k: u32,
    /// Only items with one of these labels
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Only items at least so similar
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    min_similarity: Option<f32>,
    /// Compare with every item
    #[arg(long)]
    exact: bool,
    /// Part of the true nearest to find on average, 0.5 to 1; the collection's if not given
    #[arg(long, value_name = "R", conflicts_with_all = ["exact", "ef"])]
    recall_target: Option<f32>,
    /// Instead of a recall, candidates that a walk of the graph keeps
    #[arg(long, default_value_t = 0)]
    ef: u32,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    server: ServerArgs,
}

fn labelled(any_of: Vec<String>) -> Option<pb::Filter> {
    use pb::filter::Condition;
    (!any_of.is_empty()).then_some(pb::Filter {
        condition: Some(Condition::Label(pb::LabelFilter { any_of })),
    })
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.search;
    let request = pb::SearchRequest {
        collection: args.collection,
        probe: Some(args.probe.probe(args.views)?),
        k: args.k,
        filter: labelled(args.label),
        min_similarity: args.min_similarity,
        exact: args.exact,
        recall_target: args.recall_target,
        ef: args.ef,
        ..pb::SearchRequest::default()
    };
    let answer = client.search(request).await?.into_inner();
    if out.is_json() {
        let hits = answer.hits.iter().map(|h| {
            json!({
                "id": h.id,
                "label": h.label,
                "distance": h.distance,
                "similarity": h.similarity,
            })
        });
        let hits: Vec<Value> = hits.collect();
        return out.json(&json!({ "hits": hits, "model": answer.model_version }));
    }
    let rows = answer.hits.iter().enumerate().map(|(nth, h)| {
        vec![
            (nth + 1).to_string(),
            h.id.clone(),
            h.label.clone(),
            format!("{:.4}", h.similarity),
        ]
    });
    out.table(
        &["", "id", "label", "similarity"],
        &rows.collect::<Vec<_>>(),
    )
}
