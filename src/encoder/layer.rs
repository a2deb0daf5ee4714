//! The tower's layers for inference, each one candle operation.
//!
//! Channels-last and fused, they are several times as fast as candle's own
//! convolution, bias, ReLU and pooling one after another (`cargo bench --bench encoder`).

use super::conv::{Conv, Size};
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape};
use std::cell::RefCell;

/// The values of a contiguous `f32` tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::msg("a contiguous tensor is needed"))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Convolution 3x3, bias, ReLU and, where asked for, 2x2 max pooling.
///
/// Input `[n, height, width, from]` of the size it was made for. Its kernel is laid out once.
#[derive(Debug)]
pub(super) struct ConvRelu {
    conv: Conv,
    size: Size,
    bias: Vec<f32>,
    pool: bool,
}

impl ConvRelu {
    /// `kernel` is `[3, 3, from, to]`, `bias` `[to]`.
    pub fn new(kernel: &[f32], bias: Vec<f32>, size: Size, pool: bool) -> Self {
        Self {
            conv: Conv::new(kernel, size),
            size,
            bias,
            pool,
        }
    }
}

thread_local! {
    static RAW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl CustomOp1 for ConvRelu {
    fn name(&self) -> &'static str {
        "conv-relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let (n, height, width, from) = layout.shape().dims4()?;
        let (size, bias) = (self.size, self.bias.as_slice());
        let to = size.to;
        if (height, width, from) != (size.height, size.width, size.from) {
            let message = format!("{:?} where {size:?} is needed", layout.shape());
            return Err(candle_core::Error::msg(message));
        }
        let shape = if self.pool {
            (n, height / 2, width / 2, to)
        } else {
            (n, height, width, to)
        };
        let each = shape.1 * shape.2 * to;
        let mut out = vec![0.0; n * each];
        RAW.with_borrow_mut(|raw| {
            raw.resize(size.output(), 0.0);
            for (x, y) in x
                .chunks_exact(size.input())
                .zip(out.chunks_exact_mut(each.max(1)))
            {
                self.conv.forward(x, raw);
                if self.pool {
                    pool_relu(raw, width, bias, y);
                } else {
                    relu(raw, bias, y);
                }
            }
        });
        Ok((CpuStorage::F32(out), shape.into()))
    }
}

fn relu(raw: &[f32], bias: &[f32], y: &mut [f32]) {
    let c = bias.len();
    for (y, raw) in y.chunks_exact_mut(c).zip(raw.chunks_exact(c)) {
        for ((y, raw), bias) in y.iter_mut().zip(raw).zip(bias) {
            *y = (raw + bias).max(0.0);
        }
    }
}

#[expect(clippy::many_single_char_names, reason = "corners of a square")]
/// The largest of each 2x2 square, then bias and ReLU, which keep the order.
fn pool_relu(raw: &[f32], width: usize, bias: &[f32], y: &mut [f32]) {
    let c = bias.len();
    let line = width * c;
    for (y, rows) in y
        .chunks_exact_mut(width / 2 * c)
        .zip(raw.chunks_exact(2 * line))
    {
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
