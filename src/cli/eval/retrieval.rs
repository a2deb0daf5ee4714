//! `twindex eval retrieval`: each image against all others.

use super::figures::{Figures, percent};
use super::{Setting, embedded};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::training::evaluate::retrieval;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Options of `eval retrieval`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or with no class of two images.
pub fn run(args: &Args, setting: &Setting) -> Result<Figures, CliError> {
    let classes = embedded(setting, &args.data)?;
    let images = classes.iter().map(|c| c.vectors.len() as u64).sum();
    let bar = Bar::new(setting.out, "ranking", images);
    let found = retrieval::run(&classes, &|n| bar.add(n as u64))?;
    bar.finish();
    Ok(retrieved(&found))
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
