//! The tower as it learns in candle's own operations: for devices that our kernels do not run on,
//! a GPU above all. Slower on a CPU; the same numbers but for rounding.

use super::block::Statistics;
use crate::encoder::Step;
use crate::encoder::conv::Size;
use crate::encoder::tower::EPSILON;
use candle_core::{Error, Result, Tensor};

/// As [`super::stack::Stack::forward`], on the device that images and parameters are on.
///
/// # Errors
/// No step; images or parameters of another size.
pub fn forward(
    steps: &[Step],
    images: &Tensor,
    parameters: &Tensor,
) -> Result<(Tensor, Vec<Statistics>)> {
    // Channels first, as candle's convolution has them.
    let mut values = vec![images.permute((0, 3, 1, 2))?.contiguous()?];
    let (mut statistics, mut at) = (Vec::with_capacity(steps.len()), 0);
    for step in steps {
        let Size { side, from, to, .. } = step.size;
        let kernel = parameters.narrow(0, at, step.size.kernel())?;
        let kernel = kernel.reshape((side, side, from, to))?;
        let kernel = kernel.permute((3, 2, 0, 1))?.contiguous()?;
        at += step.size.kernel();
        let gain = parameters.narrow(0, at, to)?.reshape((1, to, 1, 1))?;
        let shift = parameters.narrow(0, at + to, to)?.reshape((1, to, 1, 1))?;
        at += 2 * to;
        let raw = values[step.input].conv2d(&kernel, side / 2, step.size.stride, 1, 1)?;
        let mean = raw.mean_keepdim((0, 2, 3))?;
        let centred = raw.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
        statistics.push(Statistics {
            mean: mean.flatten_all()?.to_vec1()?,
            variance: variance.flatten_all()?.to_vec1()?,
        });
        let deviation = (variance + f64::from(EPSILON))?.sqrt()?;
        let scaled = centred.broadcast_mul(&gain.div(&deviation)?)?;
        let mut y = scaled.broadcast_add(&shift)?;
        if let Some(add) = step.add {
            y = (y + &values[add])?;
        }
        if step.relu {
            y = y.relu()?;
        }
        if step.pool {
            y = pooled(&y)?;
        }
        values.push(y);
    }
    if values.len() == 1 || at != parameters.elem_count() {
        let was = parameters.elem_count();
        let message = format!("{was} parameters for {} steps of {at}", steps.len());
        return Err(Error::msg(message));
    }
    let out = values.swap_remove(values.len() - 1);
    Ok((out.permute((0, 2, 3, 1))?.flatten_from(1)?, statistics))
}

/// The largest of each 2x2, by operations whose way back is right: that of candle's own pooling
/// is not (candle-core 0.11.1).
fn pooled(x: &Tensor) -> Result<Tensor> {
    let (n, c, height, width) = x.dims4()?;
    let (rows, columns) = (height / 2, width / 2);
    let x = x.narrow(2, 0, 2 * rows)?.narrow(3, 0, 2 * columns)?;
    let x = x.contiguous()?.reshape((n, c, rows, 2, columns, 2))?;
    x.max(5)?.max(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Architecture, Plan};
    use crate::training::random::Random;
    use crate::training::stack::Stack;
    use candle_core::{DType, Device, Var};

    fn near(what: &str, a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len(), "{what}");
        let largest = b.iter().fold(1e-3_f32, |largest, v| largest.max(v.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 2e-4 * largest, "{what}: {a} {b}");
        }
    }

    /// Forward, statistics and gradients of a tower's steps, both ways.
    fn check(plan: Plan, device: &Device) {
        let (steps, cpu) = (plan.steps(), &Device::Cpu);
        let (n, random) = (4, &mut Random::new(5, 1));
        let mut normal =
            |count: usize| -> Vec<f32> { (0..count).map(|_| random.normal()).collect() };
        let first = steps[0].size;
        let shape = (n, first.height, first.width, first.from);
        let images = Tensor::from_vec(normal(n * first.input()), shape, cpu).unwrap();
        let count = steps.iter().map(|s| s.size.kernel() + 2 * s.size.to).sum();
        let parameters = Var::from_vec(normal(count), count, cpu).unwrap();

        let (ours, expected) = Stack::new(&steps)
            .unwrap()
            .forward(&images, &parameters)
            .unwrap();
        let weights = Tensor::from_vec(normal(ours.elem_count()), ours.shape(), cpu).unwrap();
        let gradient = |out: &Tensor, weights: &Tensor, of: &Var| {
            let gradients = (out * weights)
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            gradients.get(of).unwrap().to_vec1::<f32>().unwrap()
        };
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let ours = (flat(&ours), gradient(&ours, &weights, &parameters));

        let there = |t: &Tensor| t.to_device(device).unwrap();
        let moved = Var::from_tensor(&there(&parameters)).unwrap();
        let (out, statistics) = forward(&steps, &there(&images), &moved).unwrap();
        let name = plan.architecture;
        near(&format!("{name}: out"), &flat(&out), &ours.0);
        let back = gradient(&out, &there(&weights), &moved);
        near(&format!("{name}: gradient"), &back, &ours.1);
        for (a, b) in statistics.iter().zip(&expected) {
            near("mean", &a.mean, &b.mean);
            near("variance", &a.variance, &b.variance);
        }
        let short = Tensor::zeros(count + 1, DType::F32, device).unwrap();
        assert!(forward(&steps, &there(&images), &short).is_err());
    }

    fn plans() -> impl Iterator<Item = Plan> {
        let towers = Architecture::ALL.into_iter().filter(|a| !a.has_backbone());
        towers.flat_map(|architecture| {
            [24, 30].map(|side| Plan {
                side,
                widths: [4, 6, 8],
                ..Plan::of(architecture)
            })
        })
    }

    #[test]
    fn candles_operations_and_the_fused_ones_agree_there_and_back() {
        for plan in plans() {
            check(plan, &Device::Cpu);
        }
    }

    #[cfg(any(feature = "cuda", feature = "metal"))]
    #[test]
    fn a_gpu_agrees_with_the_cpu() {
        use crate::training::Compute;
        let built = [
            (cfg!(feature = "cuda"), Compute::Cuda),
            (cfg!(feature = "metal"), Compute::Metal),
        ];
        for (_, compute) in built.into_iter().filter(|(built, _)| *built) {
            match compute.device() {
                Ok(device) => plans().for_each(|plan| check(plan, &device)),
                Err(error) => println!("SKIPPED: {error}"),
            }
        }
    }
}
