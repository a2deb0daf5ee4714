//! Blocks one after another as a single candle operation with its own gradient.
//!
//! Candle's autograd adds each gradient that crosses it to fresh zeros: of what goes on between
//! the blocks, nothing does.

use super::block::{Block, Saved, Statistics};
use super::buffers::Buffers;
use crate::encoder::layer::values;
use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Storage, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// What a block was given, unless it was the first, and what it kept.
type Passed = (Vec<f32>, Saved);

/// The operation: images `[n, height, width, from]`, for which there is no gradient, and the
/// parameters of all blocks, one block's after another's. Out come `[n, numbers of an image]`.
#[derive(Debug, Clone)]
pub struct Stack {
    blocks: Arc<[Block]>,
    /// Filled on the way there, emptied on the way back.
    passed: Arc<Mutex<Vec<Passed>>>,
    buffers: Arc<Buffers>,
}

impl Stack {
    /// These blocks, each of which takes what the one before gives.
    #[must_use]
    pub fn new(blocks: Vec<Block>) -> Self {
        Self {
            blocks: blocks.into(),
            passed: Arc::default(),
            buffers: Arc::default(),
        }
    }

    /// Embeds a batch, and answers the statistics of each block, too.
    ///
    /// # Errors
    /// Images or parameters of another size.
    pub fn forward(
        &self,
        images: &Tensor,
        parameters: &Tensor,
    ) -> Result<(Tensor, Vec<Statistics>)> {
        let out = images.apply_op2(parameters, self.clone())?;
        let passed = self.passed();
        let statistics = passed.iter().map(|(_, saved)| saved.statistics.clone());
        let statistics = statistics.collect();
        drop(passed);
        Ok((out, statistics))
    }

    fn passed(&self) -> std::sync::MutexGuard<'_, Vec<Passed>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, images: usize, parameters: usize) -> Result<()> {
        let each = self.blocks.first().map_or(0, |b| b.size().input());
        let wanted: usize = self.blocks.iter().map(Block::parameters).sum();
        if images == 0 || each == 0 || !images.is_multiple_of(each) || parameters != wanted {
            let was = format!("{images} numbers of images and {parameters} parameters");
            let message = format!("{was}; images of {each} and {wanted} parameters are needed");
            return Err(Error::msg(message));
        }
        Ok(())
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
        let mut passed: Vec<Passed> = Vec::with_capacity(self.blocks.len());
        let mut x = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let (mine, rest) = parameters.split_at(block.parameters());
            parameters = rest;
            let (out, saved) = block.forward(if i == 0 { images } else { &x }, mine, &self.buffers);
            passed.push((std::mem::replace(&mut x, out), saved));
        }
        *self.passed() = passed;
        let n = l1.shape().dim(0)?;
        let each = x.len() / n;
        Ok((CpuStorage::F32(x), (n, each).into()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        parameters: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut passed = std::mem::take(&mut *self.passed());
        let mut gradients = vec![0.0; parameters.elem_count()];
        let (mut d, mut end) = (flat(gradient)?, gradients.len());
        let last = self.blocks.last().map_or(0, Block::output);
        let mut fits = passed.len() == self.blocks.len();
        fits &= d.len() == images.dim(0)? * last;
        if !fits {
            return Err(Error::msg("the way back belongs to another batch"));
        }
        with_values(images, |images| {
            with_values(parameters, |parameters| {
                let blocks = self.blocks.iter().zip(passed.drain(..)).enumerate();
                for (i, (block, (before, saved))) in blocks.rev() {
                    let mine = end - block.parameters()..end;
                    end = mine.start;
                    let x = if i == 0 { images } else { &before };
                    let (own, dx) = block.backward(
                        x,
                        &parameters[mine.clone()],
                        saved,
                        &d,
                        i > 0,
                        &self.buffers,
                    );
                    gradients[mine].copy_from_slice(&own);
                    self.buffers.give(before);
                    self.buffers.give(std::mem::replace(&mut d, dx));
                }
                Ok(())
            })
        })?;
        let gradients = Tensor::from_vec(gradients, parameters.shape(), parameters.device())?;
        Ok((None, Some(gradients)))
    }
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(tensor, |values| Ok(values.to_vec()))
}

pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(values(cpu, layout)?),
        _ => Err(Error::msg("the encoder trains on the CPU")),
    }
}
