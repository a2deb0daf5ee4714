//! Losses that are the cross-entropy of picking what belongs together out of everything.

use super::{mates, pick, share, square};
use candle_core::{D, Result, Tensor};

/// `z·z / t`, shifted by a constant: no cosine exceeds 1, so that no exponential overflows.
pub(super) fn logits(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    (a.matmul(&b.t()?)? - 1.0)? / temperature
}

/// For each drawing, the cross-entropy of finding its class mates among all others:
/// `-mean over mates p of log(exp(z·p / t) / sum over others a of exp(z·a / t))`
/// (Khosla et al. 2020, equation 2).
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn supervised_contrastive(z: &Tensor, labels: &[u32], temperature: f64) -> Result<Tensor> {
    let n = labels.len();
    let s = logits(z, z, temperature)?;
    let others = square(z, n, |i, j| if i == j { 0.0 } else { 1.0 })?;
    let log_sum = (s.exp()? * others)?.sum_keepdim(D::Minus1)?.log()?;
    let mates = |i: usize| labels.iter().filter(|l| **l == labels[i]).count() - 1;
    let anchors = (0..n).filter(|i| mates(*i) > 0).count();
    let share = square(z, n, |i, j| {
        if i != j && labels[i] == labels[j] {
            share(mates(i)) * share(anchors)
        } else {
            0.0
        }
    })?;
    (log_sum.broadcast_sub(&s)? * share)?.sum_all()
}

/// Mean over genuine pairs `(i, p)` of
/// `-log(exp(i·p / t) / (exp(i·p / t) + sum over strangers a of exp(i·a / t)))`: as
/// [`supervised_contrastive`], but mates do not compete with one another (Sohn 2016; with two
/// views of each image, Chen et al. 2020).
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn nt_xent(z: &Tensor, labels: &[u32], temperature: f64) -> Result<Tensor> {
    let pairs: Vec<_> = mates(labels).collect();
    let s = logits(z, z, temperature)?;
    if pairs.is_empty() {
        return s.sum_all()? * 0.0;
    }
    let strangers = square(z, labels.len(), |i, j| f32::from(labels[i] != labels[j]))?;
    let among = (s.exp()? * strangers)?.sum_keepdim(D::Minus1)?;
    // exp(s) + among, for every pair at once; then those that are genuine.
    let log_sum = s.exp()?.broadcast_add(&among)?.log()?;
    pick(&(log_sum - s)?, &pairs)?.mean_all()
}

/// For each drawing, the cross-entropy of its class among all classes by `-|z - c|² / 2t`,
/// where `c` is the mean of a class's drawings without the one in question (Snell et al. 2017,
/// with every drawing a query in turn).
///
/// # Errors
/// `z` and `labels` of different lengths.
pub fn prototypical(z: &Tensor, labels: &[u32], temperature: f64) -> Result<Tensor> {
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let sizes: Vec<usize> = classes
        .iter()
        .map(|class| labels.iter().filter(|l| *l == class).count())
        .collect();
    let queries = labels.len() - sizes.iter().filter(|size| **size == 1).count();
    let table = |value: &dyn Fn(bool, usize) -> f32| {
        let row = |label: &u32| {
            let cells = classes.iter().zip(&sizes);
            let cells = cells.map(|(class, size)| value(label == class, *size));
            cells.collect::<Vec<f32>>()
        };
        let values: Vec<f32> = labels.iter().flat_map(row).collect();
        Tensor::from_vec(values, (labels.len(), classes.len()), z.device())?.to_dtype(z.dtype())
    };
    let means = table(&|own, size| if own { share(size) } else { 0.0 })?;
    let means = means.t()?.matmul(z)?;
    let lengths = (z.sqr()?.sum_keepdim(D::Minus1)?)
        .broadcast_add(&means.sqr()?.sum_keepdim(D::Minus1)?.t()?)?;
    let apart = (lengths - (z.matmul(&means.t()?)? * 2.0)?)?;
    // The mean of the others is farther away than the mean of all by size / (size - 1).
    let farther = table(&|own, size| match (own, size) {
        (true, 2..) => (1.0 + share(size - 1)).powi(2),
        _ => 1.0,
    })?;
    // Squares of at most 16: nothing vanishes altogether.
    let s = ((apart * farther)? / (-2.0 * temperature))?;
    let log_sum = s.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let asked = table(&|own, size| if own && size > 1 { share(queries) } else { 0.0 })?;
    (log_sum.broadcast_sub(&s)? * asked)?.sum_all()
}
