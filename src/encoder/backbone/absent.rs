//! What stands in for backbones in a program without the feature `backbones`.

use super::super::{Error, Plan, Prepared};
use super::BackboneId;
use candle_core::{Result, Tensor};
use std::path::Path;
use std::sync::Arc;

/// There is none.
#[derive(Debug)]
pub enum Backbone {}

impl Backbone {
    /// The plan of a model that stands on it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        match *self {}
    }

    /// What it sees in images.
    ///
    /// # Errors
    /// None.
    pub fn features(&self, _: &[Prepared]) -> Result<Tensor> {
        match *self {}
    }
}

fn absent(what: &str) -> Error {
    let built = "this program was built without the feature `backbones`";
    Error::Backbone(format!("{what}; {built}"))
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn offer(path: &Path) -> std::result::Result<Arc<Backbone>, Error> {
    Err(absent(&path.display().to_string()))
}

pub(crate) fn find(id: BackboneId) -> std::result::Result<Arc<Backbone>, Error> {
    Err(absent(&format!("the model stands on {id}")))
}
