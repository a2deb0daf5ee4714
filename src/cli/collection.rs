//! `twindex collection`: create, list, show and delete collections.

use super::client::{Client, PAGE, ServerArgs, pages, views};
use super::error::CliError;
use super::output::Output;
use crate::grpc::pb;
use crate::grpc::pb::collection_service_client::CollectionServiceClient;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use tonic::transport::Channel;

/// Options of `collection`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Create a collection: of images, or of vectors where a dimension is given
    Create(Create),
    /// List the collections
    List,
    /// Show one collection
    Show {
        /// Its name
        name: String,
    },
    /// Index a payload field, so that filters on it are answered from memory
    Index {
        /// The collection's name
        name: String,
        /// Dotted path of the field
        field: String,
        /// Forget the index instead
        #[arg(long)]
        delete: bool,
    },
    /// Delete a collection and everything in it
    Delete {
        /// Its name
        name: String,
        /// Do it, without asking
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Create {
    /// Its name: a-z, 0-9, - and _
    name: String,
    /// Dimension of the vectors that clients bring; without it images are embedded
    #[arg(long, value_name = "N")]
    dimension: Option<u32>,
    /// Version of the model that embeds images; the server's default if not given
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "",
        conflicts_with = "dimension"
    )]
    model: String,
    /// How far apart two vectors are
    #[arg(long, value_enum, default_value_t = Metric::Cosine)]
    metric: Metric,
    /// What it is for
    #[arg(long, default_value = "")]
    description: String,
    /// Do not keep source images
    #[arg(long)]
    discard_images: bool,
    /// Embed images by the mean of so many views of them, 1 to 32, at so many times the work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = views, conflicts_with = "dimension")]
    views: u32,
    /// Part of the true nearest that searches find on average, 0.5 to 1
    #[arg(long, value_name = "R", default_value_t = 0.98)]
    recall_target: f32,
    /// Where vectors lie while the collection is served: on disk takes less memory
    #[arg(long, value_enum, default_value_t = Storage::Memory)]
    vectors: Storage,
    /// Links a graph node keeps, 2 to 128
    #[arg(long, default_value_t = 16)]
    m: u32,
    /// Candidates considered for a node's links, 8 to 4,096
    #[arg(long, default_value_t = 200)]
    ef_construction: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Metric {
    Cosine,
    Euclidean,
    Dot,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Storage {
    Memory,
    Disk,
}

fn to_json(c: &pb::Collection) -> Value {
    json!({
        "name": c.name,
        "description": c.description,
        "metric": metric(c),
        "dimension": c.dimension,
        "model": c.model_version,
        "m": c.m,
        "ef_construction": c.ef_construction,
        "keeps_images": !c.discard_images,
        "views": c.views,
        "recall_target": c.recall_target,
        "vectors": storage(c),
        "payload_indexes": c.payload_indexes.iter().map(index).collect::<Vec<_>>(),
    })
}

fn index(index: &pb::PayloadIndex) -> Value {
    json!({ "field": index.field, "ready": index.ready })
}

fn storage(c: &pb::Collection) -> &'static str {
    match c.vector_storage() {
        pb::VectorStorage::Disk => "disk",
        _ => "memory",
    }
}

fn metric(c: &pb::Collection) -> &'static str {
    match c.metric() {
        pb::Metric::Euclidean => "euclidean",
        pb::Metric::Dot => "dot",
        _ => "cosine",
    }
}

fn show(out: &Output, all: &[pb::Collection]) -> Result<(), CliError> {
    let rows = all.iter().map(|c| {
        let model = if c.model_version.is_empty() {
            "(clients bring vectors)"
        } else {
            &c.model_version
        };
        vec![
            c.name.clone(),
            metric(c).to_owned(),
            c.dimension.to_string(),
            model.to_owned(),
            c.description.clone(),
        ]
    });
    let header = ["name", "metric", "dimension", "model", "description"];
    out.table(&header, &rows.collect::<Vec<_>>())
}

/// Runs the command.
///
/// # Errors
/// What the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.collections;
    match args.command {
        Command::Create(create) => {
            let metric = match create.metric {
                Metric::Cosine => pb::Metric::Cosine,
                Metric::Euclidean => pb::Metric::Euclidean,
                Metric::Dot => pb::Metric::Dot,
            };
            let source = match create.dimension {
                Some(_) => pb::Source::Vector,
                None => pb::Source::Image,
            };
            let collection = pb::Collection {
                name: create.name,
                description: create.description,
                metric: metric.into(),
                dimension: create.dimension.unwrap_or_default(),
                source: source.into(),
                model_version: create.model,
                m: create.m,
                ef_construction: create.ef_construction,
                discard_images: create.discard_images,
                views: create.views,
                recall_target: create.recall_target,
                vector_storage: match create.vectors {
                    Storage::Memory => pb::VectorStorage::Memory.into(),
                    Storage::Disk => pb::VectorStorage::Disk.into(),
                },
                ..pb::Collection::default()
            };
            let request = pb::CreateCollectionRequest {
                collection: Some(collection),
                request_id: String::new(),
            };
            let created = client.create_collection(request).await?.into_inner();
            one(out, created.collection)
        }
        Command::List => {
            let all = pages(async |page_token| {
                let request = pb::ListCollectionsRequest {
                    page_size: PAGE,
                    page_token,
                };
                let page = client.list_collections(request).await?.into_inner();
                Ok((page.collections, page.next_page_token))
            })
            .await?;
            if out.is_json() {
                let all: Vec<Value> = all.iter().map(to_json).collect();
                return out.json(&json!({ "collections": all }));
            }
            show(out, &all)
        }
        Command::Show { name } => {
            let request = pb::GetCollectionRequest { name };
            one(
                out,
                client
                    .get_collection(request)
                    .await?
                    .into_inner()
                    .collection,
            )
        }
        Command::Index {
            name,
            field,
            delete: false,
        } => create_index(&mut client, out, name, field).await,
        Command::Index { name, field, .. } => {
            let request = pb::DeletePayloadIndexRequest {
                collection: name,
                field: field.clone(),
                request_id: String::new(),
            };
            client.delete_payload_index(request).await?;
            if out.is_json() {
                return out.json(&json!({ "deleted": field }));
            }
            out.line(&format!("filters on {field} read records again"))
        }
        Command::Delete { name, .. } => {
            let request = pb::DeleteCollectionRequest {
                name: name.clone(),
                request_id: String::new(),
            };
            client.delete_collection(request).await?;
            if out.is_json() {
                return out.json(&json!({ "deleted": name }));
            }
            out.line(&format!("deleted {name}"))
        }
    }
}

fn one(out: &Output, collection: Option<pb::Collection>) -> Result<(), CliError> {
    let collection = collection.unwrap_or_default();
    if out.is_json() {
        return out.json(&to_json(&collection));
    }
    show(out, &[collection])
}

async fn create_index(
    client: &mut CollectionServiceClient<Channel>,
    out: &Output,
    collection: String,
    field: String,
) -> Result<(), CliError> {
    let request = pb::CreatePayloadIndexRequest {
        collection,
        field,
        request_id: String::new(),
    };
    let made = client.create_payload_index(request).await?.into_inner();
    let made = made.payload_index.unwrap_or_default();
    if out.is_json() {
        return out.json(&index(&made));
    }
    let state = if made.ready {
        "ready"
    } else {
        "being built in the background"
    };
    out.line(&format!("{}: {state}", made.field))
}
