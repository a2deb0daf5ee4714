//! `twindex eval`: figures that claims rest on; one file a command.

mod figures;
mod nway;
mod oneshot;
mod retrieval;
mod verify;

use super::error::CliError;
use super::output::Output;
use super::progress::Bar;
use super::serve;
use crate::encoder::Encoder;
use crate::training::dataset::Folder;
use crate::training::evaluate::{Embedded, EvalError, embed_folder};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Options of `eval`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Weights file; the bundled encoder if not given
    #[arg(long, global = true, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Seed of what is drawn at random
    #[arg(long, global = true, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The one-shot runs as published with Omniglot
    Oneshot(oneshot::Args),
    /// N-way K-shot classification by the nearest example
    Nway(nway::Args),
    /// Same or different: ROC AUC, EER, FRR at a given FAR
    Verify(verify::Args),
    /// Recall@k and mean average precision, each image against all others
    Retrieval(retrieval::Args),
}

/// What the commands have in common.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    encoder: &'a Encoder,
    seed: u64,
    out: &'a Output,
}

impl From<EvalError> for CliError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Encoder(_) => Self::failed(error.to_string()),
            _ => Self::invalid(error.to_string()),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A model or data that cannot be read, or parameters that do not fit the data.
pub fn run(args: &Args, out: &Output) -> Result<(), CliError> {
    let encoder = serve::encoder(args.model.as_deref())?;
    let setting = Setting {
        encoder: &encoder,
        seed: args.seed,
        out,
    };
    let (mut result, table) = match &args.command {
        Command::Oneshot(args) => oneshot::run(args, &setting),
        Command::Nway(args) => nway::run(args, &setting),
        Command::Verify(args) => verify::run(args, &setting),
        Command::Retrieval(args) => retrieval::run(args, &setting),
    }?;
    result.insert("model".into(), json!(encoder.version()));
    result.insert("seed".into(), json!(args.seed));
    if out.is_json() {
        return out.json(&Value::Object(result));
    }
    out.table(&["", ""], &table)?;
    out.line(&format!("model {}, seed {}", encoder.version(), args.seed))
}

fn embedded(setting: &Setting, data: &Path) -> Result<Vec<Embedded>, CliError> {
    let folder = Folder::open_whole(data).map_err(EvalError::from)?;
    let bar = Bar::new(setting.out, "embedding", folder.labelled() as u64);
    let classes = embed_folder(setting.encoder, &folder, &|n| bar.add(n as u64))?;
    bar.finish();
    Ok(classes)
}
