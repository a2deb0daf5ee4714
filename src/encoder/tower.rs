//! One tower of the Siamese pair, as it serves: both inputs of a pair pass through the
//! same weights, and what comes out is compared (Bromley et al. 1993; Koch et al. 2015).
//!
//! `s2d-s`: 2x2 space-to-depth, then three stages of two 3x3 convolutions with ReLU
//! (Simonyan and Zisserman 2015) and 2x2 max pooling, then a fully connected layer. Batch
//! normalisation (Ioffe and Szegedy 2015) is folded into the convolutions.

use super::conv::Size;
use super::ink::SIDE;
use super::layer::{ConvRelu, Linear};
use super::weights::{Block, Weights};
use super::{Error, Prepared};
use candle_core::{Device, Result, Tensor};
use std::sync::Arc;

/// Added to a variance before its root is taken.
pub const EPSILON: f32 = 1e-5;
/// Rows and columns after space-to-depth.
pub const STEM: usize = SIDE / 2;

/// Whether a 2x2 max pooling follows the `i`-th convolution.
#[must_use]
pub fn pools(i: usize) -> bool {
    i % 2 == 1
}

/// The folded tower. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tower {
    convolutions: Arc<[ConvRelu]>,
    head: Tensor,
    bias: Tensor,
}

impl Tower {
    /// Folds the batch normalisation into the convolutions.
    pub fn new(weights: &Weights) -> std::result::Result<Self, Error> {
        let cpu = &Device::Cpu;
        let mut convolutions = Vec::new();
        let mut side = STEM;
        for (i, (block, (from, to))) in weights
            .blocks
            .iter()
            .zip(weights.plan.channels())
            .enumerate()
        {
            let (kernel, bias) = fold(block, to);
            if !kernel.iter().chain(&bias).all(|v| v.is_finite()) {
                return Err(Error::Tensor {
                    name: format!("block{i}.kernel"),
                    was: "overflows when the normalisation is folded in".into(),
                    allowed: "the product with gain / deviation must be finite".into(),
                });
            }
            let size = Size {
                height: side,
                width: side,
                from,
                to,
            };
            convolutions.push(ConvRelu::new(&kernel, bias, size, pools(i)));
            if pools(i) {
                side /= 2;
            }
        }
        let plan = weights.plan;
        Ok(Self {
            convolutions: convolutions.into(),
            head: Tensor::from_slice(&weights.head, (plan.features(), plan.dim), cpu)?,
            bias: Tensor::from_slice(&weights.bias, plan.dim, cpu)?,
        })
    }

    /// `[n, dim]`, not normalised, on the calling thread alone.
    pub fn forward(&self, images: &[Prepared]) -> Result<Tensor> {
        let mut x = stem(images.iter().map(Prepared::as_slice))?;
        for layer in self.convolutions.iter() {
            x = x.apply_op1_no_bwd(layer)?;
        }
        x.apply_op3_no_bwd(&self.head, &self.bias, &Linear)
    }
}

fn fold(block: &Block, to: usize) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> = block
        .gain
        .iter()
        .zip(&block.variance)
        .map(|(gain, variance)| gain / (variance + EPSILON).sqrt())
        .collect();
    let mut kernel = block.kernel.clone();
    for row in kernel.chunks_exact_mut(to) {
        for (v, scale) in row.iter_mut().zip(&scale) {
            *v *= scale;
        }
    }
    let bias = block
        .shift
        .iter()
        .zip(&block.mean)
        .zip(&scale)
        .map(|((shift, mean), scale)| shift - mean * scale)
        .collect();
    (kernel, bias)
}

/// Space-to-depth: `[n, 16, 16, 4]` from images of 32 x 32.
pub(crate) fn stem<'a>(images: impl Iterator<Item = &'a [f32]>) -> Result<Tensor> {
    let mut out = Vec::new();
    for image in images {
        for rows in image.chunks_exact(2 * SIDE) {
            let (upper, lower) = rows.split_at(SIDE);
            for (u, l) in upper.chunks_exact(2).zip(lower.chunks_exact(2)) {
                out.extend([u[0], u[1], l[0], l[1]]);
            }
        }
    }
    let n = out.len() / (SIDE * SIDE);
    Tensor::from_vec(out, (n, STEM, STEM, 4), &Device::Cpu)
}
