//! `twindex eval nway`: N-way K-shot classification.

use super::data::Data;
use super::figures::{Found, figure, percent, rate, rate_json};
use super::{Measured, Setting, Shared};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::training::evaluate::{drawers, nway};
use serde_json::json;
use std::path::PathBuf;
use std::sync::OnceLock;

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
    /// Every ordered pair of drawers of a parent folder in place of random trials: examples
    /// by the one, probes by the other; who drew an image says the number its name ends in
    #[arg(long, requires = "within_parent", conflicts_with_all = ["trials", "shots"])]
    all_drawers: bool,
    #[command(flatten)]
    pub shared: Shared,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or parameters that do not fit them.
pub fn run(args: &Args, setting: &Setting) -> Result<Measured, CliError> {
    let task = nway::Task {
        ways: args.ways,
        shots: args.shots,
        trials: args.trials,
        within_parent: args.within_parent,
        seed: setting.seed,
    };
    task.check()?;
    let data = Data::open(setting, &args.data)?;
    let mut found = if args.all_drawers {
        all_drawers(&data, args.ways, setting)?
    } else {
        let trials = nway::Trials::new(&data.classes, &task)?;
        let bar = Bar::new(setting.out, "trials", task.trials);
        let tally = trials.tally(&|n| bar.add(n));
        bar.finish();
        let mut found = Found::default();
        rate_json(&mut found, &tally.total);
        found.row("error", rate(&tally.total));
        found.sections = data.sections(&tally);
        found
    };
    data.describe(&args.data, &mut found)?;
    Ok(Measured {
        found,
        files: data.files(),
    })
}

fn all_drawers(data: &Data, ways: usize, setting: &Setting) -> Result<Found, CliError> {
    let task = drawers::Task {
        ways,
        seed: setting.seed,
    };
    let bar = OnceLock::new();
    let progress = |n: usize, of: usize| {
        let new = || Bar::new(setting.out, "pairs of drawers", of as u64);
        bar.get_or_init(new).add(n as u64);
    };
    let drawn_by = drawers::drawers(&data.folder);
    let all = drawers::run(&data.classes, &drawn_by, &task, &progress)?;
    if let Some(bar) = bar.get() {
        bar.finish();
    }
    let total = &all.tally.total;
    let mut found = Found::default();
    found.member("error_rate", all.error.value);
    found.member("ci95", json!(all.error.ci95));
    found.member("interval", "bootstrap over classes");
    found.member("trials", total.trials);
    found.member("parents", all.parents);
    found.member("pairs_of_drawers", all.pairs);
    found.row("error", figure(&all.error, percent));
    let of = format!(
        "{} of {}: {} pairs of drawers, {} parent folders",
        total.errors, total.trials, all.pairs, all.parents
    );
    found.row("errors", of);
    found.sections = data.sections(&all.tally);
    Ok(found)
}
