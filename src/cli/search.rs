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
    /// How many items, or labels
    #[arg(short, default_value_t = 10)]
    k: u32,
    /// The nearest labels instead of items, each with so many of its nearest items
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    group_by_label: Option<u32>,
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
        group_by_label: args
            .group_by_label
            .map(|hits_per_group| pb::GroupByLabel { hits_per_group }),
        ..pb::SearchRequest::default()
    };
    let grouped = args.group_by_label.is_some();
    let answer = client.search(request).await?.into_inner();
    let model = &answer.model_version;
    if out.is_json() {
        if grouped {
            let groups = answer.groups.iter();
            let groups = groups.map(|g| json!({ "label": g.label, "hits": hits(&g.hits) }));
            let groups: Vec<Value> = groups.collect();
            return out.json(&json!({ "groups": groups, "model": model }));
        }
        return out.json(&json!({ "hits": hits(&answer.hits), "model": model }));
    }
    // A group's items share its number.
    let groups: Vec<&[pb::Hit]> = if grouped {
        answer.groups.iter().map(|g| &*g.hits).collect()
    } else {
        answer.hits.chunks(1).collect()
    };
    let numbered = groups.iter().enumerate();
    let rows = numbered.flat_map(|(nth, hits)| hits.iter().map(move |h| row(nth + 1, h)));
    out.table(
        &["", "id", "label", "similarity"],
        &rows.collect::<Vec<_>>(),
    )
}

fn row(number: usize, h: &pb::Hit) -> Vec<String> {
    vec![
        number.to_string(),
        h.id.clone(),
        h.label.clone(),
        format!("{:.4}", h.similarity),
    ]
}

fn hits(hits: &[pb::Hit]) -> Vec<Value> {
    let hits = hits.iter().map(|h| {
        json!({
            "id": h.id,
            "label": h.label,
            "distance": h.distance,
            "similarity": h.similarity,
        })
    });
    hits.collect()
}
