//! Where a training stands, beside its output, so that a rerun goes on.
//!
//! A safetensors file: weights, running statistics, the optimiser's moments; the step and
//! the time spent in its metadata. Samples and augmentation follow from seed and step, so
//! no generator's state is needed. Written aside, synced, renamed.

use super::TrainError;
use super::optim::{AdamW, Moments};
use crate::encoder::weights::{MAX_BYTES, take, to_bytes};
use crate::encoder::{Card, Weights};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// How far a training has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps taken.
    pub step: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Images seen.
    pub images: u64,
    /// Mean loss of late.
    pub loss: f32,
    /// What the training is: options and data; a checkpoint of another is refused.
    pub training: String,
}

/// The checkpoint that belongs to an output.
#[must_use]
pub fn path_for(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

/// Writes a checkpoint.
///
/// # Errors
/// The disk refuses.
pub fn write(
    path: &Path,
    weights: &Weights,
    optimiser: &AdamW,
    position: &Position,
) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (name, shape, values) in weights.named() {
        tensors.push((name, shape, to_bytes(values)));
    }
    for (parameter, moments) in optimiser.state() {
        for (kind, values) in [("first", &moments.first), ("second", &moments.second)] {
            let name = format!("adam.{kind}.{}", parameter.name);
            tensors.push((name, vec![values.len()], to_bytes(values)));
        }
    }
    let broken = |was: String| TrainError::Checkpoint {
        path: path.to_owned(),
        was,
    };
    let mut views = Vec::new();
    for (name, shape, bytes) in &tensors {
        let view =
            TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| broken(e.to_string()))?;
        views.push((name, view));
    }
    let text = serde_json::to_string(position).map_err(|e| broken(e.to_string()))?;
    let card = Card::new("checkpoint", weights.plan).to_json();
    let metadata = HashMap::from([("position".to_owned(), text), ("card".to_owned(), card)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| broken(e.to_string()))?;
    replace(path, &bytes).map_err(|e| TrainError::io(path, e))
}

/// Reads a checkpoint of the training named; None if there is no file. The moments are in
/// the order of [`AdamW::state`].
///
/// # Errors
/// Unreadable, broken, or of another training.
pub fn read(
    path: &Path,
    training: &str,
    optimiser: &AdamW,
) -> Result<Option<(Weights, Vec<Moments>, Position)>, TrainError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(TrainError::io(path, e)),
    };
    let broken = |was: String| TrainError::Checkpoint {
        path: path.to_owned(),
        was,
    };
    if bytes.len() as u64 > 4 * MAX_BYTES {
        return Err(broken(format!("{} bytes", bytes.len())));
    }
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let text = metadata.get("position").map_or("", String::as_str);
    let position: Position = serde_json::from_str(text).map_err(|e| broken(e.to_string()))?;
    if position.training != training {
        return Err(broken(format!(
            "belongs to another training ({}), this one is {training}",
            position.training
        )));
    }
    let card = metadata.get("card").map_or("", String::as_str);
    let plan = Card::parse(card).map_err(|e| broken(e.to_string()))?.plan;
    let weights = Weights::read(plan, &tensors).map_err(|e| broken(e.to_string()))?;
    let mut moments = Vec::new();
    for (parameter, zero) in optimiser.state() {
        let moment = |kind| {
            let name = format!("adam.{kind}.{}", parameter.name);
            take(&tensors, &name, &[zero.first.len()]).map_err(|e| broken(e.to_string()))
        };
        moments.push(Moments {
            first: moment("first")?,
            second: moment("second")?,
        });
    }
    Ok(Some((weights, moments, position)))
}

/// Tries whether [`replace`] will be able to write there.
pub(super) fn try_place(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    File::create(aside(path))?;
    std::fs::remove_file(aside(path))
}

fn aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    aside.into()
}

/// Replaces a file: afterwards either the old or the new contents are there, whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = aside(path);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&aside, path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
