//! `twindex eval nway`: N-way K-shot classification.

use super::figures::{Figures, rate_json, rate_row};
use super::{Setting, embedded};
use crate::cli::error::CliError;
use crate::training::evaluate::nway;
use std::path::PathBuf;

/// Options of `eval nway`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Classes of a trial
    #[arg(long, value_name = "N", default_value_t = 20)]
    ways: usize,
    /// Examples of each class
    #[arg(long, value_name = "K", default_value_t = 1)]
    shots: usize,
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    trials: u64,
    /// Classes of one parent folder (one alphabet)
    #[arg(long)]
    within_parent: bool,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or parameters that do not fit them.
pub fn run(args: &Args, setting: &Setting) -> Result<Figures, CliError> {
    let task = nway::Task {
        ways: args.ways,
        shots: args.shots,
        trials: args.trials,
        within_parent: args.within_parent,
        seed: setting.seed,
    };
    task.check()?;
    let rate = nway::run(&embedded(setting, &args.data)?, &task)?;
    Ok((rate_json(&rate), vec![rate_row("error", &rate)]))
}
