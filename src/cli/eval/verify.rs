//! `twindex eval verify`: same or different.

use super::figures::{Figures, percent};
use super::{Setting, embedded};
use crate::cli::error::CliError;
use crate::training::evaluate::verify;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Options of `eval verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder of images, …/LABEL/image.png at any depth
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Pairs, half of them genuine
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pairs: usize,
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, or parameters that do not fit them.
pub fn run(args: &Args, setting: &Setting) -> Result<Figures, CliError> {
    let classes = embedded(setting, &args.data)?;
    let found = verify::run(&classes, args.pairs, setting.seed)?;
    Ok(verification(&found))
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
