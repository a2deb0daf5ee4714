//! `twindex health`: whether the server serves, as `grpc.health.v1` has it.

use super::client::{ServerArgs, innermost};
use super::error::CliError;
use super::output::Output;
use serde_json::json;
use std::time::Duration;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Options of `health`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// Who supervises a server gives its check five seconds or so.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs the command.
///
/// # Errors
/// A bad address, nobody answers there, or the server as a whole does not serve.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let url = args.server.server;
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(|e| CliError::invalid(format!("--server {url}: {e}")))?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE);
    let channel = endpoint
        .connect()
        .await
        .map_err(|e| CliError::unavailable(format!("no server at {url}: {}", innermost(&e))))?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map_err(|e| CliError::unavailable(format!("{url}: {}", e.message())))?;
    let status = answer.into_inner().status();
    if status != ServingStatus::Serving {
        let error = CliError::unavailable(format!("{url}: {}", status.as_str_name()));
        return Err(error.with_hint("it is stopping, or its disk has failed: see its log"));
    }
    if out.is_json() {
        return out.json(&json!({ "status": status.as_str_name() }));
    }
    out.line("serving")
}
