//! Initial weights.

use super::random::Random;
use crate::encoder::weights::Block;
use crate::encoder::{Plan, Weights};

/// Normal weights of variance 2 / inputs (He et al. 2015); normalisation that changes
/// nothing. The same seed gives the same weights.
#[must_use]
pub fn initial(plan: Plan, seed: u64) -> Weights {
    let mut random = Random::new(seed, u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let mut normal = |inputs: usize, count: usize, power: f32| {
        let deviation = (power / inputs as f32).sqrt();
        (0..count).map(|_| deviation * random.normal()).collect()
    };
    let blocks = plan
        .steps()
        .into_iter()
        .map(|step| (step.size, step.size.to))
        .map(|(size, to)| Block {
            kernel: normal(size.depth(), size.kernel(), 2.0),
            gain: vec![1.0; to],
            shift: vec![0.0; to],
            mean: vec![0.0; to],
            variance: vec![1.0; to],
        })
        .collect();
    Weights {
        plan,
        blocks,
        head: normal(plan.features(), plan.features() * plan.dim, 1.0),
        bias: vec![0.0; plan.dim],
    }
}
