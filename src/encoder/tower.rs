//! One tower of the Siamese pair, as it serves: both inputs of a pair pass through the
//! same weights, and what comes out is compared (Bromley et al. 1993; Koch et al. 2015).
//!
//! Which steps it takes stands in its [`Plan`]. Batch normalisation (Ioffe and Szegedy 2015)
//! is folded into the convolutions.

use super::backbone::{self, Backbone};
use super::layer::{Layer, Linear};
use super::weights::{Block, Weights};
use super::{Architecture, Error, Plan, Prepared};
use candle_core::{Device, Result, Tensor};
use std::sync::Arc;

/// Added to a variance before its root is taken.
pub const EPSILON: f32 = 1e-5;

/// The folded tower. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tower {
    plan: Plan,
    backbone: Option<Arc<Backbone>>,
    layers: Arc<[Layer]>,
    head: Tensor,
    bias: Tensor,
}

impl Tower {
    /// Folds the batch normalisation into the convolutions.
    pub fn new(weights: &Weights) -> std::result::Result<Self, Error> {
        let cpu = &Device::Cpu;
        let plan = weights.plan;
        let id = plan.backbone;
        let id = id.filter(|_| plan.architecture == Architecture::Backbone);
        let mut layers = Vec::new();
        for (i, (block, step)) in weights.blocks.iter().zip(plan.steps()).enumerate() {
            let (kernel, bias) = fold(block, step.size.to);
            if !kernel.iter().chain(&bias).all(|v| v.is_finite()) {
                return Err(Error::Tensor {
                    name: format!("block{i}.kernel"),
                    was: "overflows when the normalisation is folded in".into(),
                    allowed: "the product with gain / deviation must be finite".into(),
                });
            }
            layers.push(Layer::new(&kernel, bias, step));
        }
        Ok(Self {
            plan,
            backbone: id.map(backbone::find).transpose()?,
            layers: layers.into(),
            head: Tensor::from_slice(&weights.head, (plan.features(), plan.dim), cpu)?,
            bias: Tensor::from_slice(&weights.bias, plan.dim, cpu)?,
        })
    }

    /// How many numbers it holds, a backbone's aside, which all models share.
    pub fn numbers(&self) -> usize {
        let layers = self.layers.iter().map(Layer::numbers);
        layers.sum::<usize>() + self.head.elem_count() + self.bias.elem_count()
    }

    /// `[n, dim]`, not normalised, on the calling thread alone.
    pub fn forward(&self, images: &[Prepared]) -> Result<Tensor> {
        if let Some(backbone) = &self.backbone {
            let seen = backbone.features(images)?;
            return seen.apply_op3_no_bwd(&self.head, &self.bias, &Linear);
        }
        let stem = stem(&self.plan, images.iter().map(Prepared::as_slice))?;
        // Counted as steps count them; what no later step asks for goes at once.
        let mut values = vec![Some(stem)];
        let missing = || candle_core::Error::msg("a step asks for what is not there");
        for (i, layer) in self.layers.iter().enumerate() {
            let value = |at: usize| values[at].as_ref().ok_or_else(missing);
            let x = value(layer.step.input)?;
            let y = match layer.step.add {
                Some(add) => x.apply_op2_no_bwd(value(add)?, layer)?,
                None => x.apply_op1_no_bwd(layer)?,
            };
            values.push(Some(y));
            let later = &self.layers[i + 1..];
            for (at, value) in values.iter_mut().enumerate().take(i + 1) {
                if !later.iter().any(|layer| layer.step.asks_for(at)) {
                    *value = None;
                }
            }
        }
        let mut x = values.pop().flatten().ok_or_else(missing)?;
        if self.plan.averages() {
            x = places_averaged(&x)?;
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

/// Space-to-depth: squares of the images become the channels `[n, rows, columns, channels]`
/// of one place each. What a backbone saw stays as it is, `[n, features]`.
pub(crate) fn stem<'a>(plan: &Plan, images: impl Iterator<Item = &'a [f32]>) -> Result<Tensor> {
    if plan.architecture == Architecture::Head {
        let all: Vec<f32> = images.flatten().copied().collect();
        let n = all.len() / plan.pixels();
        return Tensor::from_vec(all, (n, plan.pixels()), &Device::Cpu);
    }
    let (by, side, line) = (plan.folds(), plan.side, plan.pixels() / plan.side);
    let wide = by * plan.input.channels();
    let mut out = Vec::new();
    for image in images {
        for rows in image.chunks_exact(by * line) {
            for at in (0..line).step_by(wide) {
                for row in rows.chunks_exact(line) {
                    out.extend_from_slice(&row[at..at + wide]);
                }
            }
        }
    }
    let n = out.len() / plan.pixels();
    let shape = (n, side / by, side / by, by * wide);
    Tensor::from_vec(out, shape, &Device::Cpu)
}

/// The mean over all places of `[n, .., channels]`: `[n, channels]`.
pub(crate) fn places_averaged(x: &Tensor) -> Result<Tensor> {
    let (n, channels) = (x.dim(0)?, x.dim(candle_core::D::Minus1)?);
    x.reshape((n, (), channels))?.mean(1)
}
