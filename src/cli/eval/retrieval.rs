//! `twindex eval retrieval`: each image against all others.

use super::data::Data;
use super::figures::{Found, figure, percent, plain};
use super::{Measured, Setting, Shared};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::training::evaluate::retrieval;
use crate::training::evaluate::stats::Figure;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Options of `eval retrieval`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    pub shared: Shared,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or with no class of two images.
pub fn run(args: &Args, setting: &Setting) -> Result<Measured, CliError> {
    let data = Data::open(setting, &args.data)?;
    let bar = Bar::new(setting.out, "ranking", data.folder.labelled() as u64);
    let all = retrieval::run(&data.classes, setting.seed, &|n| bar.add(n as u64))?;
    bar.finish();
    let mut found = Found::default();
    let by_k = |of: &dyn Fn(&Figure) -> Value| {
        let each = all.recall_at.iter().map(|(k, r)| (k.to_string(), of(r)));
        Value::Object(each.collect::<Map<_, _>>())
    };
    found.member("recall_at", by_k(&|r| json!(r.value)));
    found.member("recall_at_ci95", by_k(&|r| json!(r.ci95)));
    found.member("map", all.map.value);
    found.member("map_ci95", json!(all.map.ci95));
    found.member("interval", "bootstrap over the classes of the probes");
    found.member("probes", all.probes);
    for (k, recall) in &all.recall_at {
        found.row(format!("recall@{k}"), figure(recall, percent));
    }
    found.row("mAP", figure(&all.map, plain));
    found.row("probes", all.probes.to_string());
    found.sections = data.sections(&all.tally);
    data.describe(&args.data, &mut found)?;
    Ok(Measured {
        found,
        files: data.files(),
    })
}
