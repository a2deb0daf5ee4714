//! Losses that ask two views of one image to agree, without labels.
//!
//! `a` and `b` are `[n, d]`: the `i`-th rows are views of the `i`-th image.
#![expect(
    clippy::many_single_char_names,
    reason = "formulas as they are written"
)]

use super::softmax::logits;
use candle_core::{D, Result, Tensor};

/// Added to a variance before its root is taken.
const EPSILON: f64 = 1e-4;

/// `-mean of log(exp(a·b / t) / (exp(a·b / t) + sum over the queue q of exp(a·q / t)))` (He et
/// al. 2020, `MoCo`). `a`, `b` and `queue` `[m, d]` are of unit length; `m` may be 0.
///
/// # Errors
/// Shapes that do not fit.
pub fn info_nce(
    a: &Tensor,
    b: &Tensor,
    queue: Option<&Tensor>,
    temperature: f64,
) -> Result<Tensor> {
    let own = (((a * b)?.sum_keepdim(D::Minus1)? - 1.0)? / temperature)?;
    let mut all = own.exp()?;
    if let Some(queue) = queue {
        let others = logits(a, queue, temperature)?.exp()?;
        all = (all + others.sum_keepdim(D::Minus1)?)?;
    }
    (all.log()? - own)?.mean_all()
}

/// `2 - 2 cos`, averaged over rows (Grill et al. 2020, BYOL; Chen and He 2021, `SimSiam`).
/// Rows need not be of unit length.
///
/// # Errors
/// Shapes that do not fit.
pub fn alignment(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (super::unit(a)?, super::unit(b)?);
    let cosines = (a * b)?.sum(D::Minus1)?;
    ((cosines * -2.0)? + 2.0)?.mean_all()
}

/// Variance, invariance and covariance (Bardes et al. 2022, `VICReg`), weighted 25, 25 and 1:
/// views agree, every dimension keeps a deviation of 1, and no two say the same.
///
/// # Errors
/// Shapes that do not fit.
pub fn vicreg(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let invariance = (a - b)?.sqr()?.mean_all()?;
    let mut sum = (invariance * 25.0)?;
    for z in [a, b] {
        let (n, d) = z.dims2()?;
        #[expect(clippy::cast_precision_loss, reason = "counts of a batch")]
        let (rows, columns) = ((n.max(2) - 1) as f64, d as f64);
        let z = z.broadcast_sub(&z.mean_keepdim(0)?)?;
        let variance = (z.sqr()?.sum(0)? / rows)?;
        let missing = (1.0 - (variance + EPSILON)?.sqrt()?)?.relu()?;
        let covariance = (z.t()?.matmul(&z)? / rows)?;
        let others = (covariance.sqr()? * off_diagonal(d, &covariance)?)?;
        sum = ((sum + (missing.mean_all()? * 25.0)?)? + (others.sum_all()? / columns)?)?;
    }
    Ok(sum)
}

/// Cross-correlation as near to the identity as can be (Zbontar et al. 2021, Barlow twins):
/// `sum over i of (1 - c_ii)² + 0.005 sum over i, j of c_ij²`, divided by `d`.
///
/// # Errors
/// Shapes that do not fit.
pub fn barlow_twins(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (n, d) = a.dims2()?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a batch")]
    let (rows, columns) = (n as f64, d as f64);
    let c = (standardised(a)?.t()?.matmul(&standardised(b)?)? / rows)?;
    let apart = off_diagonal(d, &c)?;
    let own = ((1.0 - &apart)? * (1.0 - &c)?.sqr()?)?.sum_all()?;
    let others = (apart * c.sqr()?)?.sum_all()?;
    (own + (others * 0.005)?)? / columns
}

/// Each column with mean 0 and variance 1 over the batch.
///
/// # Errors
/// None that can be foreseen.
pub fn standardised(z: &Tensor) -> Result<Tensor> {
    let z = z.broadcast_sub(&z.mean_keepdim(0)?)?;
    let deviation = (z.sqr()?.mean_keepdim(0)? + EPSILON)?.sqrt()?;
    z.broadcast_div(&deviation)
}

fn off_diagonal(d: usize, like: &Tensor) -> Result<Tensor> {
    (1.0 - Tensor::eye(d, like.dtype(), like.device())?)?.contiguous()
}
