//! The one-shot runs as published with Omniglot (Lake et al. 2015).
//!
//! `DIR/runNN/class_labels.txt` names on each line a test image and the training image of its
//! class, relative to DIR. A trial fails unless that of the run's training images is nearest;
//! a tie fails.

use super::stats::Rate;
use super::{EvalError, cosine, embed_files, parameter};
use crate::domain::{Embedding, Views};
use crate::encoder::Encoder;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What came of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    /// Its errors.
    pub rate: Rate,
    /// The trials that failed.
    pub wrong: Vec<Mistake>,
    /// Its images.
    pub files: Vec<PathBuf>,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// The test image.
    pub test: PathBuf,
    /// The training image of another class that it is nearest to.
    pub taken_for: PathBuf,
    /// How alike they are.
    pub similarity: f32,
    /// How alike the test image and that of its own class are.
    pub own_similarity: f32,
}

/// Evaluates every run below `dir` by these views, in the order of their names.
///
/// # Errors
/// No run, a malformed list, or an image that cannot be read.
pub fn run(encoder: &Encoder, dir: &Path, views: Views) -> Result<Vec<Run>, EvalError> {
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
        .map(|folder| one(encoder, dir, folder, views))
        .collect()
}

fn one(encoder: &Encoder, dir: &Path, folder: &Path, views: Views) -> Result<Run, EvalError> {
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
    let enrolled = embed_files(encoder, &training, views, &|_| {})?;
    let probes = embed_files(encoder, &tests, views, &|_| {})?;
    let mistake = |((test, own), probe): (&(PathBuf, PathBuf), &Embedding)| {
        let right = training.iter().position(|t| t == own);
        let similar: Vec<f32> = enrolled.iter().map(|e| cosine(probe, e)).collect();
        let others = (0..similar.len()).filter(|i| Some(*i) != right);
        let rival = others.max_by(|a, b| similar[*a].total_cmp(&similar[*b]))?;
        let own_similarity = right.map_or(f32::MIN, |right| similar[right]);
        (similar[rival] >= own_similarity).then(|| Mistake {
            test: test.clone(),
            taken_for: training[rival].clone(),
            similarity: similar[rival],
            own_similarity,
        })
    };
    let wrong: Vec<_> = pairs.iter().zip(&probes).filter_map(mistake).collect();
    Ok(Run {
        name: folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        rate: Rate {
            errors: wrong.len() as u64,
            trials: pairs.len() as u64,
        },
        wrong,
        files: tests.into_iter().chain(training).collect(),
    })
}
