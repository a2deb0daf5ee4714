//! `twindex operation`: what runs long in the server.

use super::client::{Client, PAGE, ServerArgs, pages};
use super::error::CliError;
use super::output::Output;
use crate::grpc::longrunning::operation::Result as Ended;
use crate::grpc::longrunning::operations_client::OperationsClient;
use crate::grpc::longrunning::{self as lro, Operation};
use crate::grpc::pb;
use clap::Subcommand;
use prost::Message;
use serde_json::{Value, json};
use tonic::transport::Channel;

/// Options of `operation`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// List the operations, the oldest first
    List,
    /// Show one as it stands
    Show {
        /// Its name
        name: String,
    },
    /// Wait until one has ended, and tell how far it is
    Wait {
        /// Its name
        name: String,
    },
    /// Ask one to end
    Cancel {
        /// Its name
        name: String,
    },
    /// Forget one that has ended; what it made stays
    Delete {
        /// Its name
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// What the server answers; with `wait`, that nothing came of the operation.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let mut client = Client::connect(&args.server).await?.operations;
    match args.command {
        Command::List => {
            let all = pages(async |page_token| {
                let request = lro::ListOperationsRequest {
                    page_size: PAGE,
                    page_token,
                    ..lro::ListOperationsRequest::default()
                };
                let page = client.list_operations(request).await?.into_inner();
                Ok((page.operations, page.next_page_token))
            })
            .await?;
            if out.is_json() {
                let all: Vec<Value> = all.iter().map(to_json).collect();
                return out.json(&json!({ "operations": all }));
            }
            table(out, &all)
        }
        Command::Show { name } => {
            let request = lro::GetOperationRequest { name };
            let shown = client.get_operation(request).await.map_err(hint)?;
            tell(out, &shown.into_inner())
        }
        Command::Wait { name } => {
            let ended = wait(client, name, out).await?;
            result(&ended)?;
            tell(out, &ended)
        }
        Command::Cancel { name } => {
            let request = lro::CancelOperationRequest { name: name.clone() };
            client.cancel_operation(request).await.map_err(hint)?;
            done(out, "cancelled", &name)
        }
        Command::Delete { name } => {
            let request = lro::DeleteOperationRequest { name: name.clone() };
            client.delete_operation(request).await.map_err(hint)?;
            done(out, "deleted", &name)
        }
    }
}

fn hint(status: tonic::Status) -> CliError {
    let not_found = status.code() == tonic::Code::NotFound;
    let error = CliError::from(status);
    if not_found {
        return error.with_hint("`twindex operation list` shows what there is");
    }
    error
}

fn done(out: &Output, what: &str, name: &str) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(&json!({ what: name }));
    }
    out.line(&format!("{what} {name}"))
}

fn about(operation: &Operation) -> pb::TrainModelMetadata {
    let metadata = operation.metadata.as_ref();
    let decoded = metadata.map(|any| pb::TrainModelMetadata::decode(&*any.value));
    decoded.and_then(Result::ok).unwrap_or_default()
}

/// Waits until it has ended, telling how far it is every few seconds.
///
/// # Errors
/// What the server answers.
pub async fn wait(
    mut client: OperationsClient<Channel>,
    name: String,
    out: &Output,
) -> Result<Operation, CliError> {
    loop {
        let request = lro::WaitOperationRequest {
            name: name.clone(),
            timeout: Some(prost_types::Duration {
                seconds: 5,
                nanos: 0,
            }),
        };
        let waited = client.wait_operation(request).await.map_err(hint)?;
        let operation = waited.into_inner();
        if operation.done {
            return Ok(operation);
        }
        if out.shows_progress() {
            out.note(&state(&operation));
        }
    }
}

/// What it made.
///
/// # Errors
/// Nothing: why.
pub fn result(operation: &Operation) -> Result<pb::TrainModelResponse, CliError> {
    match &operation.result {
        Some(Ended::Response(any)) => pb::TrainModelResponse::decode(&*any.value)
            .map_err(|e| CliError::failed(format!("the answer cannot be read: {e}"))),
        Some(Ended::Error(status)) => {
            let code = tonic::Code::from(status.code);
            let text = format!("{}: {}", operation.name, status.message);
            Err(match code {
                tonic::Code::Cancelled => CliError::interrupted(text),
                tonic::Code::FailedPrecondition => CliError::invalid(text),
                _ => CliError::failed(text),
            })
        }
        None => Err(CliError::failed(format!(
            "{} has not ended",
            operation.name
        ))),
    }
}

/// In words: how far it is, or how it ended.
fn state(operation: &Operation) -> String {
    let metadata = about(operation);
    match &operation.result {
        Some(Ended::Error(status)) => format!("failed: {}", status.message),
        Some(Ended::Response(_)) => match result(operation) {
            Ok(made) => format!("made {}", made.model_version),
            Err(error) => error.to_string(),
        },
        None if metadata.waiting => "waiting".to_owned(),
        None => format!(
            "{:3.0} %  step {}, loss {:.3}, {} s left",
            100.0 * metadata.fraction,
            metadata.step,
            metadata.loss,
            metadata.time_left.map_or(0, |left| left.seconds)
        ),
    }
}

fn to_json(operation: &Operation) -> Value {
    let metadata = about(operation);
    let error = match &operation.result {
        Some(Ended::Error(status)) => Some(&status.message),
        _ => None,
    };
    json!({
        "operation": operation.name,
        "done": operation.done,
        "waiting": metadata.waiting,
        "collection": metadata.collection,
        "name": metadata.name,
        "step": metadata.step,
        "fraction": metadata.fraction,
        "loss": metadata.loss,
        "seconds_left": metadata.time_left.map(|left| left.seconds),
        "model": result(operation).ok().map(|made| made.model_version),
        "error": error,
    })
}

/// Prints it as it stands.
///
/// # Errors
/// Standard output cannot be written to.
pub fn tell(out: &Output, operation: &Operation) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(&to_json(operation));
    }
    table(out, std::slice::from_ref(operation))
}

fn table(out: &Output, all: &[Operation]) -> Result<(), CliError> {
    let rows = all.iter().map(|operation| {
        let metadata = about(operation);
        vec![
            operation.name.clone(),
            format!("train {} on {}", metadata.name, metadata.collection),
            state(operation),
        ]
    });
    out.table(&["operation", "what", "state"], &rows.collect::<Vec<_>>())
}
