//! What can go wrong in a training.

use super::dataset::DataError;
use super::evaluate::EvalError;
use crate::encoder;
use std::io;
use std::path::{Path, PathBuf};

/// Why a training ended without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data cannot be learnt from.
    #[error("data: {0}")]
    Data(String),
    /// An option is out of range.
    #[error("{field}: {was}; {allowed}")]
    Option {
        /// Its name.
        field: &'static str,
        /// What was given.
        was: String,
        /// What is allowed.
        allowed: String,
    },
    /// The checkpoint beside the output belongs to another training or is broken.
    #[error("{}: {was}; remove it to start anew", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        was: String,
    },
    /// Numbers grew beyond bounds.
    #[error("step {step}: the loss is {loss}; nothing was written")]
    Diverged {
        /// Where.
        step: u64,
        /// NaN or infinity.
        loss: f32,
    },
    /// Cancelled; a checkpoint was written and a rerun goes on from it.
    #[error("cancelled after step {step}; run again to go on from there")]
    Cancelled {
        /// Steps taken.
        step: u64,
    },
    /// The weights are written, but could not be measured.
    #[error("measuring: {0}")]
    Measure(#[from] EvalError),
    /// The threads could not be started.
    #[error("threads: {0}")]
    Threads(String),
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] encoder::Error),
}

impl TrainError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Encoder(error.into())
    }
}

impl From<DataError> for TrainError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Read { path, source } => Self::Io { path, source },
            DataError::Empty(_) | DataError::Refused(_) => Self::Data(error.to_string()),
        }
    }
}
