//! `twindex model`: import, train, list, show, export and delete models.

use super::client::{Client, PAGE, ServerArgs, pages};
use super::error::CliError;
use super::operation;
use super::output::Output;
use crate::encoder::Weights;
use crate::encoder::weights::read_file;
use crate::grpc::{from_struct, pb};
use bytes::Bytes;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use tonic::transport::Channel;

type Models = pb::model_service_client::ModelServiceClient<Channel>;

/// Bytes of a weights file in one message.
const PIECE: usize = 1 << 20;

/// Options of `model`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Take a weights file in; the server checks it first
    Import {
        /// The file, as `train` writes it
        file: PathBuf,
        /// Name instead of the one in its card: a-z, 0-9, -, _ and .
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Train a model on the labelled images of a collection, in the server
    Train(Train),
    /// List the models, the server's own among them
    List,
    /// Show one model with its card: of the server, or in a file
    Show {
        /// Its version
        #[arg(required_unless_present = "file")]
        version: Option<String>,
        /// Show what is in this file; no server is asked
        #[arg(long, value_name = "FILE", conflicts_with = "version")]
        file: Option<PathBuf>,
    },
    /// Write a model's weights file
    Export {
        /// Its version
        version: String,
        /// The file to write; one that is there is not touched
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Delete a model that no collection pins
    Delete {
        /// Its version
        version: String,
        /// Do it, without asking
        #[arg(long, required = true)]
        yes: bool,
    },
}

/// A training in the server.
#[derive(Debug, Clone, clap::Args)]
pub struct Train {
    /// The collection; it is not changed
    pub collection: String,
    /// Name of the new model; the collection's if not given
    #[arg(long, default_value = "")]
    pub name: String,
    /// How long to train, in minutes; 10 if not given
    #[arg(long, value_name = "N")]
    pub minutes: Option<f64>,
    /// Steps to take instead: the same weights on every run
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    pub steps: Option<u64>,
    /// Seed of weights, samples and augmentation; 7 if not given
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Recipe, by name (`twindex recipe` lists them); if not given, that of the collection's
    /// model
    #[arg(long, value_name = "NAME", default_value = "")]
    pub recipe: String,
    /// What is minimised; `twindex train --help` tells what there is
    #[arg(long, value_name = "NAME", alias = "loss", default_value = "")]
    pub objective: String,
    /// Write the new model's weights file, too, and its card beside it as .json; what is there
    /// is not touched
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Do not wait for it: `twindex operation` asks about it
    #[arg(long, conflicts_with = "out")]
    pub detach: bool,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or written; what the server answers.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    if let Command::Show {
        file: Some(file), ..
    } = &args.command
    {
        return show_file(file, out);
    }
    let all = Client::connect(&args.server).await?;
    let mut client = all.models.clone();
    match args.command {
        Command::Train(args) => train(all, args, out).await,
        Command::Import { file, name } => {
            let messages = messages(&file, name).await?;
            let messages = tokio_stream::iter(messages);
            let imported = client.import_model(messages).await?.into_inner();
            let model = imported.model.unwrap_or_default();
            if out.is_json() {
                return out.json(&to_json(&model));
            }
            out.line(&format!("imported {}", model.version))?;
            out.note(&format!(
                "to use it: twindex collection create NAME --model {}",
                model.version
            ));
            Ok(())
        }
        Command::List => {
            let all = pages(async |page_token| {
                let request = pb::ListModelsRequest {
                    page_size: PAGE,
                    page_token,
                };
                let page = client.list_models(request).await?.into_inner();
                Ok((page.models, page.next_page_token))
            })
            .await?;
            if out.is_json() {
                let all: Vec<Value> = all.iter().map(to_json).collect();
                return out.json(&json!({ "models": all }));
            }
            table(out, &all)
        }
        Command::Show { version, .. } => {
            let version = version.unwrap_or_default();
            let request = pb::GetModelRequest { version };
            let shown = client.get_model(request).await.map_err(hint)?.into_inner();
            let model = shown.model.unwrap_or_default();
            let card = from_struct(shown.card.unwrap_or_default());
            let card = card.map_err(|e| CliError::failed(e.to_string()))?;
            let mut fields = to_json(&model);
            fields["pinned_by"] = json!(shown.collections);
            show(out, fields, card.into_fields())
        }
        Command::Export { version, out: file } => {
            let bytes = export(client, &version, &file).await?;
            if out.is_json() {
                return out.json(&json!({ "model": version, "file": file, "bytes": bytes }));
            }
            out.line(&format!("wrote {}", file.display()))
        }
        Command::Delete { version, .. } => {
            let request = pb::DeleteModelRequest {
                version: version.clone(),
                request_id: String::new(),
            };
            client.delete_model(request).await.map_err(hint)?;
            if out.is_json() {
                return out.json(&json!({ "deleted": version }));
            }
            out.line(&format!("deleted {version}"))
        }
    }
}

/// Writes a model's weights file; tells how many bytes it has.
async fn export(mut client: Models, version: &str, file: &Path) -> Result<usize, CliError> {
    let version = version.to_owned();
    let request = pb::ExportModelRequest { version };
    let mut pieces = client.export_model(request).await.map_err(hint)?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.get_mut().message().await? {
        bytes.extend_from_slice(&piece.data);
    }
    write_new(file, &bytes)?;
    Ok(bytes.len())
}

/// Asks for a training and, unless told otherwise, waits for it. Whoever stops waiting does not
/// stop the training.
///
/// # Errors
/// A file to write that is there already; what the server answers.
pub async fn train(client: Client, args: Train, out: &Output) -> Result<(), CliError> {
    use pb::train_model_request::Length;
    for file in args
        .out
        .iter()
        .flat_map(|file| [file.clone(), card_of(file)])
    {
        // What would be noticed at the end is noticed now.
        write_new(&file, &[])?;
        std::fs::remove_file(&file).map_err(|e| unwritten(&file, &e))?;
    }
    let length = match (args.steps, args.minutes) {
        (Some(steps), _) => Some(Length::Steps(steps)),
        (None, minutes) => minutes.map(Length::Minutes),
    };
    let request = pb::TrainModelRequest {
        collection: args.collection,
        name: args.name,
        length,
        seed: args.seed,
        loss: args.objective,
        recipe: args.recipe,
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    let mut models = client.models;
    let accepted = models.train_model(request).await?.into_inner();
    if args.detach {
        return operation::tell(out, &accepted);
    }
    let name = accepted.name;
    out.note(&format!(
        "{name}: it goes on without this command; `twindex operation cancel {name}` ends it"
    ));
    let ended = operation::wait(client.operations, name, out).await?;
    let made = operation::result(&ended)?;
    if let Some(file) = &args.out {
        let version = &made.model_version;
        let exported = export(models, version, file).await;
        exported.map_err(|e| {
            e.with_hint(format!("`twindex model export {version}` writes it again"))
        })?;
        let bytes = read_file(file).map_err(|e| unreadable(file, &e))?;
        let (_, card) = Weights::parse(&bytes).map_err(|e| unreadable(file, &e))?;
        write_new(&card_of(file), (card.to_json() + "\n").as_bytes())?;
        out.note(&format!("wrote {}", file.display()));
    }
    if out.is_json() {
        return operation::tell(out, &ended);
    }
    out.line(&format!(
        "trained {} in {:.1} minutes on {} images of {} labels",
        made.model_version, made.minutes, made.images, made.classes
    ))
}

fn hint(status: tonic::Status) -> CliError {
    let not_found = status.code() == tonic::Code::NotFound;
    let error = CliError::from(status);
    if not_found {
        return error.with_hint("`twindex model list` shows what there is");
    }
    error
}

/// A weights file as an import's messages. What no server takes is not read whole.
async fn messages(file: &Path, name: String) -> Result<Vec<pb::ImportModelRequest>, CliError> {
    use pb::import_model_request::Content;
    let path = file.to_owned();
    // What the server would refuse is refused here; a backbone need not be at hand.
    let checked = move || {
        let bytes = read_file(&path)?;
        Weights::parse(&bytes).map(|_| Bytes::from(bytes))
    };
    let read = tokio::task::spawn_blocking(checked).await;
    let read = read.map_err(|e| CliError::failed(e.to_string()))?;
    let mut bytes = read.map_err(|e| unreadable(file, &e))?;
    let request_id = uuid::Uuid::now_v7().to_string();
    let mut contents = vec![Content::Header(pb::ImportModelHeader { name, request_id })];
    while !bytes.is_empty() {
        let piece: Bytes = bytes.split_to(bytes.len().min(PIECE));
        contents.push(Content::Data(piece));
    }
    let message = |content| pb::ImportModelRequest {
        content: Some(content),
    };
    Ok(contents.into_iter().map(message).collect())
}

fn unreadable(file: &Path, error: &crate::encoder::Error) -> CliError {
    CliError::invalid(format!("{}: {error}", file.display()))
}

fn show_file(file: &Path, out: &Output) -> Result<(), CliError> {
    let bytes = read_file(file).map_err(|e| unreadable(file, &e))?;
    let (weights, card) = Weights::parse(&bytes).map_err(|e| unreadable(file, &e))?;
    let fields = json!({
        "version": weights.version(&card),
        "name": card.name,
        "architecture": card.architecture,
        "dimension": card.plan.dim,
        "bytes": bytes.len(),
    });
    let card = serde_json::from_str(&card.to_json());
    let card = card.map_err(|e| CliError::failed(e.to_string()))?;
    show(out, fields, card)
}

/// Where the card of a weights file goes.
fn card_of(file: &Path) -> PathBuf {
    file.with_extension("json")
}

/// Writes a file that is not there; whole or not at all.
fn write_new(file: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut made = std::fs::File::create_new(file).map_err(|e| unwritten(file, &e))?;
    let written = made.write_all(bytes).and_then(|()| made.sync_all());
    written.map_err(|e| {
        // The half of it is of no use; why it could not be written is what matters.
        let _ = std::fs::remove_file(file);
        unwritten(file, &e)
    })
}

fn unwritten(file: &Path, error: &std::io::Error) -> CliError {
    CliError::invalid(format!("writing {}: {error}", file.display()))
}

fn to_json(model: &pb::Model) -> Value {
    json!({
        "version": model.version,
        "name": model.name,
        "architecture": model.architecture,
        "dimension": model.dimension,
        "bytes": model.size_bytes,
        "blake3": model.hash,
        "imported_seconds": model.import_time.map(|time| time.seconds),
        "built_in": model.built_in,
        "default": model.default,
        "collections": model.collection_count,
        "damage": (!model.damage.is_empty()).then_some(&model.damage),
    })
}

fn table(out: &Output, all: &[pb::Model]) -> Result<(), CliError> {
    let rows = all.iter().map(|model| {
        let state = match (model.damage.is_empty(), model.default, model.built_in) {
            (false, _, _) => format!("damaged: {}", model.damage),
            (_, true, _) => "default".to_owned(),
            (_, _, true) => "built in".to_owned(),
            _ => String::new(),
        };
        vec![
            model.version.clone(),
            model.architecture.clone(),
            model.dimension.to_string(),
            model.size_bytes.to_string(),
            model.collection_count.to_string(),
            state,
        ]
    });
    let header = [
        "version",
        "architecture",
        "dimension",
        "bytes",
        "collections",
        "state",
    ];
    out.table(&header, &rows.collect::<Vec<_>>())
}

/// A model's fields, then its card's; lists and objects of the card as JSON.
fn show(out: &Output, mut fields: Value, card: Map<String, Value>) -> Result<(), CliError> {
    if out.is_json() {
        fields["card"] = Value::Object(card);
        return out.json(&fields);
    }
    let fields = fields.as_object().cloned().unwrap_or_default();
    let own: Vec<String> = fields.keys().cloned().collect();
    let of_card = card.into_iter().filter(|(name, _)| !own.contains(name));
    let mut rows = Vec::new();
    for (name, value) in fields.into_iter().chain(of_card) {
        match value {
            Value::Null => {}
            Value::String(text) => rows.push(vec![name, text]),
            Value::Array(list) => {
                for value in list {
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    rows.push(vec![name.clone(), text]);
                }
            }
            value => rows.push(vec![name, value.to_string()]),
        }
    }
    out.table(&["", ""], &rows)
}
