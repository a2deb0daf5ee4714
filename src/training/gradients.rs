//! Every operation and loss of ours against finite differences.
#![expect(
    clippy::many_single_char_names,
    clippy::cast_precision_loss,
    reason = "formulas as they are written, small counts"
)]

use super::block::{ConvNormRelu, Saved};
use super::random::Random;
use super::{Loss, net};
use crate::encoder::tower::EPSILON;
use candle_core::{Device, Tensor, Var};
use std::sync::{Arc, Mutex};

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

fn check_block(pool: bool, height: usize, width: usize) {
    let (n, from, to) = (3, 5, 7);
    let random = &mut Random::new(1, 2);
    let inputs = [
        normal(n * height * width * from, random),
        normal(9 * from * to, random),
        normal(2 * to, random),
    ];
    let cpu = &Device::Cpu;
    let x = Var::from_slice(&inputs[0], (n, height, width, from), cpu).unwrap();
    let kernel = Var::from_slice(&inputs[1], (3, 3, from, to), cpu).unwrap();
    let affine = Var::from_slice(&inputs[2], (2, to), cpu).unwrap();
    let op = ConvNormRelu {
        pool,
        input_gradient: true,
        saved: Arc::new(Mutex::new(Saved::default())),
    };
    let out = x.apply_op3(&kernel, &affine, op).unwrap();
    let weights = normal(out.elem_count(), random);
    let scalar = (&out * Tensor::from_slice(&weights, out.shape(), cpu).unwrap())
        .unwrap()
        .sum_all()
        .unwrap();
    let gradients = scalar.backward().unwrap();

    let reference = Reference {
        n,
        height,
        width,
        from,
        to,
        pool,
    };
    let exact = inputs.map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
    let value = |inputs: &[Vec<f64>; 3]| -> f64 {
        let out = reference.forward(&inputs[0], &inputs[1], &inputs[2]);
        out.iter()
            .zip(&weights)
            .map(|(a, b)| a * f64::from(*b))
            .sum()
    };
    let got = f64::from(scalar.to_scalar::<f32>().unwrap());
    assert!((got - value(&exact)).abs() < 1e-3, "{got}");
    for (which, var) in [&x, &kernel, &affine].into_iter().enumerate() {
        let gradient = gradients.get(var).unwrap().flatten_all().unwrap();
        let gradient = gradient.to_vec1::<f32>().unwrap();
        for (i, gradient) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut moved = exact.clone();
                moved[which][i] += by;
                value(&moved)
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            let difference = (numeric - f64::from(*gradient)).abs();
            assert!(
                difference < 1e-3 * (1.0 + numeric.abs()),
                "input {which}, element {i}: {gradient}, should be {numeric}"
            );
        }
    }
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
