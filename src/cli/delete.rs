//! `twindex delete`: items, by id.

use super::client::{Client, ServerArgs};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::json;
use std::collections::BTreeSet;

/// Options of `delete`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    /// Ids of items
    #[arg(required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers; items that are not there.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.items;
    let ids: BTreeSet<String> = args.ids.into_iter().collect();
    let asked = ids.len() as u64;
    let request = pb::BatchDeleteItemsRequest {
        collection: args.collection,
        ids: ids.into_iter().collect(),
        ..pb::BatchDeleteItemsRequest::default()
    };
    let deleted = client
        .batch_delete_items(request)
        .await?
        .into_inner()
        .deleted;
    if deleted == 0 {
        return Err(CliError::not_found("none of these items is there"));
    }
    if out.is_json() {
        out.json(&json!({ "deleted": deleted, "asked": asked }))?;
    } else {
        out.line(&format!("deleted {deleted} of {asked}"))?;
    }
    if deleted < asked {
        return Err(CliError::partial("the others are not there"));
    }
    Ok(())
}
