//! Losses over a batch of unit vectors `z` `[n, d]`, the `i`-th of class `labels[i]`.

use candle_core::{D, Device, Result, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Temperature of [`Loss::SupCon`].
const TEMPERATURE: f64 = 0.1;
/// Distance that impostor pairs should keep, for [`Loss::Contrastive`].
const CONTRASTIVE_MARGIN: f64 = 1.0;
/// Squared distance between genuine and impostor, for [`Loss::Triplet`].
const TRIPLET_MARGIN: f64 = 0.2;

/// What the training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Supervised contrastive (Khosla et al. 2020), temperature 0.1.
    #[default]
    SupCon,
    /// Pairs (Hadsell, Chopra and `LeCun` 2006), margin 1.
    Contrastive,
    /// Triplets with semi-hard negatives (Schroff et al. 2015, `FaceNet`), margin 0.2.
    Triplet,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SupCon, Self::Contrastive, Self::Triplet];

    /// The loss of a batch, a scalar.
    ///
    /// # Errors
    /// `z` and `labels` of different lengths.
    pub fn of(self, z: &Tensor, labels: &[u32]) -> Result<Tensor> {
        match self {
            Self::SupCon => supervised_contrastive(z, labels, TEMPERATURE),
            Self::Contrastive => contrastive(z, labels, CONTRASTIVE_MARGIN),
            Self::Triplet => triplet(z, labels, TRIPLET_MARGIN),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SupCon => "supcon",
            Self::Contrastive => "contrastive",
            Self::Triplet => "triplet",
        })
    }
}

impl FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|loss| loss.to_string() == text)
            .ok_or_else(|| format!("{text:?}; supcon, contrastive and triplet are known"))
    }
}

/// For each drawing, the cross-entropy of finding its class mates among all others:
/// `-mean over mates p of log(exp(z·p / t) / sum over others a of exp(z·a / t))`.
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn supervised_contrastive(z: &Tensor, labels: &[u32], temperature: f64) -> Result<Tensor> {
    let n = labels.len();
    // No cosine exceeds 1: with 1 / t subtracted no exponential overflows.
    let s = ((z.matmul(&z.t()?)? - 1.0)? / temperature)?;
    let others = pairs(labels, |i, j| if i == j { 0.0 } else { 1.0 })?;
    let log_sum = (s.exp()? * others)?.sum_keepdim(D::Minus1)?.log()?;
    let mates = |i: usize| labels.iter().filter(|l| **l == labels[i]).count() - 1;
    let anchors = (0..n).filter(|i| mates(*i) > 0).count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "counts within a batch")]
    let share = pairs(labels, |i, j| {
        if i != j && labels[i] == labels[j] {
            1.0 / (mates(i) as f32 * anchors as f32)
        } else {
            0.0
        }
    })?;
    (log_sum.broadcast_sub(&s)? * share)?.sum_all()
}

/// Mean of `d²` over genuine pairs plus mean of `max(0, margin - d)²` over impostor pairs,
/// halved; `d` is the Euclidean distance.
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn contrastive(z: &Tensor, labels: &[u32], margin: f64) -> Result<Tensor> {
    let square = squared_distances(z)?;
    let missing = (margin - (&square + 1e-9)?.sqrt()?)?.relu()?.sqr()?;
    let genuine = mean_over(labels, |i, j| i != j && labels[i] == labels[j])?;
    let impostor = mean_over(labels, |i, j| labels[i] != labels[j])?;
    let near = (square * genuine)?.sum_all()?;
    let far = (missing * impostor)?.sum_all()?;
    (near + far)? * 0.5
}

/// Mean over genuine pairs of `max(0, |a - p|² - |a - n|² + margin)`, where for each
/// genuine pair the negative is the nearest one that is farther than the positive, or, if
/// none is, the farthest of all.
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn triplet(z: &Tensor, labels: &[u32], margin: f64) -> Result<Tensor> {
    let n = labels.len();
    let square = squared_distances(z)?;
    let d = square.to_vec2::<f32>()?;
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    for (a, d) in d.iter().enumerate() {
        let strangers: Vec<usize> = (0..n).filter(|j| labels[*j] != labels[a]).collect();
        for p in (0..n).filter(|p| *p != a && labels[*p] == labels[a]) {
            let by_distance = |i: &&usize, j: &&usize| d[**i].total_cmp(&d[**j]);
            let semi_hard = strangers
                .iter()
                .filter(|j| d[**j] > d[p])
                .min_by(by_distance);
            let Some(negative) = semi_hard.or_else(|| strangers.iter().max_by(by_distance)) else {
                continue;
            };
            positives.push(index(a * n + p)?);
            negatives.push(index(a * n + negative)?);
        }
    }
    if positives.is_empty() {
        return square.sum_all()? * 0.0;
    }
    let flat = square.flatten_all()?;
    let count = positives.len();
    let pick = |at: Vec<u32>| flat.index_select(&Tensor::from_vec(at, count, &Device::Cpu)?, 0);
    // Over violating ones alone the mean would jump whenever one ceases to violate.
    let excess = ((pick(positives)? - pick(negatives)?)? + margin)?.relu()?;
    excess.mean_all()
}

fn index(i: usize) -> Result<u32> {
    u32::try_from(i).map_err(candle_core::Error::wrap)
}

fn squared_distances(z: &Tensor) -> Result<Tensor> {
    // Of unit vectors; rounding may put it below zero.
    ((2.0 - (z.matmul(&z.t()?)? * 2.0)?)?).relu()
}

/// A constant `[n, n]`.
fn pairs(labels: &[u32], value: impl Fn(usize, usize) -> f32) -> Result<Tensor> {
    let n = labels.len();
    let values: Vec<f32> = (0..n * n).map(|at| value(at / n, at % n)).collect();
    Tensor::from_vec(values, (n, n), &Device::Cpu)
}

/// A constant that takes the mean over the pairs meant.
fn mean_over(labels: &[u32], meant: impl Fn(usize, usize) -> bool) -> Result<Tensor> {
    let n = labels.len();
    let count = (0..n * n).filter(|at| meant(at / n, at % n)).count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "counts within a batch")]
    let weight = 1.0 / count as f32;
    pairs(labels, |i, j| if meant(i, j) { weight } else { 0.0 })
}
