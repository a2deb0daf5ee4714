//! Convolution, batch normalisation, ReLU and pooling as one step, there and back.
//!
//! Fused, because candle's own convolution takes four to eight times its forward time to
//! go back, and its 2x2 max pooling goes back wrongly (candle-core 0.11.1). Channels last.
//! Batch normalisation: Ioffe and Szegedy 2015. Sums are made image by image and added in
//! order, so results do not depend on the number of threads.

use super::buffers::Buffers;
use crate::encoder::Step;
use crate::encoder::conv::{Back, Conv, KernelGradient, Size};
use crate::encoder::tower::EPSILON;
use crate::training::pooling;
use candle_core::{Error, Result};
use rayon::prelude::*;

/// In how many parts a batch is convolved, there and back.
const PARTS: usize = 8;
/// Kernels of more numbers are large.
const LARGE: usize = 1 << 16;

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

/// The gradients of a step.
#[derive(Debug, Default)]
pub struct Gradients {
    /// Of its parameters.
    pub parameters: Vec<f32>,
    /// Of its input, where that was asked for; else empty.
    pub input: Vec<f32>,
    /// Of what was added; empty where nothing was.
    pub add: Vec<f32>,
}

/// What a step was given and what it gave.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'a> {
    /// The batch that went in.
    pub x: &'a [f32],
    /// Its parameters.
    pub parameters: &'a [f32],
    /// What came out.
    pub out: &'a [f32],
}

/// One step of a tower as it learns. Its parameters: kernel `[side, side, from, to]`, `to`
/// gains, `to` shifts.
#[derive(Debug, Clone, Copy)]
pub struct Block(Step);

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

impl Block {
    /// The block of a step.
    ///
    /// # Errors
    /// Something is zero, or the step pools what is not cut off at 0.
    pub fn new(step: Step) -> Result<Self> {
        if step.size.input() == 0 || step.output() == 0 {
            return Err(Error::msg("an empty image"));
        }
        if step.pool && (!step.relu || step.add.is_some()) {
            return Err(Error::msg(
                "pooling takes what ReLU gives, and nothing added",
            ));
        }
        Ok(Self(step))
    }

    /// The step.
    #[must_use]
    pub fn step(&self) -> &Step {
        &self.0
    }

    /// How many parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.0.size.kernel() + 2 * self.0.size.to
    }

    fn split<'a>(&self, parameters: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        parameters.split_at(self.0.size.kernel())
    }

    /// A batch, image after image; `add` is of the shape of what comes out.
    ///
    /// # Panics
    /// `x` is no whole number of images, or the parameters are not as many as they should be.
    #[must_use]
    pub fn forward(
        &self,
        x: &[f32],
        add: Option<&[f32]>,
        parameters: &[f32],
        buffers: &Buffers,
    ) -> (Vec<f32>, Saved) {
        let (size, to, each) = (self.0.size, self.0.size.to, self.0.output());
        let (kernel, affine) = self.split(parameters);
        let n = x.len() / size.input();
        let conv = Conv::of_batches(kernel, size);
        let mut raw = buffers.take(n * size.output());
        let part = n.div_ceil(PARTS);
        let sums: Vec<Vec<f32>> = raw
            .par_chunks_mut(part * size.output())
            .zip(x.par_chunks(part * size.input()))
            .flat_map_iter(|(y, x)| {
                conv.forward(x, y);
                y.chunks_exact(size.output()).map(|y| moments(y, to))
            })
            .collect();
        let statistics = statistics(&sums, n * size.places(), to);
        let line = Line::new(affine, &statistics);
        let mut out = buffers.take(n * each);
        out.par_chunks_mut(each)
            .zip(raw.par_chunks(size.output()))
            .enumerate()
            .for_each(|(i, (y, raw))| {
                if self.0.pool {
                    pooling::forward(raw, size.out().1, &line.scale, &line.offset, y);
                } else {
                    let add = add.map(|add| &add[i * each..][..each]);
                    self.finish(raw, &line, add, y);
                }
            });
        (out, Saved { raw, statistics })
    }

    /// Normalised, added to, cut off at 0.
    fn finish(&self, raw: &[f32], line: &Line, add: Option<&[f32]>, y: &mut [f32]) {
        let c = line.scale.len();
        let (scale, offset) = (&line.scale[..c], &line.offset[..c]);
        let plain = add.is_none() && self.0.relu;
        for (y, raw) in y.chunks_exact_mut(c).zip(raw.chunks_exact(c)) {
            for j in 0..c {
                let v = raw[j] * scale[j] + offset[j];
                y[j] = if plain { v.max(0.0) } else { v };
            }
        }
        for (y, add) in y.iter_mut().zip(add.unwrap_or_default()) {
            let v = *y + add;
            *y = if self.0.relu { v.max(0.0) } else { v };
        }
    }

    /// The gradients; `gradient` is that of what [`Block::forward`] answered for this very
    /// batch. That of the input is made where `input`.
    ///
    /// # Panics
    /// As [`Block::forward`].
    #[must_use]
    pub fn backward(
        &self,
        passed: Passed,
        saved: Saved,
        gradient: &[f32],
        input: bool,
        buffers: &Buffers,
    ) -> Gradients {
        let (kernel, affine) = self.split(passed.parameters);
        let (draw, add, daffine) =
            self.normalisation(&saved, affine, passed.out, gradient, buffers);
        buffers.give(saved.raw);
        let back = input.then(|| Back::new(kernel, self.0.size));
        let (mut parameters, input) =
            convolution(passed.x, &draw, back.as_ref(), self.0.size, buffers);
        buffers.give(draw);
        parameters.extend(daffine);
        Gradients {
            parameters,
            input,
            add,
        }
    }

    /// Gradients of the convolution's output, of what was added, and of gains and shifts.
    fn normalisation(
        &self,
        saved: &Saved,
        affine: &[f32],
        out: &[f32],
        gradient: &[f32],
        buffers: &Buffers,
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let Step {
            size,
            pool,
            relu,
            add,
            ..
        } = self.0;
        let (raw, to) = (&saved.raw, size.to);
        let Statistics { mean, variance } = &saved.statistics;
        let line = Line::new(affine, &saved.statistics);
        let each = self.0.output();
        // First the gradient of the normalised values, with its sums.
        let mut d = buffers.take(raw.len());
        let sums: Vec<Vec<f32>> = d
            .par_chunks_mut(size.output())
            .zip(raw.par_chunks(size.output()))
            .zip(gradient.par_chunks(each).zip(out.par_chunks(each)))
            .map(|((d, raw), (g, out))| {
                if pool {
                    pooling::backward(raw, size.out().1, &line.scale, &line.offset, g, d);
                } else if !relu {
                    d.copy_from_slice(g);
                } else if add.is_some() {
                    for ((d, g), out) in d.iter_mut().zip(g).zip(out) {
                        *d = if *out > 0.0 { *g } else { 0.0 };
                    }
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
        let mut dadd = Vec::new();
        if add.is_some() {
            dadd = buffers.take(d.len());
            dadd.copy_from_slice(&d);
        }
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
        (d, dadd, daffine)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
fn narrow(v: f64) -> f32 {
    v as f32
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
fn convolution(
    x: &[f32],
    d: &[f32],
    back: Option<&Back>,
    size: Size,
    buffers: &Buffers,
) -> (Vec<f32>, Vec<f32>) {
    let images = x.len() / size.input();
    // Sums of a large kernel take as long to be cleared and added up as to be made.
    let parts = if size.kernel() > LARGE {
        PARTS / 2
    } else {
        PARTS
    };
    let part = images.div_ceil(parts);
    let of_kernel = KernelGradient::new(size);
    let mut dx = buffers.take(if back.is_some() { x.len() } else { 0 });
    let mut shares: Vec<&mut [f32]> = dx.chunks_mut(part * size.input()).collect();
    shares.resize_with(images.div_ceil(part), Default::default);
    let sums: Vec<Vec<f32>> = x
        .par_chunks(part * size.input())
        .zip(d.par_chunks(part * size.output()))
        .zip(shares)
        .map(|((x, d), dx)| {
            let mut sum = buffers.take(of_kernel.numbers());
            sum.fill(0.0);
            of_kernel.add(x, d, &mut sum);
            if let Some(back) = back {
                back.input(d, dx);
            }
            sum
        })
        .collect();
    let total = sums.into_iter().reduce(|mut total, sum| {
        let pairs = total.par_chunks_mut(LARGE).zip(sum.par_chunks(LARGE));
        pairs.for_each(|(total, sum)| {
            for (total, v) in total.iter_mut().zip(sum) {
                *total += v;
            }
        });
        buffers.give(sum);
        total
    });
    let total = total.unwrap_or_default();
    let gradient = of_kernel.finish(&total);
    buffers.give(total);
    (gradient, dx)
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
