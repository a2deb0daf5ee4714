//! `twindex eval oneshot`: the runs as published.

use super::data::{PAIRS, name};
use super::figures::{Found, rate, rate_json};
use super::{Measured, Setting, Shared};
use crate::cli::error::CliError;
use crate::cli::report::{Gallery, Pair, Section};
use crate::training::evaluate::runs::{self, Mistake, Run};
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
    let all = runs::run(setting.encoder, &args.runs, setting.views)?;
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
    found.sections.push(mistakes(&all));
    Ok(Measured {
        found,
        files: all.into_iter().flat_map(|r| r.files).collect(),
    })
}

fn mistakes(all: &[Run]) -> Section {
    let mut wrong: Vec<(&Run, &Mistake)> = all
        .iter()
        .flat_map(|run| run.wrong.iter().map(move |m| (run, m)))
        .collect();
    let margin = |m: &Mistake| m.similarity - m.own_similarity;
    wrong.sort_by(|a, b| margin(b.1).total_cmp(&margin(a.1)));
    let pair = |(run, m): &(&Run, &Mistake)| Pair {
        pictures: [&m.test, &m.taken_for].map(|f| (f.clone(), format!("{} {}", run.name, name(f)))),
        text: format!(
            "similarity {:.3}, and {:.3} to the right one",
            m.similarity, m.own_similarity
        ),
    };
    Section::Pairs(Gallery {
        title: "Worst confusions".into(),
        note: "Left the test image, right the training image of another class that it was \
               nearest to; the widest margins first."
            .into(),
        pairs: wrong.iter().take(PAIRS).map(pair).collect(),
    })
}
