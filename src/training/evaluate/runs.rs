//! The one-shot runs as published with Omniglot (Lake et al. 2015).
//!
//! `DIR/runNN/class_labels.txt` names on each line a test image and the training image of its
//! class, relative to DIR. A trial fails unless that of the run's training images is nearest;
//! a tie fails.

use super::stats::Rate;
use super::{EvalError, cosine, embed_files, parameter};
use crate::encoder::Encoder;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What came of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    /// Its errors.
    pub rate: Rate,
    /// Its images.
    pub files: Vec<PathBuf>,
}

/// Evaluates every run below `dir`, in the order of their names.
///
/// # Errors
/// No run, a malformed list, or an image that cannot be read.
pub fn run(encoder: &Encoder, dir: &Path) -> Result<Vec<Run>, EvalError> {
    let failed = |source| EvalError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.join("class_labels.txt").is_file() {
            folders.push(path);
        }
    }
    if folders.is_empty() {
        let was = dir.display().to_string();
        return Err(parameter(
            "runs",
            was,
            "folders runNN with a class_labels.txt are expected",
        ));
    }
    folders.sort();
    folders
        .iter()
        .map(|folder| one(encoder, dir, folder))
        .collect()
}

fn one(encoder: &Encoder, dir: &Path, folder: &Path) -> Result<Run, EvalError> {
    let list = folder.join("class_labels.txt");
    let text = std::fs::read_to_string(&list).map_err(|source| EvalError::Read {
        path: list.clone(),
        source,
    })?;
    let mut pairs: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (nth, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let mut words = line.split([' ', ',', '\t']).filter(|w| !w.is_empty());
        let (Some(test), Some(training), None) = (words.next(), words.next(), words.next()) else {
            let was = format!("{}:{}: {line:?}", list.display(), nth + 1);
            return Err(parameter(
                "runs",
                was,
                "a test image and a training image are expected",
            ));
        };
        pairs.push((dir.join(test), dir.join(training)));
    }
    let training: Vec<PathBuf> = {
        let distinct: BTreeSet<&PathBuf> = pairs.iter().map(|(_, t)| t).collect();
        distinct.into_iter().cloned().collect()
    };
    let tests: Vec<PathBuf> = pairs.iter().map(|(t, _)| t.clone()).collect();
    let enrolled = embed_files(encoder, &training, &|_| {})?;
    let probes = embed_files(encoder, &tests, &|_| {})?;
    let wrong = pairs.iter().zip(&probes).filter(|((_, own), probe)| {
        let right = training.iter().position(|t| t == own);
        let similar: Vec<f32> = enrolled.iter().map(|e| cosine(probe, e)).collect();
        let beaten = |right| (0..similar.len()).any(|i| i != right && similar[i] >= similar[right]);
        right.is_none_or(beaten)
    });
    Ok(Run {
        name: folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        rate: Rate {
            errors: wrong.count() as u64,
            trials: pairs.len() as u64,
        },
        files: tests.into_iter().chain(training).collect(),
    })
}
