//! `twindex get`: one item, and its source image.

use super::client::{Client, ServerArgs};
use super::error::CliError;
use super::output::Output;
use crate::grpc::{from_struct, pb};
use pb::item::Content;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Options of `get`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The collection
    collection: String,
    /// The item's id
    id: String,
    /// Write its source image to this file
    #[arg(long, value_name = "FILE", conflicts_with = "vector")]
    image: Option<PathBuf>,
    /// Show its vector
    #[arg(long)]
    vector: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers; the image is not kept, or cannot be written.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.items;
    let request = pb::GetItemRequest {
        collection: args.collection,
        id: args.id,
        view: Some(pb::ItemView {
            vector: args.vector,
            image: args.image.is_some(),
        }),
    };
    let item = client
        .get_item(request)
        .await?
        .into_inner()
        .item
        .unwrap_or_default();
    let payload = item.payload.map(from_struct).transpose();
    let payload = payload
        .map_err(|e| CliError::failed(e.to_string()))?
        .unwrap_or_default();
    let mut vector = None;
    match (item.content, args.image) {
        (Some(Content::Image(bytes)), Some(path)) => std::fs::write(&path, bytes)
            .map_err(|e| CliError::failed(format!("writing {}: {e}", path.display())))?,
        (_, Some(_)) => return Err(CliError::not_found("the item's source image is not kept")),
        (Some(Content::Vector(v)), None) => vector = Some(v.values),
        (_, None) => {}
    }
    if out.is_json() {
        return out.json(&json!({
            "id": item.id,
            "label": item.label,
            "payload": Value::Object(payload.into_fields()),
            "vector": vector,
            "model": item.model_version,
        }));
    }
    let mut rows = vec![
        vec!["id".to_owned(), item.id],
        vec!["label".to_owned(), item.label],
        vec!["payload".to_owned(), payload.to_json()],
        vec!["model".to_owned(), item.model_version],
    ];
    if let Some(vector) = vector {
        let values: Vec<String> = vector.iter().map(|v| format!("{v:.4}")).collect();
        rows.push(vec!["vector".to_owned(), values.join(",")]);
    }
    out.table(&["", ""], &rows)
}
