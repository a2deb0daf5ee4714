//! `twindex eval oneshot`: the runs as published.

use super::figures::{Found, rate, rate_json};
use super::{Measured, Setting, Shared};
use crate::cli::error::CliError;
use crate::training::evaluate::runs;
use crate::training::evaluate::stats::Rate;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Options of `eval oneshot`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of the runs: a class list, training and test images in each
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    #[command(flatten)]
    pub shared: Shared,
}

/// Runs the command.
///
/// # Errors
/// Runs that cannot be read.
pub fn run(args: &Args, setting: &Setting) -> Result<Measured, CliError> {
    let all = runs::run(setting.encoder, &args.runs)?;
    let total = Rate {
        errors: all.iter().map(|r| r.rate.errors).sum(),
        trials: all.iter().map(|r| r.rate.trials).sum(),
    };
    let mut found = Found::default();
    rate_json(&mut found, &total);
    let each = all.iter().map(|r| {
        let ci95 = r.rate.ci95();
        json!({ "run": r.name, "error_rate": r.rate.rate(), "trials": r.rate.trials, "ci95": ci95 })
    });
    found.member("runs", each.collect::<Value>());
    for run in &all {
        found.row(&run.name, rate(&run.rate));
    }
    found.row("overall", rate(&total));
    Ok(Measured {
        found,
        files: all.into_iter().flat_map(|r| r.files).collect(),
    })
}
