//! Every operation and loss of ours against finite differences.
#![expect(
    clippy::many_single_char_names,
    clippy::cast_precision_loss,
    reason = "formulas as they are written, small counts"
)]

use super::block::Block;
use super::buffers::Buffers;
use super::random::Random;
use super::stack::Stack;
use super::{Loss, net};
use crate::encoder::conv::Size;
use crate::encoder::tower::EPSILON;
use candle_core::{Device, Tensor, Var};

/// Convolution, normalisation, ReLU and pooling by their definitions, in `f64`.
struct Reference {
    n: usize,
    height: usize,
    width: usize,
    from: usize,
    to: usize,
    pool: bool,
}

impl Reference {
    fn forward(&self, x: &[f64], kernel: &[f64], affine: &[f64]) -> Vec<f64> {
        let (h, w, c) = (self.height, self.width, self.to);
        let mut raw = vec![0.0; self.n * h * w * c];
        for (at, out) in raw.iter_mut().enumerate() {
            let (o, col, row, n) = (at % c, at / c % w, at / c / w % h, at / c / w / h);
            for tap in 0..9 {
                let (y, x_) = (row + tap / 3, col + tap % 3);
                if y == 0 || x_ == 0 || y > h || x_ > w {
                    continue;
                }
                for i in 0..self.from {
                    *out += x[((n * h + y - 1) * w + x_ - 1) * self.from + i]
                        * kernel[(tap * self.from + i) * c + o];
                }
            }
        }
        for o in 0..c {
            let count = (self.n * h * w) as f64;
            let channel = || raw.iter().skip(o).step_by(c);
            let mean = channel().sum::<f64>() / count;
            let variance = channel().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            let scale = affine[o] / (variance + f64::from(EPSILON)).sqrt();
            let offset = affine[c + o] - mean * scale;
            for v in raw.iter_mut().skip(o).step_by(c) {
                *v = (*v * scale + offset).max(0.0);
            }
        }
        if !self.pool {
            return raw;
        }
        let mut out = Vec::new();
        for n in 0..self.n {
            for row in 0..h / 2 {
                for col in 0..w / 2 {
                    for o in 0..c {
                        let at = |y: usize, x: usize| {
                            raw[((n * h + 2 * row + y) * w + 2 * col + x) * c + o]
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

fn reference(size: Size, pool: bool, n: usize) -> Reference {
    Reference {
        n,
        height: size.height,
        width: size.width,
        from: size.from,
        to: size.to,
        pool,
    }
}

impl Reference {
    fn with(&self, x: &[f64], parameters: &[f64]) -> Vec<f64> {
        let (kernel, affine) = parameters.split_at(9 * self.from * self.to);
        self.forward(x, kernel, affine)
    }
}

fn check_block(pool: bool, height: usize, width: usize) {
    let size = Size {
        height,
        width,
        from: 5,
        to: 7,
    };
    let (n, random) = (3, &mut Random::new(1, 2));
    let (block, buffers) = (Block::new(size, pool).unwrap(), &Buffers::default());
    let x = normal(n * size.input(), random);
    let parameters = normal(block.parameters(), random);
    let (out, saved) = block.forward(&x, &parameters, buffers);
    let weights = normal(out.len(), random);
    let (dparameters, dx) = block.backward(&x, &parameters, saved, &weights, true, buffers);
    assert_eq!((dparameters.len(), dx.len()), (parameters.len(), x.len()));
    let reference = reference(size, pool, n);
    let (x, parameters) = (exact(&x), exact(&parameters));
    for (a, b) in out.iter().zip(reference.with(&x, &parameters)) {
        assert!((f64::from(*a) - b).abs() < 1e-3, "{a} {b}");
    }
    compare("parameters", &dparameters, &parameters, |p| {
        weighted(&reference.with(&x, p), &weights)
    });
    compare("input", &dx, &x, |x| {
        weighted(&reference.with(x, &parameters), &weights)
    });
}

#[test]
fn a_stack_goes_back_through_all_its_blocks() {
    let size = |height, width, from, to| Size {
        height,
        width,
        from,
        to,
    };
    let sizes = [(size(4, 6, 3, 4), true), (size(2, 3, 4, 5), false)];
    let blocks = sizes.map(|(size, pool)| Block::new(size, pool).unwrap());
    let (n, random, cpu) = (3, &mut Random::new(3, 4), &Device::Cpu);
    let x = normal(n * sizes[0].0.input(), random);
    let counts = blocks.map(|b| b.parameters());
    let parameters = normal(counts[0] + counts[1], random);
    let images = Tensor::from_slice(&x, (n, 4, 6, 3), cpu).unwrap();
    let all = Var::from_slice(&parameters, parameters.len(), cpu).unwrap();
    let stack = Stack::new(blocks.to_vec());
    let (out, statistics) = stack.forward(&images, &all).unwrap();
    assert_eq!(statistics.len(), 2);
    let weights = normal(out.elem_count(), random);
    let weighting = Tensor::from_slice(&weights, out.shape(), cpu).unwrap();
    let scalar = (out * weighting).unwrap().sum_all().unwrap();
    let gradients = scalar.backward().unwrap();
    let gradients = gradients.get(&all).unwrap().to_vec1::<f32>().unwrap();
    let references = sizes.map(|(size, pool)| reference(size, pool, n));
    let x = exact(&x);
    compare("parameters", &gradients, &exact(&parameters), |p| {
        let (first, second) = p.split_at(counts[0]);
        let between = references[0].with(&x, first);
        weighted(&references[1].with(&between, second), &weights)
    });
    assert!(scalar.backward().is_err(), "there is one way back");
    let short = Tensor::zeros(7, candle_core::DType::F32, cpu).unwrap();
    assert!(stack.forward(&images, &short).is_err());
}

#[test]
fn block_without_pooling() {
    check_block(false, 5, 4);
}

#[test]
fn block_with_pooling() {
    check_block(true, 4, 6);
}

fn check_loss(loss: Loss) {
    let (n, d) = (12, 5);
    let labels: Vec<u32> = (0..n).map(|i| i / 3).collect();
    let start = normal(n as usize * d, &mut Random::new(5, 0));
    let start: Vec<f64> = start.into_iter().map(f64::from).collect();
    let value = |values: &[f64]| {
        let z = Var::from_slice(values, (n as usize, d), &Device::Cpu).unwrap();
        (loss.of(&net::unit(&z).unwrap(), &labels).unwrap(), z)
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
            "{loss}, element {i}: {gradient}, should be {numeric}"
        );
    }
}

#[test]
fn losses() {
    for loss in Loss::ALL {
        check_loss(loss);
    }
}

#[test]
fn losses_fall_when_mates_come_together() {
    let labels = [0, 0, 1, 1];
    let of = |loss: Loss, rows: [[f32; 2]; 4]| {
        let z = Tensor::new(&rows, &Device::Cpu).unwrap();
        loss.of(&z, &labels).unwrap().to_scalar::<f32>().unwrap()
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
