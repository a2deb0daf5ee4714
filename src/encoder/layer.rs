//! The tower's layers for inference, each one candle operation.
//!
//! Channels-last and fused, they are several times as fast as candle's own
//! convolution, bias, ReLU and pooling one after another (`cargo bench --bench encoder`).

use super::conv::Conv;
use super::plan::Step;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape};
use std::cell::RefCell;

/// The values of a contiguous `f32` tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::msg("a contiguous tensor is needed"))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Convolution, bias and what follows them in a [`Step`]. Its kernel is laid out once.
///
/// Input `[n, height, width, from]`, and what is added `[n, rows out, columns out, to]`.
#[derive(Debug)]
pub(super) struct Layer {
    conv: Conv,
    pub step: Step,
    bias: Vec<f32>,
}

impl Layer {
    /// `kernel` is `[side, side, from, to]`, `bias` `[to]`.
    pub fn new(kernel: &[f32], bias: Vec<f32>, step: Step) -> Self {
        Self {
            conv: Conv::new(kernel, step.size),
            step,
            bias,
        }
    }

    /// How many numbers it holds.
    pub fn numbers(&self) -> usize {
        self.conv.numbers() + self.bias.len()
    }

    fn apply(&self, x: &[f32], add: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let (size, each) = (self.step.size, self.step.output());
        let n = x.len() / size.input();
        if x.len() != n * size.input() || add.is_some_and(|add| add.len() != n * each) {
            let message = format!("{} numbers where {size:?} is needed", x.len());
            return Err(candle_core::Error::msg(message));
        }
        let mut out = vec![0.0; n * each];
        RAW.with_borrow_mut(|raw| {
            raw.resize(size.output(), 0.0);
            let raw = &mut raw[..size.output()];
            let images = x.chunks_exact(size.input()).zip(out.chunks_exact_mut(each));
            for (i, (x, y)) in images.enumerate() {
                self.conv.forward(x, raw);
                if self.step.pool {
                    pool_relu(raw, size.out().1, &self.bias, y);
                } else {
                    let add = add.map(|add| &add[i * each..][..each]);
                    finish(raw, add, &self.bias, self.step.relu, y);
                }
            }
        });
        let (rows, columns) = self.step.out();
        Ok((CpuStorage::F32(out), (n, rows, columns, size.to).into()))
    }
}

thread_local! {
    static RAW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.apply(values(storage, layout)?, None)
    }
}

impl CustomOp2 for Layer {
    fn name(&self) -> &'static str {
        "residual-layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.apply(values(s1, l1)?, Some(values(s2, l2)?))
    }
}

fn finish(raw: &[f32], add: Option<&[f32]>, bias: &[f32], relu: bool, y: &mut [f32]) {
    let c = bias.len();
    let least = if relu { 0.0 } else { f32::NEG_INFINITY };
    for (y, raw) in y.chunks_exact_mut(c).zip(raw.chunks_exact(c)) {
        for ((y, raw), bias) in y.iter_mut().zip(raw).zip(bias) {
            *y = raw + bias;
        }
    }
    for (y, add) in y.iter_mut().zip(add.unwrap_or_default()) {
        *y += add;
    }
    for y in y {
        *y = y.max(least);
    }
}

#[expect(clippy::many_single_char_names, reason = "corners of a square")]
/// The largest of each 2x2 square, then bias and ReLU, which keep the order.
fn pool_relu(raw: &[f32], width: usize, bias: &[f32], y: &mut [f32]) {
    let c = bias.len();
    let line = width * c;
    let rows = raw.chunks_exact(2 * line);
    for (y, rows) in y.chunks_exact_mut(width / 2 * c).zip(rows) {
        let (upper, lower) = rows.split_at(line);
        for ((y, upper), lower) in y
            .chunks_exact_mut(c)
            .zip(upper.chunks_exact(2 * c))
            .zip(lower.chunks_exact(2 * c))
        {
            let ((a, b), (d, e)) = (upper.split_at(c), lower.split_at(c));
            let (a, b, d, e, bias) = (&a[..c], &b[..c], &d[..c], &e[..c], &bias[..c]);
            for j in 0..c {
                y[j] = (a[j].max(b[j]).max(d[j].max(e[j])) + bias[j]).max(0.0);
            }
        }
    }
}

/// Fully connected: input `[n, ..]`, weight `[features, dim]`, bias `[dim]`.
pub(super) struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let (features, dim) = l2.shape().dims2()?;
        let n = x.len() / features;
        let mut out = Vec::with_capacity(n * dim);
        for x in x.chunks_exact(features) {
            let start = out.len();
            out.extend_from_slice(bias);
            let y = &mut out[start..];
            for (x, row) in x.iter().zip(weight.chunks_exact(dim)) {
                for (y, w) in y.iter_mut().zip(row) {
                    *y += x * w;
                }
            }
        }
        Ok((CpuStorage::F32(out), (n, dim).into()))
    }
}
