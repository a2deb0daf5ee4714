//! The tower as it learns: the same layers as [`crate::encoder::tower`], with batch
//! normalisation over the batch.

use super::loss::unit;
use super::stack::Stack;
use crate::encoder::conv::Size;
use crate::encoder::tower::places_averaged;
use crate::encoder::weights;
use crate::encoder::{Plan, Weights};
use candle_core::{Device, Result, Tensor, Var};

/// How much of a batch goes into the running statistics, once these have settled.
const MOMENTUM: f32 = 0.05;

/// Something that learns.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name in a checkpoint.
    pub name: String,
    /// Its values.
    pub values: Var,
    /// Whether weight decay applies: to matrices only.
    pub decays: bool,
}

#[derive(Debug)]
struct Layer {
    kernel: Var,
    affine: Var,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

/// The learning tower.
#[derive(Debug)]
pub struct Net {
    plan: Plan,
    /// None where a head learns alone.
    stack: Option<Stack>,
    layers: Vec<Layer>,
    head: Var,
    bias: Var,
}

impl Net {
    /// A tower that goes on from these weights, on this device.
    ///
    /// # Errors
    /// Values that do not fit the plan.
    pub fn new(weights: &Weights, device: &Device) -> Result<Self> {
        let plan = weights.plan;
        let (mut layers, steps) = (Vec::new(), plan.steps());
        for (block, step) in weights.blocks.iter().zip(&steps) {
            let Size { side, from, to, .. } = step.size;
            let affine = [&block.gain[..], &block.shift[..]].concat();
            layers.push(Layer {
                kernel: Var::from_slice(&block.kernel, (side, side, from, to), device)?,
                affine: Var::from_vec(affine, (2, to), device)?,
                mean: block.mean.clone(),
                variance: block.variance.clone(),
            });
        }
        Ok(Self {
            plan,
            stack: (!steps.is_empty())
                .then(|| Stack::new(&steps))
                .transpose()?,
            layers,
            head: Var::from_slice(&weights.head, (plan.features(), plan.dim), device)?,
            bias: Var::from_slice(&weights.bias, plan.dim, device)?,
        })
    }

    /// The tower's shape.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// What it learns on.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.head.device()
    }

    /// All that learns, always in this order.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let parameter = |name: String, values: &Var, decays| Parameter {
            name,
            values: values.clone(),
            decays,
        };
        let mut all = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            all.push(parameter(format!("block{i}.kernel"), &layer.kernel, true));
            all.push(parameter(format!("block{i}.affine"), &layer.affine, false));
        }
        all.push(parameter("head.weight".into(), &self.head, true));
        all.push(parameter("head.bias".into(), &self.bias, false));
        all
    }

    /// Embeds a batch of folded images (`Plan::folds`) to `[n, dim]` of unit length. `settled`
    /// is the number of batches that the running statistics have seen.
    ///
    /// # Errors
    /// A batch of another shape.
    pub fn forward(&mut self, batch: &Tensor, settled: u64) -> Result<Tensor> {
        #[expect(clippy::cast_precision_loss, reason = "only small ones matter")]
        let share = (1.0 / (settled as f32 + 1.0)).max(MOMENTUM);
        let mut parameters = Vec::with_capacity(2 * self.layers.len());
        for layer in &self.layers {
            parameters.push(layer.kernel.flatten_all()?);
            parameters.push(layer.affine.flatten_all()?);
        }
        let (x, statistics) = match &self.stack {
            Some(stack) => stack.forward(batch, &Tensor::cat(&parameters, 0)?)?,
            None => (batch.clone(), Vec::new()),
        };
        for (layer, statistics) in self.layers.iter_mut().zip(&statistics) {
            blend(&mut layer.mean, &statistics.mean, share);
            blend(&mut layer.variance, &statistics.variance, share);
        }
        let x = if self.plan.averages() {
            places_averaged(&x.reshape((x.dim(0)?, (), self.plan.features()))?)?
        } else {
            x
        };
        let x = x.matmul(&self.head)?;
        unit(&x.broadcast_add(&self.bias)?)
    }

    /// Goes on from other weights of the same plan; the parameters stay the same variables.
    ///
    /// # Errors
    /// Weights of another plan.
    pub fn set(&mut self, weights: &Weights) -> Result<()> {
        let put = |var: &Var, values: Vec<f32>| {
            var.set(&Tensor::from_vec(values, var.shape(), var.device())?)
        };
        for (layer, block) in self.layers.iter_mut().zip(&weights.blocks) {
            put(&layer.kernel, block.kernel.clone())?;
            put(&layer.affine, [&block.gain[..], &block.shift[..]].concat())?;
            layer.mean.clone_from(&block.mean);
            layer.variance.clone_from(&block.variance);
        }
        put(&self.head, weights.head.clone())?;
        put(&self.bias, weights.bias.clone())
    }

    /// What has been learnt so far.
    ///
    /// # Errors
    /// None that can be foreseen.
    pub fn weights(&self) -> Result<Weights> {
        let flat = |v: &Var| v.flatten_all()?.to_vec1::<f32>();
        let mut blocks = Vec::new();
        for layer in &self.layers {
            let mut gain = flat(&layer.affine)?;
            let shift = gain.split_off(gain.len() / 2);
            blocks.push(weights::Block {
                kernel: flat(&layer.kernel)?,
                gain,
                shift,
                mean: layer.mean.clone(),
                variance: layer.variance.clone(),
            });
        }
        Ok(Weights {
            plan: self.plan,
            blocks,
            head: flat(&self.head)?,
            bias: flat(&self.bias)?,
        })
    }
}

fn blend(running: &mut [f32], batch: &[f32], share: f32) {
    for (running, batch) in running.iter_mut().zip(batch) {
        *running += share * (batch - *running);
    }
}
