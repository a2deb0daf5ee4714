//! `twindex eval`: figures that claims rest on.

use super::error::CliError;
use super::output::Output;
use super::progress::Bar;
use super::serve;
use crate::encoder::Encoder;
use crate::training::dataset::Folder;
use crate::training::evaluate::stats::Rate;
use crate::training::evaluate::{Embedded, EvalError, embed_folder, nway, retrieval, runs, verify};
use clap::Subcommand;
use serde_json::{Map, Value, json};
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
    Oneshot {
        /// Folder of the runs: a class list, training and test images in each
        #[arg(long, value_name = "DIR")]
        runs: PathBuf,
    },
    /// N-way K-shot classification by the nearest example
    Nway {
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
    },
    /// Same or different: ROC AUC, EER, FRR at a given FAR
    Verify {
        /// Folder of images, …/LABEL/image.png at any depth
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Pairs, half of them genuine
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        pairs: usize,
    },
    /// Recall@k and mean average precision, each image against all others
    Retrieval {
        /// Folder of images, …/LABEL/image.png at any depth
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
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
    let (mut result, table) = match &args.command {
        Command::Oneshot { runs } => oneshot(&encoder, runs)?,
        Command::Nway {
            data,
            ways,
            shots,
            trials,
            within_parent,
        } => {
            let task = nway::Task {
                ways: *ways,
                shots: *shots,
                trials: *trials,
                within_parent: *within_parent,
                seed: args.seed,
            };
            task.check()?;
            let rate = nway::run(&embedded(&encoder, data, out)?, &task)?;
            (rate_json(&rate), vec![rate_row("error", &rate)])
        }
        Command::Verify { data, pairs } => verification(&verify::run(
            &embedded(&encoder, data, out)?,
            *pairs,
            args.seed,
        )?),
        Command::Retrieval { data } => {
            let classes = embedded(&encoder, data, out)?;
            let images = classes.iter().map(|c| c.vectors.len() as u64).sum();
            let bar = Bar::new(out, "ranking", images);
            let found = retrieval::run(&classes, &|n| bar.add(n as u64))?;
            bar.finish();
            retrieved(&found)
        }
    };
    result.insert("model".into(), json!(encoder.version()));
    result.insert("seed".into(), json!(args.seed));
    if out.is_json() {
        return out.json(&Value::Object(result));
    }
    out.table(&["", ""], &table)?;
    out.line(&format!("model {}, seed {}", encoder.version(), args.seed))
}

fn embedded(encoder: &Encoder, data: &Path, out: &Output) -> Result<Vec<Embedded>, CliError> {
    let folder = Folder::open_whole(data).map_err(EvalError::from)?;
    let bar = Bar::new(out, "embedding", folder.labelled() as u64);
    let classes = embed_folder(encoder, &folder, &|n| bar.add(n as u64))?;
    bar.finish();
    Ok(classes)
}

type Figures = (Map<String, Value>, Vec<Vec<String>>);

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn rate_row(name: &str, rate: &Rate) -> Vec<String> {
    let (low, high) = rate.ci95();
    let text = format!(
        "{}  (95 % within {} to {}; {} of {} trials)",
        percent(rate.rate()),
        percent(low),
        percent(high),
        rate.errors,
        rate.trials
    );
    vec![name.to_owned(), text]
}

fn rate_json(rate: &Rate) -> Map<String, Value> {
    let (low, high) = rate.ci95();
    let mut object = Map::new();
    object.insert("error_rate".into(), json!(rate.rate()));
    object.insert("trials".into(), json!(rate.trials));
    object.insert("ci95".into(), json!([low, high]));
    object
}

fn oneshot(encoder: &Encoder, dir: &Path) -> Result<Figures, CliError> {
    let all = runs::run(encoder, dir)?;
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

fn verification(found: &verify::Verification) -> Figures {
    let mut object = Map::new();
    object.insert("auc".into(), json!(found.auc));
    object.insert("eer".into(), json!(found.eer));
    let at = found
        .frr_at_far
        .iter()
        .map(|(far, frr)| (far.to_string(), json!(frr)));
    object.insert("frr_at_far".into(), Value::Object(at.collect()));
    object.insert("pairs".into(), json!(found.pairs));
    let mut table = vec![
        vec!["ROC AUC".to_owned(), format!("{:.4}", found.auc)],
        vec!["EER".to_owned(), percent(found.eer)],
    ];
    for (far, frr) in &found.frr_at_far {
        table.push(vec![format!("FRR at FAR {} %", 100.0 * far), percent(*frr)]);
    }
    table.push(vec!["pairs".to_owned(), found.pairs.to_string()]);
    (object, table)
}

fn retrieved(found: &retrieval::Retrieval) -> Figures {
    let mut object = Map::new();
    let at = found
        .recall_at
        .iter()
        .map(|(k, recall)| (k.to_string(), json!(recall)));
    object.insert("recall_at".into(), Value::Object(at.collect()));
    object.insert("map".into(), json!(found.map));
    object.insert("probes".into(), json!(found.probes));
    let recall = found.recall_at.iter();
    let mut table: Vec<_> = recall
        .map(|(k, r)| vec![format!("recall@{k}"), percent(*r)])
        .collect();
    table.push(vec!["mAP".to_owned(), format!("{:.4}", found.map)]);
    table.push(vec!["probes".to_owned(), found.probes.to_string()]);
    (object, table)
}
