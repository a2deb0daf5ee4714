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
pub(super) fn forward(
    steps: &[Step],
    images: &Tensor,
    parameters: &Tensor,
) -> Result<(Tensor, Vec<Statistics>)> {
    let sizes = steps.first().map(|step| step.size);
    let wanted = sizes.map(|size| [size.height, size.width, size.from]);
    if images.dims().get(1..) != wanted.as_ref().map(<[usize; 3]>::as_slice) {
        let was = images.dims();
        return Err(Error::msg(format!("images {was:?}; {wanted:?} are needed")));
    }
    // Channels first, as candle's convolution has them.
    let mut values = vec![images.permute((0, 3, 1, 2))?.contiguous()?];
    let (mut statistics, mut at) = (Vec::with_capacity(steps.len()), 0);
    let count: usize = steps.iter().map(|s| s.size.kernel() + 2 * s.size.to).sum();
    if parameters.elem_count() != count {
        let was = parameters.elem_count();
        return Err(Error::msg(format!("{was} parameters; {count} are needed")));
    }
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
    // Each row of a square first: so it is the first of equals that the gradient goes to.
    larger(&larger(&x, 5)?, 3)
}

/// The larger of the two along an axis, the first of equals. Candle's own maximum along an axis
/// gives all equals the whole gradient: of an empty page, four times too much.
fn larger(x: &Tensor, axis: usize) -> Result<Tensor> {
    let at = |nth| x.narrow(axis, nth, 1)?.squeeze(axis)?.contiguous();
    let (first, second) = (at(0)?, at(1)?);
    first.ge(&second)?.where_cond(&first, &second)
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
        let mut pixels = normal(n * first.input());
        // Half of each image is empty, as most of a page is: all there is equal.
        for image in pixels.chunks_exact_mut(first.input()) {
            image[first.input() / 2..].fill(0.0);
        }
        let images = Tensor::from_vec(pixels, shape, cpu).unwrap();
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
        let low = there(&images).narrow(1, 1, first.height - 1).unwrap();
        assert!(forward(&steps, &low, &moved).is_err());
        assert!(forward(&[], &there(&images), &moved).is_err());
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

    #[test]
    fn a_gpu_agrees_with_the_cpu() {
        use crate::training::Compute;
        use std::io::Write;
        for compute in [Compute::Cuda, Compute::Metal] {
            match compute.device() {
                Ok(device) => plans().for_each(|plan| check(plan, &device)),
                Err(why) => {
                    let needed = std::env::var_os("TWINDEX_REQUIRE_GPU");
                    assert!(needed.is_none_or(|name| name != compute.name()), "{why}");
                    // Past the harness, which keeps to itself what a test prints.
                    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
                }
            }
        }
    }
}
