//! The places of `DINOv2`'s patches, for smaller images than it has learnt.
//!
//! Candle's takes the nearest of the 37 x 37 places that there are weights for, where the
//! original interpolates bicubically. So we interpolate, and put each value where candle will
//! look for it.

use candle_core::{Device, Result, Tensor};

/// Pixels of a patch, either way.
const PATCH: usize = 14;
/// The original adds it to the number of patches before it divides.
const OFFSET: f64 = 0.1;

/// `[1, 1 + n, width]`, the class token's first, with the values for images of `side` among
/// them. `n` is a square.
pub(super) fn for_side(embedded: &Tensor, n: usize, side: usize) -> Result<Tensor> {
    let (from, to, width) = (n.isqrt(), side / PATCH, embedded.dim(2)?);
    if from * from != n || to > from {
        let told = format!(
            "pos_embed: {n} places; a square of at least {} is needed",
            to * to
        );
        return Err(candle_core::Error::msg(told));
    }
    let mut values = embedded.flatten_all()?.to_vec1::<f32>()?;
    let known = values.split_off(width);
    let mut spread = known.clone();
    let weights: Vec<[(usize, f32); 4]> = (0..to).map(|i| cubic(i, from, to)).collect();
    for (y, rows) in weights.iter().enumerate() {
        for (x, columns) in weights.iter().enumerate() {
            let place = (y * from / to) * from + x * from / to;
            let cell = &mut spread[place * width..][..width];
            cell.fill(0.0);
            for (row, a) in rows {
                for (column, b) in columns {
                    let source = &known[(row * from + column) * width..][..width];
                    for (v, s) in cell.iter_mut().zip(source) {
                        *v += a * b * s;
                    }
                }
            }
        }
    }
    values.extend(spread);
    Tensor::from_vec(values, (1, 1 + n, width), &Device::Cpu)
}

/// Which four of `from` places make up the `i`-th of `to`, and by how much each (Keys 1981, with
/// a = -0.75 as in the original).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few places"
)]
fn cubic(i: usize, from: usize, to: usize) -> [(usize, f32); 4] {
    let scale = from as f64 / (to as f64 + OFFSET);
    let at = (i as f64 + 0.5) * scale - 0.5;
    [-1.0, 0.0, 1.0, 2.0].map(|step| {
        let place = at.floor() + step;
        let d = (at - place).abs();
        let weight = if d <= 1.0 {
            (1.25 * d - 2.25) * d * d + 1.0
        } else {
            ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0
        };
        let kept = place.clamp(0.0, (from - 1) as f64);
        (kept as usize, weight as f32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_and_planes_stay_nearly_planes() {
        for (from, to) in [(37, 16), (37, 37), (20, 7)] {
            for i in 0..to {
                let weights = cubic(i, from, to);
                let sum: f32 = weights.iter().map(|(_, w)| w).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{weights:?}");
            }
        }
        // A plane over the places: x + 2 y. Only a = -0.5 would keep it exactly.
        let n = 37_u16;
        let plane = (0..n * n).map(|at| f32::from(at % n) + 2.0 * f32::from(at / n));
        let n = usize::from(n);
        let values: Vec<f32> = std::iter::once(-5.0).chain(plane).collect();
        let embedded = Tensor::from_vec(values, (1, 1 + n * n, 1), &Device::Cpu).unwrap();
        let spread = for_side(&embedded, n * n, 224).unwrap();
        let spread = spread.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((spread[0] + 5.0).abs() < 1e-6);
        for (y, x) in [(3_u16, 5_u16), (8, 8), (12, 4)] {
            let scale = 37.0 / 16.1;
            let wanted = |i: u16| (f32::from(i) + 0.5) * scale - 0.5;
            let place = (usize::from(y) * n / 16) * n + usize::from(x) * n / 16;
            let found = spread[1 + place];
            assert!(
                (found - (wanted(x) + 2.0 * wanted(y))).abs() < 0.1,
                "{found}"
            );
        }
    }
}
