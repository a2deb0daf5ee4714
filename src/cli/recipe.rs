//! `twindex recipe`: how `train` trains for what kind of pictures.

use super::error::CliError;
use super::output::Output;
use crate::training::Recipe;
use serde_json::json;

/// Options of `recipe`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The recipe to show as a file that --recipe takes; without, all are listed
    name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// There is no such recipe.
pub fn run(args: &Args, out: &Output) -> Result<(), CliError> {
    if let Some(name) = &args.name {
        let recipe = Recipe::find(name).map_err(|e| CliError::invalid(e.to_string()))?;
        return out.line(&recipe.to_json());
    }
    if out.is_json() {
        return out.json(&json!({ "recipes": Recipe::all() }));
    }
    for recipe in Recipe::all() {
        let plan = recipe.plan();
        out.line(&format!(
            "{:12} {}; {} of side {}, {}",
            recipe.name, recipe.purpose, plan.input, plan.side, plan.architecture
        ))?;
    }
    Ok(())
}
