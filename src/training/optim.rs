//! The optimiser: `AdamW` for vectors, Muon or `AdamW` for matrices, with a state that can be
//! kept and resumed.
//!
//! `AdamW` (Loshchilov and Hutter 2019) has its weight decay apart from the gradient. Muon
//! (Jordan et al. 2024) moves a matrix along the nearest orthogonal one to its momentum, scaled
//! so that steps do not depend on its sides (Liu et al. 2025).

use super::net::Parameter;
use super::stack::with_values;
use crate::simd::conv::{self, Filters, Geometry};
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// Muon's momentum.
const MOMENTUM: f32 = 0.95;
/// The root of the mean square of a Muon step, over the learning rate: four times that of an
/// `AdamW` step (0.2, Liu et al. 2025), which was measured to go farther on the same images
/// (within-alphabet error 16.4 % by `AdamW`; 14.3, 13.1 and 12.5 % at once, twice and four times).
const MUON_STEP: f32 = 0.8;

/// Decay of matrices; vectors do not decay.
pub const WEIGHT_DECAY: f32 = 1e-2;

/// How matrices learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Orthogonalised momentum: gets as far as `AdamW` on a third of the images.
    #[default]
    Muon,
    /// As vectors do.
    #[serde(rename = "adamw")]
    AdamW,
}

/// What is remembered of a parameter's gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient, or Muon's momentum.
    pub first: Vec<f32>,
    /// Running mean of its square; zeros with Muon.
    pub second: Vec<f32>,
}

/// The optimiser.
#[derive(Debug)]
pub struct Optimiser {
    method: Method,
    /// Gradients that are together longer than this are shortened to it (Pascanu et al. 2013).
    clip: f32,
    parameters: Vec<Parameter>,
    moments: Vec<Moments>,
    steps: i32,
}

impl Optimiser {
    /// Starts from zero moments.
    #[must_use]
    pub fn new(method: Method, clip: f32, parameters: Vec<Parameter>) -> Self {
        let zeros = |p: &Parameter| vec![0.0; p.values.elem_count()];
        let moments = parameters
            .iter()
            .map(|p| Moments {
                first: zeros(p),
                second: zeros(p),
            })
            .collect();
        Self {
            method,
            clip,
            parameters,
            moments,
            steps: 0,
        }
    }

    /// The moments, by parameter.
    pub fn state(&self) -> impl Iterator<Item = (&Parameter, &Moments)> {
        self.parameters.iter().zip(&self.moments)
    }

    /// Goes on from moments after `steps` steps; they are in the order of [`Self::state`].
    pub fn resume(&mut self, moments: Vec<Moments>, steps: u64) {
        self.moments = moments;
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
    }

    /// One step of size `rate` against the gradients.
    ///
    /// # Errors
    /// A parameter without gradient: it would silently never learn.
    pub fn step(&mut self, gradients: &GradStore, rate: f32) -> Result<()> {
        self.steps = self.steps.saturating_add(1);
        let mut all = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            all.push(gradients.get(&parameter.values).ok_or_else(|| {
                candle_core::Error::msg(format!("{} has no gradient", parameter.name))
            })?);
        }
        let shorter = self.shorter(&all)?;
        let both = self.parameters.iter().zip(&mut self.moments);
        for ((parameter, moments), gradient) in both.zip(all) {
            let mut values = parameter.values.flatten_all()?.to_vec1::<f32>()?;
            if parameter.decays {
                for v in &mut values {
                    *v *= 1.0 - rate * WEIGHT_DECAY;
                }
            }
            let columns = parameter.values.dims().last().copied().unwrap_or(1);
            let muon = parameter.decays && self.method == Method::Muon;
            with_values(gradient, |gradient| {
                if muon {
                    let direction = orthogonal(&look_ahead(moments, gradient, shorter), columns);
                    let rows = direction.len() / columns;
                    #[expect(clippy::cast_precision_loss, reason = "sides of a matrix")]
                    let size = rate * MUON_STEP * (rows.max(columns) as f32).sqrt();
                    for (v, d) in values.iter_mut().zip(&direction) {
                        *v -= size * d;
                    }
                } else {
                    adam(&mut values, moments, gradient, shorter, rate, self.steps);
                }
                Ok(())
            })?;
            let (shape, device) = (parameter.values.shape(), parameter.values.device());
            let values = Tensor::from_vec(values, shape, device)?;
            parameter.values.set(&values)?;
        }
        Ok(())
    }

    /// The factor that makes the gradients no longer than `clip`.
    fn shorter(&self, gradients: &[&Tensor]) -> Result<f32> {
        let mut square = 0.0_f64;
        for gradient in gradients {
            square += with_values(gradient, |g| {
                Ok(g.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>())
            })?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
        let length = square.sqrt() as f32;
        Ok(if length > self.clip {
            self.clip / length
        } else {
            1.0
        })
    }
}

fn adam(
    values: &mut [f32],
    moments: &mut Moments,
    gradient: &[f32],
    shorter: f32,
    rate: f32,
    steps: i32,
) {
    let first_bias = 1.0 - BETA1.powi(steps);
    let second_bias = 1.0 - BETA2.powi(steps);
    let state = moments.first.iter_mut().zip(&mut moments.second);
    for ((v, g), (first, second)) in values.iter_mut().zip(gradient).zip(state) {
        let g = g * shorter;
        *first += (1.0 - BETA1) * (g - *first);
        *second += (1.0 - BETA2) * (g * g - *second);
        let direction = (*first / first_bias) / ((*second / second_bias).sqrt() + EPSILON);
        *v -= rate * direction;
    }
}

/// Nesterov's: the gradient and, once more, the momentum that it has joined.
fn look_ahead(moments: &mut Moments, gradient: &[f32], shorter: f32) -> Vec<f32> {
    let both = moments.first.iter_mut().zip(gradient);
    both.map(|(first, g)| {
        let g = g * shorter;
        *first = MOMENTUM * *first + g;
        g + MOMENTUM * *first
    })
    .collect()
}

/// About the nearest matrix with orthogonal columns (or rows, where these are fewer): five
/// Newton-Schulz steps, whose coefficients bring singular values to 0.7..1.2 fast (Jordan et
/// al. 2024).
///
/// By our own kernels, on the calling thread: the library's products would wait for threads of
/// its own more than a hundred times a step.
fn orthogonal(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    if rows <= columns {
        let x = orthogonal_columns(transposed(matrix, columns), rows);
        return transposed(&x, rows);
    }
    orthogonal_columns(matrix.to_vec(), columns)
}

fn orthogonal_columns(mut x: Vec<f32>, columns: usize) -> Vec<f32> {
    let length = x.iter().map(|v| v * v).sum::<f32>().sqrt() + 1e-7;
    for v in &mut x {
        *v /= length;
    }
    for _ in 0..5 {
        let a = gram(&x, columns);
        let mut b = product(&a, &a, columns);
        for (b, a) in b.iter_mut().zip(&a) {
            *b = 2.0315 * *b - 4.7750 * a;
        }
        let turned = product(&x, &b, columns);
        for (x, turned) in x.iter_mut().zip(&turned) {
            *x = 3.4445 * *x + turned;
        }
    }
    x
}

/// `x b`, where `b` is square: a convolution of side 1 over the rows of `x`.
fn product(x: &[f32], b: &[f32], columns: usize) -> Vec<f32> {
    let geometry = Geometry::new(1, x.len() / columns, columns, 1, 1);
    let mut out = vec![0.0; x.len()];
    conv::forward(x, &geometry, &Filters::new(b, columns), &mut out);
    out
}

/// `x^T x`: the kernel's gradient of such a convolution.
fn gram(x: &[f32], columns: usize) -> Vec<f32> {
    let geometry = Geometry::new(1, x.len() / columns, columns, 1, 1);
    let mut out = vec![0.0; columns * columns];
    conv::add_kernel_gradient(x, &geometry, x, &mut out);
    out
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let at = |i: usize| matrix[i % rows * columns + i / rows];
    (0..matrix.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::random::Random;
    use candle_core::Device;

    #[test]
    fn what_muon_follows_is_nearly_orthogonal() {
        let random = &mut Random::new(1, 1);
        for (rows, columns) in [(30, 5), (5, 30), (8, 8)] {
            let matrix: Vec<f32> = (0..rows * columns).map(|_| random.normal()).collect();
            let x = orthogonal(&matrix, columns);
            let x = Tensor::from_vec(x, (rows, columns), &Device::Cpu).unwrap();
            let gram = if rows > columns {
                x.t().unwrap().matmul(&x)
            } else {
                x.matmul(&x.t().unwrap())
            };
            for (i, row) in gram.unwrap().to_vec2::<f32>().unwrap().iter().enumerate() {
                for (j, v) in row.iter().enumerate() {
                    let (least, most) = if i == j { (0.4, 1.6) } else { (-0.5, 0.5) };
                    assert!((least..=most).contains(v), "{i} {j}: {v}");
                }
            }
        }
    }

    #[test]
    fn both_methods_reach_a_minimum_and_no_parameter_is_forgotten() {
        for method in [Method::Muon, Method::AdamW] {
            let start: Vec<f32> = (0..12_u8).map(f32::from).collect();
            let values = candle_core::Var::from_vec(start, (4, 3), &Device::Cpu).unwrap();
            let parameter = Parameter {
                name: "x".into(),
                values: values.clone(),
                decays: true,
            };
            let mut optimiser = Optimiser::new(method, 1.0, vec![parameter]);
            let distance = || (values.as_tensor() - 3.0).unwrap().sqr().unwrap().sum_all();
            // Steps do not grow shorter by themselves as the slope does.
            for step in (0..500_u16).rev() {
                let gradients = distance().unwrap().backward().unwrap();
                let rate = f32::from(step) * 3e-4;
                optimiser.step(&gradients, rate).unwrap();
            }
            let left = distance().unwrap().to_scalar::<f32>().unwrap();
            assert!(left < 0.1, "{method:?}: {left}");
            let other = candle_core::Var::zeros(1, candle_core::DType::F32, &Device::Cpu);
            let unrelated = other.unwrap().sum_all().unwrap().backward().unwrap();
            assert!(optimiser.step(&unrelated, 0.1).is_err());
        }
    }
}
