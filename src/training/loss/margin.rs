//! Losses that ask for a distance between what does not belong together, and no more.

use super::{mates, pick, share, square};
use candle_core::{D, DType, Result, Tensor};

/// Which strangers a triplet takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negatives {
    /// For each genuine pair the nearest stranger that is farther than the mate, or, if none
    /// is, the farthest of all.
    SemiHard,
    /// For each drawing its farthest mate and its nearest stranger.
    Hard,
    /// All.
    All,
}

fn squared_distances(z: &Tensor) -> Result<Tensor> {
    // Of unit vectors; rounding may put it below zero.
    ((2.0 - (z.matmul(&z.t()?)? * 2.0)?)?).relu()
}

fn distances(z: &Tensor) -> Result<Tensor> {
    // The root of zero has no slope.
    (squared_distances(z)? + 1e-9)?.sqrt()
}

/// Mean of `d²` over genuine pairs plus mean of `max(0, margin - d)²` over impostor pairs,
/// halved; `d` is the Euclidean distance (Hadsell, Chopra and `LeCun` 2006).
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn contrastive(z: &Tensor, labels: &[u32], margin: f64) -> Result<Tensor> {
    let mean_over = |meant: &dyn Fn(usize, usize) -> bool| {
        let n = labels.len();
        let weight = share((0..n * n).filter(|at| meant(at / n, at % n)).count());
        square(z, n, |i, j| if meant(i, j) { weight } else { 0.0 })
    };
    let missing = (margin - distances(z)?)?.relu()?.sqr()?;
    let genuine = mean_over(&|i, j| i != j && labels[i] == labels[j])?;
    let impostor = mean_over(&|i, j| labels[i] != labels[j])?;
    let near = (squared_distances(z)? * genuine)?.sum_all()?;
    let far = (missing * impostor)?.sum_all()?;
    (near + far)? * 0.5
}

/// Mean of `max(0, |a - p|² - |a - n|² + margin)` over triplets of an anchor, a mate and a
/// stranger (Schroff et al. 2015; Hermans et al. 2017); with hard negatives without squares.
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn triplet(z: &Tensor, labels: &[u32], margin: f64, negatives: Negatives) -> Result<Tensor> {
    // The worst triplets by squares pull all together before anything is learnt (Hermans et al.
    // 2017, section 3.2).
    let square = match negatives {
        Negatives::Hard => distances(z)?,
        Negatives::SemiHard | Negatives::All => squared_distances(z)?,
    };
    let d = square.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let (triplets, of) = match negatives {
        Negatives::SemiHard => counted(semi_hard(labels, &d)),
        Negatives::Hard => counted(hard(labels, &d)),
        Negatives::All => violating(labels, &d, margin),
    };
    if triplets.is_empty() {
        return square.sum_all()? * 0.0;
    }
    let (positives, negatives): (Vec<_>, Vec<_>) = triplets.into_iter().unzip();
    let excess = (pick(&square, &positives)? - pick(&square, &negatives)?)?;
    // Over violating ones alone the mean would jump whenever one ceases to violate.
    (excess + margin)?.relu()?.sum_all()? * f64::from(share(of))
}

/// The places of a triplet's two distances.
type Pair = ((usize, usize), (usize, usize));

fn strangers(labels: &[u32], a: usize) -> impl Iterator<Item = usize> + '_ {
    (0..labels.len()).filter(move |j| labels[*j] != labels[a])
}

fn semi_hard(labels: &[u32], d: &[Vec<f32>]) -> Vec<Pair> {
    let pairs = mates(labels).filter_map(|(a, p)| {
        let nearer = |i: &usize, j: &usize| d[a][*i].total_cmp(&d[a][*j]);
        let beyond = strangers(labels, a).filter(|j| d[a][*j] > d[a][p]);
        let negative = beyond.min_by(nearer);
        let negative = negative.or_else(|| strangers(labels, a).max_by(nearer))?;
        Some(((a, p), (a, negative)))
    });
    pairs.collect()
}

fn hard(labels: &[u32], d: &[Vec<f32>]) -> Vec<Pair> {
    let pairs = (0..labels.len()).filter_map(|a| {
        let nearer = |i: &usize, j: &usize| d[a][*i].total_cmp(&d[a][*j]);
        let mates = (0..labels.len()).filter(|j| *j != a && labels[*j] == labels[a]);
        let positive = mates.max_by(nearer)?;
        let negative = strangers(labels, a).min_by(nearer)?;
        Some(((a, positive), (a, negative)))
    });
    pairs.collect()
}

/// The triplets that are not zero, and how many there are of all.
fn violating(labels: &[u32], d: &[Vec<f32>], margin: f64) -> (Vec<Pair>, usize) {
    let (mut pairs, mut of) = (Vec::new(), 0);
    for (a, p) in mates(labels) {
        let wanted = f64::from(d[a][p]) + margin;
        for negative in strangers(labels, a) {
            of += 1;
            if f64::from(d[a][negative]) < wanted {
                pairs.push(((a, p), (a, negative)));
            }
        }
    }
    (pairs, of)
}

fn counted(pairs: Vec<Pair>) -> (Vec<Pair>, usize) {
    let of = pairs.len();
    (pairs, of)
}

/// Half the mean over genuine pairs `(i, j)` of `max(0, J)²` with
/// `J = log(sum over strangers k of i of exp(margin - d(i, k)) + the same of j) + d(i, j)`
/// (Oh Song et al. 2016).
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn lifted(z: &Tensor, labels: &[u32], margin: f64) -> Result<Tensor> {
    let (n, pairs) = (labels.len(), mates(labels).collect::<Vec<_>>());
    let d = distances(z)?;
    if pairs.is_empty() || labels.iter().all(|l| *l == labels[0]) {
        return d.sum_all()? * 0.0;
    }
    let apart = square(z, n, |i, j| f32::from(labels[i] != labels[j]))?;
    let near = ((margin - &d)?.exp()? * apart)?.sum_keepdim(D::Minus1)?;
    let ones = Tensor::ones((1, n), z.dtype(), z.device())?;
    let near = near.matmul(&ones)?;
    let both = (&near + near.t()?)?.log()?;
    (pick(&(both + d)?, &pairs)?.relu()?.sqr()?.mean_all())? * 0.5
}
