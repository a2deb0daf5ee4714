//! `twindex eval methods`: nearest example, vote or prototype: which is best here.

use super::data::Data;
use super::figures::Found;
use super::{Measured, Setting, Shared};
use crate::cli::decide::percent;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::training::evaluate::methods::{METHODS, Mean, Methods, Task, run as measure};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Options of `eval methods`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Examples of each class
    #[arg(long, value_name = "K", default_value_t = 5)]
    shots: usize,
    /// Examples that vote
    #[arg(long, value_name = "N", default_value_t = 5)]
    votes: usize,
    /// Draws of the examples
    #[arg(long, value_name = "N", default_value_t = 10)]
    repetitions: u64,
    #[command(flatten)]
    pub shared: Shared,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or parameters that do not fit it.
pub fn run(args: &Args, setting: &Setting) -> Result<Measured, CliError> {
    let task = Task {
        shots: args.shots,
        votes: args.votes,
        repetitions: args.repetitions,
        seed: setting.seed,
    };
    let data = Data::open(setting, &args.data)?;
    let bar = Bar::new(setting.out, "classifying", args.repetitions);
    let all = measure(&data.classes, &task, &|n| bar.add(n as u64))?;
    bar.finish();
    let mut found = Found::default();
    figures(&all, &mut found);
    data.describe(&args.data, &mut found)?;
    Ok(Measured {
        found,
        files: data.files(),
    })
}

fn interval(mean: &Mean) -> String {
    let (low, high) = (mean.mean - mean.reach, mean.mean + mean.reach);
    format!(
        "{} (95 % within {} to {})",
        percent(mean.mean),
        percent(low.max(-1.0)),
        percent(high.min(1.0))
    )
}

fn mean_json(mean: &Mean) -> Value {
    json!({ "mean": mean.mean, "ci95": [mean.mean - mean.reach, mean.mean + mean.reach] })
}

fn figures(all: &Methods, found: &mut Found) {
    for (place, name) in METHODS.iter().enumerate() {
        let right = &all.accuracy[place];
        found.row(*name, format!("{} right", interval(right)));
        let of = json!({
            "accuracy": mean_json(right),
            "behind_best": mean_json(&all.lead[place]),
            "proven_worse": all.proven(place),
        });
        found.member(name, of);
    }
    let best = METHODS[all.best];
    found.row("best", best);
    found.member("best", best);
    for (place, name) in METHODS.iter().enumerate() {
        if place != all.best {
            let proof = if all.proven(place) {
                "beyond chance"
            } else {
                "not beyond chance"
            };
            let text = format!("by {}, {proof}", interval(&all.lead[place]));
            found.row(format!("{best} before {name}"), text);
        }
    }
    found.row(
        "probes",
        format!("{} of {} classes", all.probes, all.classes),
    );
    found.member("probes", all.probes);
    found.member("classes", all.classes);
}
