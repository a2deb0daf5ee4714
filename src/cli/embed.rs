//! `twindex embed`: images to vectors.

use super::client::{Client, ServerArgs, read};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Options of `embed`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Image files, PNG or JPEG
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The collection whose encoder is used; the server's own if not given
    #[arg(long, default_value = "")]
    collection: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let mut vectors = Vec::new();
    let mut model = String::new();
    for some in args.images.chunks(64) {
        let images = some.iter().map(|path| read(path));
        let request = pb::EmbedRequest {
            collection: args.collection.clone(),
            images: images.collect::<Result<_, _>>()?,
        };
        let answer = client.embed(request).await?.into_inner();
        vectors.extend(answer.vectors);
        model = answer.model_version;
    }
    let named = || args.images.iter().zip(&vectors);
    if out.is_json() {
        let all = named().map(|(path, v)| json!({ "image": path, "vector": v.values }));
        let all: Vec<Value> = all.collect();
        return out.json(&json!({ "embeddings": all, "model": model }));
    }
    for (path, vector) in named() {
        let values: Vec<String> = vector.values.iter().map(|v| format!("{v:.4}")).collect();
        out.line(&format!("{}\t{}", path.display(), values.join(",")))?;
    }
    Ok(())
}
