//! Blocks one after another as a single candle operation with its own gradient.
//!
//! Candle's autograd adds each gradient that crosses it to fresh zeros: of what goes on between
//! the blocks, nothing does.

use super::block::{Block, Gradients, Passed, Saved, Statistics};
use super::buffers::Buffers;
use super::ops;
use crate::encoder::Step;
use crate::encoder::layer::values;
use candle_core::{CpuStorage, CustomOp2, Device, Error, Layout, Result, Shape, Storage, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// What a block gave, and what it kept.
type Given = (Vec<f32>, Saved);

/// The operation: images `[n, height, width, from]`, for which there is no gradient, and the
/// parameters of all blocks, one block's after another's. Out come `[n, numbers of an image]`.
#[derive(Debug, Clone)]
pub struct Stack {
    blocks: Arc<[Block]>,
    /// Filled on the way there, emptied on the way back.
    given: Arc<Mutex<Vec<Given>>>,
    buffers: Arc<Buffers>,
}

impl Stack {
    /// The blocks of these steps, each of which takes what earlier ones give.
    ///
    /// # Errors
    /// No step, or one that cannot be.
    pub fn new(steps: &[Step]) -> Result<Self> {
        if steps.is_empty() {
            return Err(Error::msg("a stack of no steps"));
        }
        let blocks = steps.iter().map(|step| Block::new(*step));
        Ok(Self {
            blocks: blocks.collect::<Result<Vec<_>>>()?.into(),
            given: Arc::default(),
            buffers: Arc::default(),
        })
    }

    /// Embeds a batch, and answers the statistics of each block, too. On a device other than
    /// the CPU, candle's own operations do it.
    ///
    /// # Errors
    /// Images or parameters of another size.
    pub fn forward(
        &self,
        images: &Tensor,
        parameters: &Tensor,
    ) -> Result<(Tensor, Vec<Statistics>)> {
        if !images.device().is_cpu() {
            let steps: Vec<Step> = self.blocks.iter().map(|b| *b.step()).collect();
            return ops::forward(&steps, images, parameters);
        }
        let out = images.apply_op2(parameters, self.clone())?;
        let given = self.given();
        let statistics = given.iter().map(|(_, saved)| saved.statistics.clone());
        let statistics = statistics.collect();
        drop(given);
        Ok((out, statistics))
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.buffers.free()
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Vec<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, images: usize, parameters: usize) -> Result<()> {
        let each = self.blocks[0].step().size.input();
        let wanted: usize = self.blocks.iter().map(Block::parameters).sum();
        if images == 0 || !images.is_multiple_of(each) || parameters != wanted {
            let was = format!("{images} numbers of images and {parameters} parameters");
            let message = format!("{was}; images of {each} and {wanted} parameters are needed");
            return Err(Error::msg(message));
        }
        Ok(())
    }

    /// The way back: the gradient of all parameters.
    fn back(
        &self,
        images: &[f32],
        parameters: &[f32],
        given: Vec<Given>,
        gradient: Vec<f32>,
    ) -> Vec<f32> {
        let mut of_parameters = vec![0.0; parameters.len()];
        let mut end = parameters.len();
        let (mut values, mut kept): (Vec<_>, Vec<_>) = given.into_iter().unzip();
        // The gradients of values, counted as steps count them; the images have none.
        let mut waiting: Vec<Option<Vec<f32>>> = vec![None; values.len() + 1];
        waiting[values.len()] = Some(gradient);
        for block in self.blocks.iter().rev() {
            let (step, saved) = (*block.step(), kept.pop().unwrap_or_default());
            let out = values.pop().unwrap_or_default();
            let mine = end - block.parameters()..end;
            end = mine.start;
            let Some(d) = waiting[values.len() + 1].take() else {
                continue;
            };
            let passed = Passed {
                x: match step.input {
                    0 => images,
                    i => &values[i - 1],
                },
                parameters: &parameters[mine.clone()],
                out: &out,
            };
            let Gradients {
                parameters,
                input,
                add,
            } = block.backward(passed, saved, &d, step.input > 0, &self.buffers);
            of_parameters[mine].copy_from_slice(&parameters);
            self.wait(&mut waiting, step.input, input);
            if let Some(to) = step.add {
                self.wait(&mut waiting, to, add);
            }
            self.buffers.give(d);
            self.buffers.give(out);
        }
        of_parameters
    }

    /// Adds a gradient to those of the value counted `at`.
    fn wait(&self, waiting: &mut [Option<Vec<f32>>], at: usize, gradient: Vec<f32>) {
        if at == 0 {
            return self.buffers.give(gradient);
        }
        match &mut waiting[at] {
            None => waiting[at] = Some(gradient),
            Some(sum) => {
                for (sum, v) in sum.iter_mut().zip(&gradient) {
                    *sum += v;
                }
                self.buffers.give(gradient);
            }
        }
    }
}

impl CustomOp2 for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (images, mut parameters) = (values(s1, l1)?, values(s2, l2)?);
        self.check(images.len(), parameters.len())?;
        let mut given: Vec<Given> = Vec::with_capacity(self.blocks.len());
        for block in self.blocks.iter() {
            let (mine, rest) = parameters.split_at(block.parameters());
            parameters = rest;
            let value = |at: usize| match at {
                0 => images,
                i => &given[i - 1].0,
            };
            let step = block.step();
            let add = step.add.map(value);
            let out = block.forward(value(step.input), add, mine, &self.buffers);
            given.push(out);
        }
        // The way back gives a vector of this length: the gradient of what goes out.
        let last = given.last().map_or(&[][..], |(out, _)| out);
        let mut out = self.buffers.take(last.len());
        out.copy_from_slice(last);
        *self.given() = given;
        let n = l1.shape().dim(0)?;
        let each = out.len() / n;
        Ok((CpuStorage::F32(out), (n, each).into()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        parameters: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let given = std::mem::take(&mut *self.given());
        let gradient = flat(gradient)?;
        if given
            .last()
            .is_none_or(|(out, _)| out.len() != gradient.len())
        {
            return Err(Error::msg("the way back belongs to another batch"));
        }
        let gradients = with_values(images, |images| {
            with_values(parameters, |parameters| {
                Ok(self.back(images, parameters, given, gradient))
            })
        })?;
        let gradients = Tensor::from_vec(gradients, parameters.shape(), parameters.device())?;
        Ok((None, Some(gradients)))
    }
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(tensor, |values| Ok(values.to_vec()))
}

/// Looks at the values of a tensor, wherever they are.
pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(values(cpu, layout)?),
        _ => Err(Error::msg("not on the CPU")),
    }
}
