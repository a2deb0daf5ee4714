//! `AdamW` (Loshchilov and Hutter 2019): Adam with weight decay apart from the gradient, a
//! decay for each parameter, and a state that can be kept and resumed.

use super::net::Parameter;
use super::stack::with_values;
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Decay of matrices; vectors do not decay.
pub const WEIGHT_DECAY: f32 = 1e-2;

/// First and second moments of a parameter's gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square.
    pub second: Vec<f32>,
}

/// The optimiser.
#[derive(Debug)]
pub struct AdamW {
    parameters: Vec<Parameter>,
    moments: Vec<Moments>,
    steps: i32,
}

impl AdamW {
    /// Starts from zero moments.
    #[must_use]
    pub fn new(parameters: Vec<Parameter>) -> Self {
        let zeros = |p: &Parameter| vec![0.0; p.values.elem_count()];
        let moments = parameters
            .iter()
            .map(|p| Moments {
                first: zeros(p),
                second: zeros(p),
            })
            .collect();
        Self {
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
        let first_bias = 1.0 - BETA1.powi(self.steps);
        let second_bias = 1.0 - BETA2.powi(self.steps);
        for (parameter, moments) in self.parameters.iter().zip(&mut self.moments) {
            let gradient = gradients.get(&parameter.values).ok_or_else(|| {
                candle_core::Error::msg(format!("{} has no gradient", parameter.name))
            })?;
            let keep = if parameter.decays {
                1.0 - rate * WEIGHT_DECAY
            } else {
                1.0
            };
            let mut values = parameter.values.flatten_all()?.to_vec1::<f32>()?;
            with_values(gradient, |gradient| {
                let state = moments.first.iter_mut().zip(&mut moments.second);
                for ((v, g), (first, second)) in values.iter_mut().zip(gradient).zip(state) {
                    *first += (1.0 - BETA1) * (g - *first);
                    *second += (1.0 - BETA2) * (g * g - *second);
                    let direction =
                        (*first / first_bias) / ((*second / second_bias).sqrt() + EPSILON);
                    *v = *v * keep - rate * direction;
                }
                Ok(())
            })?;
            let shape = parameter.values.shape();
            let device = parameter.values.device();
            parameter
                .values
                .set(&Tensor::from_vec(values, shape, device)?)?;
        }
        Ok(())
    }
}
