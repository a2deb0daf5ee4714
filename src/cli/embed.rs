//! `twindex embed`: images to vectors.

use super::client::{Client, ServerArgs, ViewArgs, read};
use super::error::CliError;
use super::output::Output;
use crate::grpc::{MAX_MESSAGE_BYTES, pb};
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Options of `embed`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Image files, PNG, JPEG or PNM
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The collection whose encoder is used; the server's own if not given
    #[arg(long, default_value = "")]
    collection: String,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Images of one request.
const MOST: usize = 64;
/// Bytes of one request's images; a message holds [`MAX_MESSAGE_BYTES`].
const MOST_BYTES: usize = MAX_MESSAGE_BYTES - (1 << 20);

/// Whether an image of so many bytes may go with these.
fn fits(images: &[Bytes], more: usize) -> bool {
    let bytes: usize = images.iter().map(Bytes::len).sum();
    images.len() < MOST && bytes + more <= MOST_BYTES
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.decisions;
    let mut request = pb::EmbedRequest {
        collection: args.collection.clone(),
        images: Vec::new(),
        views: args.views.number(),
    };
    let (mut vectors, mut model) = (Vec::new(), String::new());
    let mut images = args.images.iter().map(|path| read(path)).peekable();
    while let Some(image) = images.next() {
        request.images.push(image?);
        let more = images.peek().and_then(|image| image.as_ref().ok());
        if more.is_some_and(|image| fits(&request.images, image.len())) {
            continue;
        }
        let answer = client.embed(request.clone()).await?.into_inner();
        request.images.clear();
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
