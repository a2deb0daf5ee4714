//! `twindex serve`: the service.

use super::backbones::BackboneArgs;
use super::error::CliError;
use super::limits::LimitArgs;
use super::output::Output;
use crate::encoder::{Encoder, PoolOptions};
use crate::engine::{self, Engine};
use crate::grpc::{Server, ServerOptions};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Directory of the database; made if it is not there
    #[arg(
        long,
        env = "TWINDEX_DATA",
        default_value = "./twindex-data",
        value_name = "DIR"
    )]
    pub data: PathBuf,
    /// Address to listen on; port 0 takes a free one, and `--json` tells which
    #[arg(
        long,
        env = "TWINDEX_LISTEN",
        default_value = "127.0.0.1:8946",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// Weights file of the encoder; the bundled one if not given
    #[arg(long, env = "TWINDEX_MODEL", value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Threads that embed images; one a core if not given
    #[arg(long, env = "TWINDEX_ENCODER_THREADS", value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub encoder_threads: Option<u16>,
    #[command(flatten)]
    backbones: BackboneArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The encoder in a file, or the bundled one.
///
/// # Errors
/// The file is not a model.
pub fn encoder(model: Option<&Path>) -> Result<Arc<Encoder>, CliError> {
    match model {
        None => Encoder::bundled().map_err(|e| CliError::failed(e.to_string())),
        Some(path) => Encoder::load(path)
            .map(Arc::new)
            .map_err(|e| CliError::invalid(format!("--model {}: {e}", path.display()))),
    }
}

/// Opens the database and binds the address.
///
/// # Errors
/// The database cannot be opened, or the address not be bound.
pub async fn open(args: &Args) -> Result<Server, CliError> {
    let mut pool = PoolOptions::default();
    if let Some(threads) = args.encoder_threads {
        pool.threads = usize::from(threads);
    }
    let options = engine::Options {
        pool,
        limits: args.limits.engine(),
        ..engine::Options::default()
    };
    args.backbones.load()?;
    let encoder = Encoder::clone(&*encoder(args.model.as_deref())?);
    let encoder = Arc::new(encoder.with_limits(args.limits.images()));
    let data = args.data.clone();
    let opened = tokio::task::spawn_blocking(move || Engine::open(&data, encoder, &options));
    let opened = opened.await.map_err(|e| CliError::failed(e.to_string()))?;
    let engine =
        opened.map_err(|e| CliError::failed(format!("opening {}: {e}", args.data.display())))?;
    Server::bind(args.listen, Arc::new(engine), ServerOptions::default())
        .await
        .map_err(|e| {
            let error = CliError::failed(format!("listening on {}: {e}", args.listen));
            error.with_hint("is another server running? --listen names another address")
        })
}

/// Serves until interrupted or terminated. Says where, once connections are taken.
///
/// # Errors
/// See [`open`]; the transport fails.
pub async fn run(args: Args, out: &Output) -> Result<(), CliError> {
    let server = open(&args).await?;
    let address = server
        .address()
        .map_err(|e| CliError::failed(e.to_string()))?;
    let (version, data) = (env!("CARGO_PKG_VERSION"), args.data.display());
    if out.is_json() {
        out.json(&json!({
            "url": format!("http://{address}"),
            "data": data.to_string(),
            "version": version,
        }))?;
    } else {
        out.note(&format!(
            "twindex {version} serves {data} on http://{address}"
        ));
    }
    server
        .serve(asked_to_stop())
        .await
        .map_err(|e| CliError::failed(e.to_string()))?;
    out.note("stopped; everything accepted is on disk");
    Ok(())
}

/// Resolves on SIGINT, or on SIGTERM where there is one.
pub async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
