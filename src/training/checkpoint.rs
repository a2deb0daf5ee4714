//! Where a training stands, beside its output, so that a rerun goes on.
//!
//! A safetensors file: weights, running statistics, the optimiser's moments, what else the
//! objective needs, the average and the best weights; the step and the time spent in its
//! metadata. Samples and augmentation follow from seed and step, so
//! no generator's state is needed. Written aside, synced, renamed.

use super::TrainError;
use super::learner::Learner;
use super::optim::{Moments, Optimiser};
use crate::encoder::weights::{take, to_bytes};
use crate::encoder::{Card, Standing, Weights};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// How far a training has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// How it stood at times.
    pub curve: Vec<Standing>,
    /// The least error on classes held out, in 0..=1.
    pub best: Option<f64>,
    /// How many times in a row since then it was not undercut.
    pub waited: u32,
}

/// A training that can be left and taken up again.
pub struct Kept<'a> {
    /// The net and what the objective needs.
    pub learner: &'a mut Learner,
    /// The optimiser.
    pub optimiser: &'a mut Optimiser,
    /// The running average of the weights.
    pub average: &'a mut Weights,
    /// The weights that did best on classes held out.
    pub best: &'a mut Option<Weights>,
}

/// Largest checkpoint read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

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
pub fn write(path: &Path, kept: &Kept, position: &Position) -> Result<(), TrainError> {
    let mut tensors: Vec<(String, Vec<u8>)> = Vec::new();
    let weights = kept.learner.net.weights()?;
    for (prefix, weights) in [
        ("", Some(&weights)),
        ("average.", Some(&*kept.average)),
        ("best.", kept.best.as_ref()),
    ] {
        let named = weights.into_iter().flat_map(Weights::named);
        tensors.extend(named.map(|(name, _, v)| (format!("{prefix}{name}"), to_bytes(v))));
    }
    for (parameter, moments) in kept.optimiser.state() {
        for (kind, values) in [("first", &moments.first), ("second", &moments.second)] {
            let name = format!("adam.{kind}.{}", parameter.name);
            tensors.push((name, to_bytes(values)));
        }
    }
    for (name, values) in kept.learner.state()? {
        tensors.push((format!("learner.{name}"), to_bytes(&values)));
    }
    let broken = |was: String| TrainError::Checkpoint {
        path: path.to_owned(),
        was,
    };
    let mut views = Vec::new();
    for (name, bytes) in &tensors {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        views.push((name, view.map_err(|e| broken(e.to_string()))?));
    }
    let text = serde_json::to_string(position).map_err(|e| broken(e.to_string()))?;
    let card = Card::new("checkpoint", weights.plan).to_json();
    let metadata = HashMap::from([("position".to_owned(), text), ("card".to_owned(), card)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| broken(e.to_string()))?;
    replace(path, &bytes).map_err(|e| TrainError::io(path, e))
}

/// Takes up the training named where its checkpoint left it; `None` if there is no file.
///
/// # Errors
/// Unreadable, broken, or of another training.
pub fn read(path: &Path, training: &str, kept: &mut Kept) -> Result<Option<Position>, TrainError> {
    let broken = |was: String| TrainError::Checkpoint {
        path: path.to_owned(),
        was,
    };
    let bytes = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(broken(format!("{} bytes", metadata.len())));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        _ => std::fs::read(path).map_err(|e| TrainError::io(path, e))?,
    };
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
    let vector = |name: &str, length: usize| {
        take(&tensors, name, &[length]).map_err(|e| broken(e.to_string()))
    };
    let like = |weights: &Weights, prefix: &str| {
        let mut read = weights.clone();
        let named = weights.named();
        for (values, (name, _, before)) in read.named_mut().zip(named) {
            *values = vector(&format!("{prefix}{name}"), before.len())?;
        }
        Ok::<_, TrainError>(read)
    };
    let weights = like(&kept.learner.net.weights()?, "")?;
    *kept.average = like(&weights, "average.")?;
    *kept.best = match position.best {
        Some(_) => Some(like(&weights, "best.")?),
        None => None,
    };
    kept.learner.net.set(&weights)?;
    kept.learner.resume(|name| {
        let name = format!("learner.{name}");
        let view = tensors.tensor(&name).map_err(|e| broken(e.to_string()))?;
        vector(&name, view.data().len() / 4)
    })?;
    let mut moments = Vec::new();
    for (parameter, zero) in kept.optimiser.state() {
        let moment = |kind| {
            let name = format!("adam.{kind}.{}", parameter.name);
            vector(&name, zero.first.len())
        };
        moments.push(Moments {
            first: moment("first")?,
            second: moment("second")?,
        });
    }
    kept.optimiser.resume(moments, position.step);
    Ok(Some(position))
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
