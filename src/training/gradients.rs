//! Every operation and loss of ours against finite differences.
#![expect(
    clippy::many_single_char_names,
    clippy::cast_precision_loss,
    reason = "formulas as they are written, small counts"
)]

use super::Loss;
use super::block::{Block, Gradients, Passed};
use super::buffers::Buffers;
use super::loss::{agreement, learned, unit};
use super::random::Random;
use super::stack::Stack;
use crate::encoder::conv::Size;
use crate::encoder::tower::EPSILON;
use crate::encoder::{Architecture, Plan, Step};
use candle_core::{Device, Tensor, Var};

/// A step by its definition, in `f64`.
struct Reference {
    n: usize,
    step: Step,
}

impl Reference {
    fn convolved(&self, x: &[f64], kernel: &[f64]) -> Vec<f64> {
        let size = self.step.size;
        let ((rows, columns), c, half) = (size.out(), size.to, size.side / 2);
        let mut raw = vec![0.0; self.n * rows * columns * c];
        for (at, out) in raw.iter_mut().enumerate() {
            let (o, col, row) = (at % c, at / c % columns, at / c / columns % rows);
            let n = at / c / columns / rows;
            for tap in 0..size.side * size.side {
                let y = (row * size.stride + tap / size.side).wrapping_sub(half);
                let x_ = (col * size.stride + tap % size.side).wrapping_sub(half);
                if y >= size.height || x_ >= size.width {
                    continue;
                }
                for i in 0..size.from {
                    *out += x[((n * size.height + y) * size.width + x_) * size.from + i]
                        * kernel[(tap * size.from + i) * c + o];
                }
            }
        }
        raw
    }

    fn with(&self, x: &[f64], add: Option<&[f64]>, parameters: &[f64]) -> Vec<f64> {
        let size = self.step.size;
        let (kernel, affine) = parameters.split_at(size.kernel());
        let mut raw = self.convolved(x, kernel);
        let ((rows, columns), c) = (size.out(), size.to);
        for o in 0..c {
            let count = (self.n * rows * columns) as f64;
            let channel = || raw.iter().skip(o).step_by(c);
            let mean = channel().sum::<f64>() / count;
            let variance = channel().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            let scale = affine[o] / (variance + f64::from(EPSILON)).sqrt();
            let offset = affine[c + o] - mean * scale;
            for v in raw.iter_mut().skip(o).step_by(c) {
                *v = *v * scale + offset;
            }
        }
        for (i, v) in raw.iter_mut().enumerate() {
            *v += add.map_or(0.0, |add| add[i]);
            if self.step.relu {
                *v = v.max(0.0);
            }
        }
        if !self.step.pool {
            return raw;
        }
        let mut out = Vec::new();
        for n in 0..self.n {
            for row in 0..rows / 2 {
                for col in 0..columns / 2 {
                    for o in 0..c {
                        let at = |y: usize, x: usize| {
                            raw[((n * rows + 2 * row + y) * columns + 2 * col + x) * c + o]
                        };
                        out.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
                    }
                }
            }
        }
        out
    }
}

fn normal(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal()).collect()
}

/// Compares gradients with those of `value`, by finite differences.
fn compare(name: &str, gradients: &[f32], at: &[f64], value: impl Fn(&[f64]) -> f64) {
    for (i, gradient) in gradients.iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = at.to_vec();
            moved[i] += by;
            value(&moved)
        };
        let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        let difference = (numeric - f64::from(*gradient)).abs();
        assert!(
            difference < 1e-3 * (1.0 + numeric.abs()),
            "{name}, element {i}: {gradient}, should be {numeric}"
        );
    }
}

fn exact(v: &[f32]) -> Vec<f64> {
    v.iter().copied().map(f64::from).collect()
}

fn weighted(out: &[f64], weights: &[f32]) -> f64 {
    let products = out.iter().zip(weights);
    products.map(|(a, b)| a * f64::from(*b)).sum()
}

fn step(height: usize, width: usize, [from, to]: [usize; 2], side: usize) -> Step {
    Step {
        input: 0,
        size: Size {
            height,
            width,
            from,
            to,
            side,
            stride: 1,
        },
        add: None,
        relu: true,
        pool: false,
    }
}

fn check_block(step: Step) {
    let (n, random) = (3, &mut Random::new(1, 2));
    let (block, buffers) = (Block::new(step).unwrap(), &Buffers::default());
    let x = normal(n * step.size.input(), random);
    let parameters = normal(block.parameters(), random);
    let add = step.add.map(|_| normal(n * step.output(), random));
    // What a buffer held before must not matter.
    buffers.give(vec![f32::NAN; n * step.size.output()]);
    let (out, saved) = block.forward(&x, add.as_deref(), &parameters, buffers);
    let weights = normal(out.len(), random);
    buffers.give(vec![f32::NAN; n * step.size.output()]);
    let passed = Passed {
        x: &x,
        parameters: &parameters,
        out: &out,
    };
    let gradients = block.backward(passed, saved, &weights, true, buffers);
    let Gradients {
        parameters: dparameters,
        input: dx,
        add: dadd,
    } = gradients;
    assert_eq!((dparameters.len(), dx.len()), (parameters.len(), x.len()));
    let reference = Reference { n, step };
    let (x, parameters, add) = (exact(&x), exact(&parameters), add.as_deref().map(exact));
    let expected = reference.with(&x, add.as_deref(), &parameters);
    assert_eq!(out.len(), expected.len());
    for (a, b) in out.iter().zip(&expected) {
        assert!((f64::from(*a) - b).abs() < 1e-3, "{step:?}: {a} {b}");
    }
    compare("parameters", &dparameters, &parameters, |p| {
        weighted(&reference.with(&x, add.as_deref(), p), &weights)
    });
    compare("input", &dx, &x, |x| {
        weighted(&reference.with(x, add.as_deref(), &parameters), &weights)
    });
    assert_eq!(dadd.len(), add.as_ref().map_or(0, Vec::len));
    if let Some(add) = &add {
        compare("add", &dadd, add, |add| {
            weighted(&reference.with(&x, Some(add), &parameters), &weights)
        });
    }
}

#[test]
fn blocks_of_every_kind() {
    let plain = step(5, 4, [5, 7], 3);
    let strided = |step: Step, stride| Step {
        size: Size {
            stride,
            ..step.size
        },
        ..step
    };
    let pooled = |step| Step { pool: true, ..step };
    let added = |step| Step {
        add: Some(0),
        ..step
    };
    let open = |step| Step {
        relu: false,
        ..step
    };
    for step in [
        plain,
        pooled(step(4, 6, [5, 7], 3)),
        pooled(step(5, 7, [3, 4], 3)),
        strided(plain, 2),
        strided(step(5, 7, [2, 3], 3), 2),
        step(3, 5, [4, 3], 1),
        open(strided(step(5, 4, [4, 3], 1), 2)),
        step(6, 5, [2, 3], 5),
        added(plain),
        added(open(step(3, 3, [4, 5], 3))),
        added(strided(step(4, 5, [3, 4], 3), 2)),
        // By tiles.
        pooled(step(8, 8, [16, 16], 3)),
    ] {
        check_block(step);
    }
    assert!(Block::new(pooled(added(plain))).is_err());
    assert!(Block::new(step(0, 4, [1, 1], 3)).is_err());
}

/// All values that the steps give, one after another.
fn through(steps: &[Step], n: usize, x: &[f64], parameters: &[f64]) -> Vec<f64> {
    let (mut values, mut parameters) = (vec![x.to_vec()], parameters);
    for step in steps {
        let count = step.size.kernel() + 2 * step.size.to;
        let (mine, rest) = parameters.split_at(count);
        parameters = rest;
        let add = step.add.map(|add| values[add].as_slice());
        let out = Reference { n, step: *step }.with(&values[step.input], add, mine);
        values.push(out);
    }
    values.pop().unwrap()
}

fn check_stack(steps: &[Step]) {
    let (n, random, cpu) = (3, &mut Random::new(3, 4), &Device::Cpu);
    let first = steps[0].size;
    let x = normal(n * first.input(), random);
    let count: usize = steps.iter().map(|s| s.size.kernel() + 2 * s.size.to).sum();
    let parameters = normal(count, random);
    let shape = (n, first.height, first.width, first.from);
    let images = Tensor::from_slice(&x, shape, cpu).unwrap();
    let all = Var::from_slice(&parameters, count, cpu).unwrap();
    let stack = Stack::new(steps).unwrap();
    let (out, statistics) = stack.forward(&images, &all).unwrap();
    assert_eq!(statistics.len(), steps.len());
    let weights = normal(out.elem_count(), random);
    let weighting = Tensor::from_slice(&weights, out.shape(), cpu).unwrap();
    let scalar = (out * weighting).unwrap().sum_all().unwrap();
    let gradients = scalar.backward().unwrap();
    let gradients = gradients.get(&all).unwrap().to_vec1::<f32>().unwrap();
    let x = exact(&x);
    compare("parameters", &gradients, &exact(&parameters), |p| {
        weighted(&through(steps, n, &x, p), &weights)
    });
    assert!(scalar.backward().is_err(), "there is one way back");
    // Memory goes round: a step leaves as many vectors as it finds.
    let free = stack.free();
    for _ in 0..3 {
        let (out, _) = stack.forward(&images, &all).unwrap();
        out.sum_all().unwrap().backward().unwrap();
        assert_eq!(stack.free(), free);
    }
    let short = Tensor::zeros(7, candle_core::DType::F32, cpu).unwrap();
    assert!(stack.forward(&images, &short).is_err());
}

#[test]
fn a_stack_goes_back_through_all_its_steps() {
    let first = Step {
        pool: true,
        ..step(4, 6, [3, 4], 3)
    };
    let second = Step {
        input: 1,
        ..step(2, 3, [4, 5], 3)
    };
    check_stack(&[first, second]);
    assert!(Stack::new(&[]).is_err());
}

#[test]
fn a_residual_tower_goes_back_through_both_branches() {
    let plan = Plan {
        side: 24,
        widths: [2, 2, 3],
        ..Plan::of(Architecture::ResnetS)
    };
    // As large as it is, finite differences of all steps would take minutes: the last six.
    let steps = plan.steps();
    let cut = steps.len() - 6;
    let steps: Vec<Step> = steps[cut..]
        .iter()
        .map(|step| Step {
            input: step.input - cut,
            add: step.add.map(|add| add - cut),
            ..*step
        })
        .collect();
    assert!(steps.iter().filter(|s| s.add.is_some()).count() > 1);
    assert!(steps.iter().any(|s| s.size.stride == 2 && !s.relu));
    check_stack(&steps);
}

/// Compares the gradient of a loss with finite differences; `value` has rows of 5 numbers.
fn check_loss(name: &str, rows: usize, value: impl Fn(&Tensor) -> candle_core::Result<Tensor>) {
    let start = normal(rows * 5, &mut Random::new(5, 0));
    let start: Vec<f64> = start.into_iter().map(f64::from).collect();
    let value = |values: &[f64]| {
        let z = Var::from_slice(values, (rows, 5), &Device::Cpu).unwrap();
        (value(&z).unwrap(), z)
    };
    let (scalar, z) = value(&start);
    let gradients = scalar.backward().unwrap();
    let gradient = gradients.get(&z).unwrap().flatten_all().unwrap();
    let gradient = gradient.to_vec1::<f64>().unwrap();
    assert!(gradient.iter().any(|g| g.abs() > 1e-3));
    for (i, gradient) in gradient.iter().enumerate() {
        let at = |by: f64| {
            let mut moved = start.clone();
            moved[i] += by;
            value(&moved).0.to_scalar::<f64>().unwrap()
        };
        // Small: a larger step may change which negative a triplet takes.
        let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
        assert!(
            (numeric - gradient).abs() < 1e-6 * (1.0 + numeric.abs()),
            "{name}, element {i}: {gradient}, should be {numeric}"
        );
    }
}

#[test]
fn losses() {
    let labels: Vec<u32> = (0..12).map(|i| i / 3).collect();
    for loss in Loss::ALL {
        check_loss(loss.name(), 12, |z| loss.of(&unit(z)?, &labels, 0.1));
    }
}

#[test]
fn losses_with_parameters_of_their_own() {
    let labels: Vec<u32> = (0..8).map(|i| i / 2).collect();
    // The first eight rows are embeddings, the others the loss's own.
    check_loss("arcface", 12, |all| {
        let (z, centres) = (all.narrow(0, 0, 8)?, all.narrow(0, 8, 4)?);
        learned::arc_face(&unit(&z)?, &unit(&centres)?, &labels, 4.0, 0.3)
    });
    check_loss("koch", 10, |all| {
        let head = all.narrow(0, 8, 2)?.flatten_all()?.narrow(0, 0, 6)?;
        learned::weighted_l1(&unit(&all.narrow(0, 0, 8)?)?, &labels, &head)
    });
}

#[test]
fn losses_of_two_views() {
    type Views = candle_core::Result<(Tensor, Tensor)>;
    let views = |all: &Tensor| -> Views { Ok((all.narrow(0, 0, 6)?, all.narrow(0, 6, 6)?)) };
    check_loss("moco", 15, |all| {
        let (a, b) = views(all)?;
        let (a, b, queue) = (unit(&a)?, unit(&b)?, unit(&all.narrow(0, 12, 3)?)?);
        agreement::info_nce(&a, &b, Some(&queue), 0.5)
    });
    for (name, loss) in [
        ("alignment", agreement::alignment as fn(&_, &_) -> _),
        ("vicreg", agreement::vicreg),
        ("barlow twins", agreement::barlow_twins),
    ] {
        check_loss(name, 12, |all| {
            let (a, b) = views(all)?;
            loss(&a, &b)
        });
    }
}

#[test]
fn losses_fall_when_mates_come_together() {
    let labels = [0, 0, 1, 1];
    let of = |loss: Loss, rows: [[f32; 2]; 4]| {
        let z = Tensor::new(&rows, &Device::Cpu).unwrap();
        loss.of(&z, &labels, 0.1)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
    };
    for loss in Loss::ALL {
        let apart = of(loss, [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]);
        let together = of(loss, [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]);
        assert!(together < apart, "{loss}: {together} {apart}");
        // Lifted structure sums over strangers, and wants more the more there are.
        let least = if loss == Loss::Lifted { 0.2 } else { 1e-3 };
        assert!(together < least, "{loss}: {together}");
    }
}
