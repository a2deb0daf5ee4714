//! Convolution, batch normalisation, ReLU and pooling as one operation with its own
//! gradient.
//!
//! Fused, because candle's own convolution takes four to eight times its forward time to
//! go back, and its 2x2 max pooling goes back wrongly (candle-core 0.11.1). Channels last.
//! Batch normalisation: Ioffe and Szegedy 2015. Sums are made image by image and added in
//! order, so results do not depend on the number of threads.

use crate::encoder::conv::{Conv, KernelGradient, Size};
use crate::encoder::layer::values;
use crate::encoder::tower::EPSILON;
use crate::training::pooling;
use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// In how many parts a kernel's gradient is summed.
const PARTS: usize = 8;

/// Mean and variance of each channel of the last batch.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// One a channel.
    pub mean: Vec<f32>,
    /// One a channel, over all places of all images (not the unbiased estimate).
    pub variance: Vec<f32>,
}

/// What the way back needs to know, and the caller wants to see, of the way there.
#[derive(Debug, Default)]
pub struct Saved {
    raw: Vec<f32>,
    /// Of the convolution's output.
    pub statistics: Statistics,
}

/// The operation: input `[n, height, width, from]`, kernel `[3, 3, from, to]`, affine
/// `[2, to]`: gains, then shifts. Height and width are even where `pool`.
pub struct ConvNormRelu {
    /// Whether 2x2 max pooling follows.
    pub pool: bool,
    /// Whether the gradient of the input is wanted; the first layer's is not.
    pub input_gradient: bool,
    /// Filled on the way there, emptied on the way back.
    pub saved: Arc<Mutex<Saved>>,
}

/// `normalised = scale * raw + offset`, one a channel.
struct Line {
    scale: Vec<f32>,
    offset: Vec<f32>,
}

impl Line {
    fn new(affine: &[f32], statistics: &Statistics) -> Self {
        let (gain, shift) = affine.split_at(affine.len() / 2);
        let scale: Vec<f32> = gain
            .iter()
            .zip(&statistics.variance)
            .map(|(gain, variance)| gain / (variance + EPSILON).sqrt())
            .collect();
        let offset = shift
            .iter()
            .zip(&statistics.mean)
            .zip(&scale)
            .map(|((shift, mean), scale)| shift - mean * scale)
            .collect();
        Self { scale, offset }
    }
}

impl CustomOp3 for ConvNormRelu {
    fn name(&self) -> &'static str {
        "conv-norm-relu"
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
        let (x, kernel, affine) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let (n, size) = sizes(l1.shape(), l2.shape())?;
        let (height, width, to) = (size.height, size.width, size.to);
        if self.pool && (height % 2 == 1 || width % 2 == 1) {
            return Err(Error::msg("pooling needs even height and width"));
        }
        let conv = Conv::new(kernel, size);
        let mut raw = vec![0.0; n * size.output()];
        // An image's sums are taken while it is still in the cache.
        let sums: Vec<Vec<f32>> = raw
            .par_chunks_mut(size.output())
            .zip(x.par_chunks(size.input()))
            .map(|(y, x)| {
                conv.forward(x, y);
                moments(y, to)
            })
            .collect();
        let statistics = statistics(&sums, n * size.places(), to);
        let line = Line::new(affine, &statistics);
        let shape = if self.pool {
            (n, height / 2, width / 2, to)
        } else {
            (n, height, width, to)
        };
        let each = shape.1 * shape.2 * to;
        let mut out = vec![0.0; n * each];
        out.par_chunks_mut(each)
            .zip(raw.par_chunks(size.output()))
            .for_each(|(y, raw)| {
                if self.pool {
                    pooling::forward(raw, width, &line.scale, &line.offset, y);
                } else {
                    relu(raw, &line, y);
                }
            });
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Saved { raw, statistics };
        Ok((CpuStorage::F32(out), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        affine: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let saved = std::mem::take(&mut *self.saved.lock().unwrap_or_else(PoisonError::into_inner));
        let (n, size) = sizes(x.shape(), kernel.shape())?;
        if saved.raw.len() != n * size.output() {
            return Err(Error::msg("the way back belongs to another batch"));
        }
        let device = x.device();
        let (draw, daffine) = with_values(affine, |affine| {
            with_values(
                gradient,
                |g| Ok(self.normalisation(&saved, affine, g, size)),
            )
        })?;
        drop(saved);
        let back = if self.input_gradient {
            Some(with_values(kernel, |k| Ok(Conv::back(k, size)))?)
        } else {
            None
        };
        let (dkernel, dx) = with_values(x, |x| Ok(convolution(x, &draw, back.as_ref(), size)))?;
        let dx = match back {
            Some(_) => Some(Tensor::from_vec(dx, x.shape(), device)?),
            None => None,
        };
        Ok((
            dx,
            Some(Tensor::from_vec(dkernel, kernel.shape(), device)?),
            Some(Tensor::from_vec(daffine, affine.shape(), device)?),
        ))
    }
}

impl ConvNormRelu {
    /// Gradients of the convolution's output and of gains and shifts.
    fn normalisation(
        &self,
        saved: &Saved,
        affine: &[f32],
        gradient: &[f32],
        size: Size,
    ) -> (Vec<f32>, Vec<f32>) {
        let (raw, to) = (&saved.raw, size.to);
        let Statistics { mean, variance } = &saved.statistics;
        let line = Line::new(affine, &saved.statistics);
        let each = if self.pool {
            size.output() / 4
        } else {
            size.output()
        };
        // First the gradient of the normalised values, with its sums.
        let mut d = vec![0.0; raw.len()];
        let sums: Vec<Vec<f32>> = d
            .par_chunks_mut(size.output())
            .zip(raw.par_chunks(size.output()))
            .zip(gradient.par_chunks(each))
            .map(|((d, raw), g)| {
                if self.pool {
                    pooling::backward(raw, size.width, &line.scale, &line.offset, g, d);
                } else {
                    relu_backward(raw, &line, g, d);
                }
                let mut sums = vec![0.0; 2 * to];
                let (plain, moment) = sums.split_at_mut(to);
                for (d, raw) in d.chunks_exact(to).zip(raw.chunks_exact(to)) {
                    let mean = &mean[..to];
                    for j in 0..to {
                        plain[j] += d[j];
                        moment[j] += d[j] * (raw[j] - mean[j]);
                    }
                }
                sums
            })
            .collect();
        let total = add_up(&sums, 2 * to);
        #[expect(clippy::cast_precision_loss, reason = "counts of places")]
        let count = (raw.len() / to) as f64;
        // Then through mean and variance: draw = scale * d - constant - slope * raw.
        let (mut daffine, mut constant, mut slope) = (Vec::new(), Vec::new(), Vec::new());
        for j in 0..to {
            let deviation = f64::from(variance[j] + EPSILON).sqrt();
            let dgain = total[to + j] / deviation;
            let scale = f64::from(line.scale[j]);
            let s = scale * dgain / deviation / count;
            daffine.push(narrow(dgain));
            slope.push(narrow(s));
            constant.push(narrow(scale * total[j] / count - f64::from(mean[j]) * s));
        }
        daffine.extend(total[..to].iter().map(|v| narrow(*v)));
        d.par_chunks_mut(size.output())
            .zip(raw.par_chunks(size.output()))
            .for_each(|(d, raw)| {
                let (scale, constant, slope) = (&line.scale[..to], &constant[..to], &slope[..to]);
                for (d, raw) in d.chunks_exact_mut(to).zip(raw.chunks_exact(to)) {
                    for j in 0..to {
                        d[j] = scale[j] * d[j] - constant[j] - slope[j] * raw[j];
                    }
                }
            });
        (d, daffine)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
fn narrow(v: f64) -> f32 {
    v as f32
}

fn sizes(x: &Shape, kernel: &Shape) -> Result<(usize, Size)> {
    let (n, height, width, from) = x.dims4()?;
    let (_, _, _, to) = kernel.dims4()?;
    let size = Size {
        height,
        width,
        from,
        to,
    };
    if n == 0 || size.input() == 0 || size.output() == 0 {
        return Err(Error::msg("an empty batch"));
    }
    Ok((n, size))
}

pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(values(cpu, layout)?),
        _ => Err(Error::msg("the encoder trains on the CPU")),
    }
}

/// Sums and sums of squares of each channel of an image.
fn moments(raw: &[f32], to: usize) -> Vec<f32> {
    let mut sums = vec![0.0; 2 * to];
    let (plain, squares) = sums.split_at_mut(to);
    for raw in raw.chunks_exact(to) {
        for j in 0..to {
            plain[j] += raw[j];
            squares[j] += raw[j] * raw[j];
        }
    }
    sums
}

fn statistics(sums: &[Vec<f32>], count: usize, to: usize) -> Statistics {
    let total = add_up(sums, 2 * to);
    #[expect(clippy::cast_precision_loss, reason = "counts of places")]
    let count = count as f64;
    let mut statistics = Statistics::default();
    for j in 0..to {
        let mean = total[j] / count;
        statistics.mean.push(narrow(mean));
        let variance = (total[to + j] / count - mean * mean).max(0.0);
        statistics.variance.push(narrow(variance));
    }
    statistics
}

fn add_up(parts: &[Vec<f32>], length: usize) -> Vec<f64> {
    let mut total = vec![0.0; length];
    for part in parts {
        for (sum, v) in total.iter_mut().zip(part) {
            *sum += f64::from(*v);
        }
    }
    total
}

/// Gradients of the kernel and, with the way `back`, of the input.
fn convolution(x: &[f32], d: &[f32], back: Option<&Conv>, size: Size) -> (Vec<f32>, Vec<f32>) {
    let images = x.len() / size.input();
    let part = images.div_ceil(PARTS);
    let of_kernel = KernelGradient::new(size);
    let mut dx = vec![0.0; if back.is_some() { x.len() } else { 0 }];
    let mut shares: Vec<&mut [f32]> = dx.chunks_mut(part * size.input()).collect();
    shares.resize_with(images.div_ceil(part), Default::default);
    let parts: Vec<Vec<f32>> = x
        .par_chunks(part * size.input())
        .zip(d.par_chunks(part * size.output()))
        .zip(shares)
        .map(|((x, d), dx)| {
            let mut gradient = vec![0.0; 9 * size.from * size.to];
            let images = x.chunks_exact(size.input());
            for (i, (x, d)) in images.zip(d.chunks_exact(size.output())).enumerate() {
                of_kernel.add(x, d, &mut gradient);
                if let Some(back) = back {
                    back.forward(d, &mut dx[i * size.input()..][..size.input()]);
                }
            }
            gradient
        })
        .collect();
    let mut total = vec![0.0; 9 * size.from * size.to];
    for part in parts {
        for (sum, v) in total.iter_mut().zip(part) {
            *sum += v;
        }
    }
    (total, dx)
}

fn relu(raw: &[f32], line: &Line, y: &mut [f32]) {
    let c = line.scale.len();
    let (scale, offset) = (&line.scale[..c], &line.offset[..c]);
    for (y, raw) in y.chunks_exact_mut(c).zip(raw.chunks_exact(c)) {
        for j in 0..c {
            y[j] = (raw[j] * scale[j] + offset[j]).max(0.0);
        }
    }
}

fn relu_backward(raw: &[f32], line: &Line, gradient: &[f32], d: &mut [f32]) {
    let c = line.scale.len();
    let (scale, offset) = (&line.scale[..c], &line.offset[..c]);
    for ((d, raw), g) in d
        .chunks_exact_mut(c)
        .zip(raw.chunks_exact(c))
        .zip(gradient.chunks_exact(c))
    {
        for j in 0..c {
            let on = raw[j] * scale[j] + offset[j] > 0.0;
            d[j] = if on { g[j] } else { 0.0 };
        }
    }
}
