//! Ready-made nets from candle-transformers, frozen: they see an image and say what they see in
//! a few hundred numbers, and a head of ours that has learnt stands upon these.
//!
//! A backbone's weights stay in the file that they came in. A model that stands on one holds its
//! own head and the file's hash, and works wherever that file has been offered to the program,
//! which must have been built with the feature `backbones`.
//!
//! - `family`: which nets there are, and how each is told from the tensors in a file.
//! - `fingerprint`: which file it is.
//! - `ready`: a backbone at work; `absent`: in its place, without the feature.
//! - `file`: a file of weights, checked and hashed.
//! - `net`: the nets themselves. `positions`: where a vision transformer's patches lie.

#[cfg(not(feature = "backbones"))]
mod absent;
mod family;
#[cfg(feature = "backbones")]
mod file;
mod fingerprint;
#[cfg(feature = "backbones")]
mod net;
#[cfg(feature = "backbones")]
mod positions;
#[cfg(feature = "backbones")]
mod ready;

#[cfg(not(feature = "backbones"))]
pub use absent::{Backbone, offer};
pub use family::Family;
pub use fingerprint::Fingerprint;
#[cfg(feature = "backbones")]
pub use ready::{Backbone, offer};

#[cfg(not(feature = "backbones"))]
pub(super) use absent::find;
#[cfg(feature = "backbones")]
pub(super) use ready::find;

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which backbone a plan stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackboneId {
    /// The family.
    pub family: Family,
    /// Numbers that it gives for an image.
    pub features: usize,
    /// The file of its weights.
    pub file: Fingerprint,
}

impl fmt::Display for BackboneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of file {}", self.family, self.file)
    }
}
