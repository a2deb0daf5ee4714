//! `twindex stats`: counts and sizes of a collection.

use super::client::{Client, ServerArgs};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::json;

/// Options of `stats`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.collections;
    let request = pb::GetCollectionStatsRequest {
        name: args.collection,
    };
    let s = client.get_collection_stats(request).await?.into_inner();
    let figures = [
        ("items", s.items),
        ("labels", s.labels),
        ("segments", s.segments),
        ("sealed_rows", s.sealed_rows),
        ("tail_rows", s.tail_rows),
        ("dead_rows", s.dead_rows),
        ("index_bytes", s.index_bytes),
        ("disk_bytes", s.disk_bytes),
    ];
    if out.is_json() {
        let all = figures
            .iter()
            .map(|(name, n)| ((*name).to_owned(), json!(n)));
        return out.json(&serde_json::Value::Object(all.collect()));
    }
    let rows = figures
        .iter()
        .map(|(name, n)| vec![name.replace('_', " "), n.to_string()]);
    out.table(&["", ""], &rows.collect::<Vec<_>>())
}
