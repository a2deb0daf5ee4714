//! `twindex recall`: how much of the true nearest searches of a collection find.

use super::client::{Client, ServerArgs};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::json;

/// Options of `recall`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    /// Questions to ask, at most 2,000: recent queries, and stored items where those are too few
    #[arg(long, value_name = "N", default_value_t = 200)]
    questions: u32,
    /// Answers wanted of each
    #[arg(short, default_value_t = 10)]
    k: u32,
    /// Part of the true nearest that searches aim at, 0.5 to 1; the collection's if not given
    #[arg(long, value_name = "R", conflicts_with = "ef")]
    recall_target: Option<f32>,
    /// Instead of a recall, candidates that a walk of the graph keeps
    #[arg(long, default_value_t = 0)]
    ef: u32,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.search;
    let request = pb::MeasureRecallRequest {
        collection: args.collection,
        questions: args.questions,
        k: args.k,
        recall_target: args.recall_target,
        ef: args.ef,
    };
    let m = client.measure_recall(request).await?.into_inner();
    if out.is_json() {
        return out.json(&json!({
            "recall": m.recall,
            "interval": [m.recall_low, m.recall_high],
            "k": m.k,
            "recall_target": m.recall_target,
            "ef": args.ef,
            "recent_queries": m.recent_queries,
            "stored_items": m.stored_items,
            "items": m.items,
            "search_micros": m.search_micros,
            "exact_micros": m.exact_micros,
            "model": m.model_version,
        }));
    }
    words(&m, args.ef)
        .iter()
        .try_for_each(|line| out.line(line))
}

fn words(m: &pb::MeasureRecallResponse, ef: u32) -> Vec<String> {
    let questions = m.recent_queries + m.stored_items;
    if questions == 0 {
        return vec![format!("nothing to find: it holds {} items", m.items)];
    }
    let aim = m
        .recall_target
        .map_or_else(|| format!("ef {ef}"), |target| format!("aimed at {target}"));
    vec![
        format!(
            "recall@{} {:.4} (95 %: {:.4} to {:.4}), {aim}",
            m.k, m.recall, m.recall_low, m.recall_high
        ),
        format!(
            "{questions} questions to {} items: {} recent queries, {} stored items",
            m.items, m.recent_queries, m.stored_items
        ),
        format!(
            "a search takes {:.0} us, an exact one {:.0} us (medians, in the server)",
            m.search_micros, m.exact_micros
        ),
    ]
}
