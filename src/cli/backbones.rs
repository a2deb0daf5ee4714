//! Which ready-made backbones a command has at hand.

use super::error::CliError;
use crate::encoder::backbone::{self, Backbone};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of backbones, for the models that stand on them.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BackboneArgs {
    /// Weights of a ready-made backbone (safetensors), for models that stand on it; may be
    /// repeated
    #[arg(
        long = "backbone",
        global = true,
        value_name = "FILE",
        env = "TWINDEX_BACKBONE",
        value_delimiter = ':'
    )]
    files: Vec<PathBuf>,
}

impl BackboneArgs {
    /// Loads them.
    ///
    /// # Errors
    /// One is no backbone.
    pub fn load(&self) -> Result<(), CliError> {
        self.files.iter().try_for_each(|file| load(file).map(drop))
    }
}

/// Loads one.
///
/// # Errors
/// It is no backbone.
pub fn load(file: &Path) -> Result<Arc<Backbone>, CliError> {
    let told = |e| CliError::invalid(format!("--backbone {}: {e}", file.display()));
    backbone::offer(file).map_err(told)
}
