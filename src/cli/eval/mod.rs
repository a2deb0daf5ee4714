//! `twindex eval`: figures that claims rest on; one file a command.
//!
//! Every figure has a 95 % interval: Wilson's where trials are drawn independently, a
//! bootstrap over classes where pairs share them.

mod calibrate;
mod compare;
mod curves;
mod data;
mod figures;
mod leakage;
mod methods;
mod nway;
mod oneshot;
mod retrieval;
mod verify;

use super::backbones::BackboneArgs;
use super::client::views;
use super::error::CliError;
use super::output::{Output, quoted};
use super::report::{Report, Section, Table};
use super::serve;

use crate::domain::{ViewNumber, Views};
use crate::encoder::Encoder;
use crate::training::evaluate::EvalError;
use clap::Subcommand;
use figures::Found;
use serde_json::Value;
use std::path::PathBuf;

/// Options of `eval`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Weights file; the bundled encoder if not given
    #[arg(long, global = true, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    backbones: BackboneArgs,
    /// Seed of what is drawn at random
    #[arg(long, global = true, default_value_t = 0)]
    seed: u64,
    /// Embed by the mean of so many views of each image, 1 to 32, at so many times the work
    #[arg(long, global = true, value_name = "N", default_value_t = 1, value_parser = views)]
    views: u32,
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
    /// Whether a calibration keeps its promise: learnt on half of the labels, judged on the rest
    Calibrate(calibrate::Args),
    /// Which way of deciding is best here: nearest example, vote or prototype
    Methods(methods::Args),
    /// Whether one of two encoders is better, on the same trials
    Compare(compare::Args),
    /// Test images that are among the training images, as they are or nearly: exit code 7
    Leakage(leakage::Args),
}

/// Options that all commands that measure have.
#[derive(Debug, Clone, clap::Args)]
struct Shared {
    /// Folder that the encoder was trained on: if images measured on are among it, that is
    /// told with the figures, and the exit code is 7
    #[arg(long, value_name = "DIR")]
    trained_on: Option<PathBuf>,
    /// Report to write: one HTML file that opens offline
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What the commands have in common.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    encoder: &'a Encoder,
    views: Views,
    seed: u64,
    out: &'a Output,
}

/// What was found, and the images that it was found on.
struct Measured {
    found: Found,
    files: Vec<PathBuf>,
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
/// A model or data that cannot be read, or parameters that do not fit the data; leakage,
/// after all else is done.
pub fn run(args: &Args, out: &Output) -> Result<(), CliError> {
    args.backbones.load()?;
    let model = || serve::encoder(args.model.as_deref());
    let views = ViewNumber::new("views", args.views);
    let views = Views::Mean(views.map_err(|e| CliError::invalid(e.to_string()))?);
    let setting = |encoder| Setting {
        encoder,
        views,
        seed: args.seed,
        out,
    };
    match &args.command {
        Command::Leakage(args) => leakage::run(args, out),
        Command::Compare(compare) => {
            if args.model.is_some() {
                let told = "--model: `eval compare` takes its two models by themselves";
                return Err(CliError::invalid(told));
            }
            let [a, b] = compare.encoders()?;
            let setting = setting(&a);
            let measured = compare::run(compare, &b, &setting)?;
            tell(measured, &compare.shared, &setting)
        }
        Command::Oneshot(args) => {
            let encoder = model()?;
            let setting = setting(&encoder);
            tell(oneshot::run(args, &setting)?, &args.shared, &setting)
        }
        Command::Nway(args) => {
            let encoder = model()?;
            let setting = setting(&encoder);
            tell(nway::run(args, &setting)?, &args.shared, &setting)
        }
        Command::Verify(args) => {
            let encoder = model()?;
            let setting = setting(&encoder);
            tell(verify::run(args, &setting)?, &args.shared, &setting)
        }
        Command::Calibrate(args) => {
            let encoder = model()?;
            let setting = setting(&encoder);
            tell(calibrate::run(args, &setting)?, &args.shared, &setting)
        }
        Command::Methods(args) => {
            let encoder = model()?;
            let setting = setting(&encoder);
            tell(methods::run(args, &setting)?, &args.shared, &setting)
        }
        Command::Retrieval(args) => {
            let encoder = model()?;
            let setting = setting(&encoder);
            tell(retrieval::run(args, &setting)?, &args.shared, &setting)
        }
    }
}

/// Looks for leakage, writes the report, prints the figures.
fn tell(measured: Measured, shared: &Shared, setting: &Setting) -> Result<(), CliError> {
    let Measured { mut found, files } = measured;
    let (encoder, out) = (setting.encoder, setting.out);
    let train = shared.trained_on.as_deref();
    let checked = train
        .map(|train| leakage::Checked::new(train, files, &encoder.limits(), out))
        .transpose()?;
    if let Some(checked) = &checked {
        checked.tell(&mut found);
    }
    let leaky = checked.filter(|c| !c.is_clean());
    found.member("seed", setting.seed);
    found.member("views", setting.views.count());
    // A comparison tells both models itself.
    if !found.json.contains_key("a") {
        found.member("model", encoder.version());
        found.row("model", encoder.version());
    }
    found.row("seed", setting.seed.to_string());
    found.row("views", setting.views.count().to_string());
    if let Some(file) = &shared.report {
        let warnings = leaky.iter().map(leakage::Checked::sentence).collect();
        report(&found, warnings, setting).write(file, &encoder.limits())?;
    }
    if out.is_json() {
        out.json(&Value::Object(found.json))?;
    } else {
        if let Some(leaky) = &leaky {
            for line in leaky.words() {
                out.line(&line)?;
            }
        }
        out.table(&["", ""], &found.rows)?;
    }
    leaky.map_or(Ok(()), |leaky| leaky.verdict())
}

fn report(found: &Found, warnings: Vec<String>, setting: &Setting) -> Report {
    let words: Vec<String> = std::env::args().skip(1).map(|w| quoted(&w)).collect();
    let mut settings = vec![
        ("command", format!("twindex {}", words.join(" "))),
        ("program", format!("twindex {}", env!("CARGO_PKG_VERSION"))),
    ];
    if found.json.contains_key("model") {
        settings.push(("trained on", setting.encoder.card().data.clone()));
    }
    let figures = Table {
        title: "Figures".into(),
        rows: found.rows.clone(),
        ..Table::default()
    };
    let mut sections = vec![Section::Table(figures)];
    sections.extend(found.sections.iter().cloned());
    let command = words
        .iter()
        .skip_while(|w| *w != "eval")
        .take(2)
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    Report {
        title: format!("twindex {command}"),
        warnings,
        setting: settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        sections,
    }
}
