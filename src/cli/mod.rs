//! The command line: one file a command.
//!
//! Tables for people by default, one JSON object with `--json`. Exit codes: 0 done, 1 failed,
//! 2 wrong usage, 3 not found, 4 unavailable, 5 invalid input, 6 done in part,
//! 7 leakage between training and test images, 130 interrupted.

mod assign;
mod backbones;
mod calibrate;
mod classify;
mod client;
mod collection;
mod compare;
mod completions;
mod contact_sheet;
mod decide;
mod delete;
mod embed;
mod error;
mod eval;
mod get;
mod health;
mod import;
mod limits;
mod model;
mod operation;
mod output;
mod progress;
mod quickstart;
mod recall;
mod recipe;
mod report;
mod search;
mod serve;
mod stats;
mod train;
mod verify;

use clap::{Parser, Subcommand};
use error::CliError;
use output::Output;
use std::process::ExitCode;

/// The similarity-search database that learns what similar means
#[derive(Debug, Parser)]
#[command(name = "twindex", version, arg_required_else_help = true)]
struct Cli {
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// No progress and no notes
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Args),
    /// A tour in ten seconds: enrol, classify, retrieve, compare; then serve on
    Quickstart(quickstart::Args),
    /// Train an encoder on a folder of labelled images, or on a collection
    Train(train::Args),
    /// Show the recipes that train follows
    Recipe(recipe::Args),
    /// Measure an encoder
    Eval(eval::Args),
    /// Create, list, show and delete collections
    Collection(collection::Args),
    /// Import, train, list, show, export and delete models
    Model(model::Args),
    /// What runs long in the server: list, show, wait, cancel, delete
    Operation(operation::Args),
    /// Put a folder of labelled images into a collection
    Import(import::Args),
    /// Find the nearest items
    Search(search::Args),
    /// Name the label of an image by the enrolled examples
    Classify(classify::Args),
    /// Name the labels of images that show each label at most once
    Assign(assign::Args),
    /// Learn thresholds and probabilities from a collection's labels
    Calibrate(calibrate::Args),
    /// Tell how alike two images are
    Compare(compare::Args),
    /// Tell whether an image is what it claims to be
    Verify(verify::Args),
    /// Turn images into vectors
    Embed(embed::Args),
    /// Show an item
    Get(get::Args),
    /// Delete items
    Delete(delete::Args),
    /// Counts and sizes of a collection
    Stats(stats::Args),
    /// Measure how much of the true nearest searches of a collection find
    Recall(recall::Args),
    /// Tell whether the server serves: exit code 0, or 4 if not
    Health(health::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logs(cli.quiet);
    let out = Output::new(cli.json, cli.quiet);
    match run(cli.command, &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(&error);
            error.exit_code()
        }
    }
}

/// Logs go to standard error; `RUST_LOG` says which (by default warnings).
fn logs(quiet: bool) {
    use tracing_subscriber::EnvFilter;
    let default = if quiet {
        "error"
    } else {
        "warn,twindex=info,twindex::cli=info"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    let _ = logs.with_writer(std::io::stderr).try_init();
}

fn run(command: Command, out: &Output) -> Result<(), CliError> {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .enable_all()
            .build()
            .map_err(|e| CliError::failed(format!("starting: {e}")))
    };
    match command {
        Command::Train(args) => match args.collection() {
            None => train::run(&args, out),
            Some(name) => runtime()?.block_on(train::in_server(args, name, out)),
        },
        Command::Recipe(args) => recipe::run(&args, out),
        Command::Eval(args) => eval::run(&args, out),
        Command::Completions(args) => completions::run(&args, out),
        Command::Serve(args) => runtime()?.block_on(serve::run(args, out)),
        Command::Quickstart(args) => runtime()?.block_on(quickstart::run(args, out)),
        Command::Collection(args) => runtime()?.block_on(collection::run(args, out)),
        Command::Model(args) => runtime()?.block_on(model::run(args, out)),
        Command::Operation(args) => runtime()?.block_on(operation::run(args, out)),
        Command::Import(args) => runtime()?.block_on(import::run(args, out)),
        Command::Search(args) => runtime()?.block_on(search::run(args, out)),
        Command::Classify(args) => runtime()?.block_on(classify::run(args, out)),
        Command::Assign(args) => runtime()?.block_on(assign::run(args, out)),
        Command::Calibrate(args) => runtime()?.block_on(calibrate::run(args, out)),
        Command::Compare(args) => runtime()?.block_on(compare::run(args, out)),
        Command::Verify(args) => runtime()?.block_on(verify::run(args, out)),
        Command::Embed(args) => runtime()?.block_on(embed::run(args, out)),
        Command::Get(args) => runtime()?.block_on(get::run(args, out)),
        Command::Delete(args) => runtime()?.block_on(delete::run(args, out)),
        Command::Stats(args) => runtime()?.block_on(stats::run(args, out)),
        Command::Recall(args) => runtime()?.block_on(recall::run(args, out)),
        Command::Health(args) => runtime()?.block_on(health::run(args, out)),
    }
}
