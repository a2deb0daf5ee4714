//! `twindex eval oneshot`: the runs as published.

use super::Setting;
use super::figures::{Figures, rate_json, rate_row};
use crate::cli::error::CliError;
use crate::training::evaluate::runs;
use crate::training::evaluate::stats::Rate;
use serde_json::json;
use std::path::PathBuf;

/// Options of `eval oneshot`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of the runs: a class list, training and test images in each
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Runs that cannot be read.
pub fn run(args: &Args, setting: &Setting) -> Result<Figures, CliError> {
    let all = runs::run(setting.encoder, &args.runs)?;
    let total = Rate {
        errors: all.iter().map(|r| r.rate.errors).sum(),
        trials: all.iter().map(|r| r.rate.trials).sum(),
    };
    let mut table: Vec<_> = all.iter().map(|r| rate_row(&r.name, &r.rate)).collect();
    table.push(rate_row("overall", &total));
    let mut object = rate_json(&total);
    let each = all
        .iter()
        .map(|r| json!({ "run": r.name, "error_rate": r.rate.rate(), "trials": r.rate.trials }));
    object.insert("runs".into(), each.collect());
    Ok((object, table))
}
