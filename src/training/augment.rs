//! Another hand, another pen: random variations of a drawing.
//!
//! Turn and mirror (by class), affine (rotation 12 degrees, shear 0.2, scale e^±0.2 each
//! way, shift 0.1 of the half-width), elastic (a 4x4 grid of displacements, deviation 0.04,
//! interpolated; after Simard, Steinkraus and Platt 2003), a thicker stroke (blend with
//! the 3x3 maximum, up to 0.6) and a stronger or fainter one (e^±0.4).
#![expect(
    clippy::many_single_char_names,
    reason = "matrices by their elements, places by their coordinates"
)]

use super::corpus::INK;
use super::random::Random;
use crate::encoder::{GRID, SIDE};

const ROTATION: f32 = 12.0;
const SHEAR: f32 = 0.2;
const LOG_SCALE: f32 = 0.2;
const SHIFT: f32 = 0.1;
const ELASTIC: f32 = 0.04;
const THICKEN: f32 = 0.6;
const LOG_GAIN: f32 = 0.4;
/// Rows and columns of the elastic grid.
const KNOTS: usize = 4;

/// An affine map of the square -1..=1 and a displacement for each place of the result.
struct Warp {
    matrix: [f32; 4],
    shift: [f32; 2],
    elastic: [[f32; KNOTS * KNOTS]; 2],
}

/// A variation of `source` (64 x 64, [`INK`] is ink of 1), turned one of eight
/// ways: 32 x 32 numbers in -1..=1.
#[must_use]
pub fn vary(source: &[i16], turn: usize, random: &mut Random) -> Vec<f32> {
    let warp = Warp::random(turn, random);
    let mut image = warp.apply(source);
    let blend = random.unit() * THICKEN;
    let gain = random.within(LOG_GAIN).exp();
    thicken(&mut image, blend);
    for v in &mut image {
        *v = (*v * gain).clamp(-1.0, 1.0);
    }
    image
}

/// `source` turned and otherwise as it is.
#[must_use]
pub fn plain(source: &[i16], turn: usize) -> Vec<f32> {
    Warp {
        matrix: turned(turn),
        shift: [0.0; 2],
        elastic: [[0.0; KNOTS * KNOTS]; 2],
    }
    .apply(source)
}

/// The eight symmetries of the square, as matrices; 0 leaves everything in place.
fn turned(turn: usize) -> [f32; 4] {
    let [a, b, c, d] = match turn % 4 {
        0 => [1.0, 0.0, 0.0, 1.0],
        1 => [0.0, -1.0, 1.0, 0.0],
        2 => [-1.0, 0.0, 0.0, -1.0],
        _ => [0.0, 1.0, -1.0, 0.0],
    };
    if turn < 4 {
        [a, b, c, d]
    } else {
        [-a, b, -c, d]
    }
}

fn product([a, b, c, d]: [f32; 4], [e, f, g, h]: [f32; 4]) -> [f32; 4] {
    [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h]
}

impl Warp {
    fn random(turn: usize, random: &mut Random) -> Self {
        let (sin, cos) = random.within(ROTATION).to_radians().sin_cos();
        let stretch = [
            random.within(LOG_SCALE).exp(),
            random.within(SHEAR),
            random.within(SHEAR),
            random.within(LOG_SCALE).exp(),
        ];
        let matrix = product(turned(turn), product([cos, -sin, sin, cos], stretch));
        let shift = [random.within(SHIFT), random.within(SHIFT)];
        let mut elastic = [[0.0; KNOTS * KNOTS]; 2];
        for v in elastic.as_flattened_mut() {
            *v = ELASTIC * random.normal();
        }
        Self {
            matrix,
            shift,
            elastic,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "grid coordinates")]
    fn apply(&self, source: &[i16]) -> Vec<f32> {
        let [a, b, c, d] = self.matrix;
        let centre = |i: usize| (2 * i + 1) as f32 / SIDE as f32 - 1.0;
        let pixel = |v: f32| ((v + 1.0) * GRID as f32 - 1.0) / 2.0;
        let weights: Vec<[f32; KNOTS]> = (0..SIDE).map(spline).collect();
        let mut out = Vec::with_capacity(SIDE * SIDE);
        for row in 0..SIDE {
            let lines = self.elastic.map(|knots| along(&knots, weights[row]));
            let y = centre(row);
            for (col, weights) in weights.iter().enumerate() {
                let x = centre(col);
                let [ex, ey] = lines.map(|line| dot(line, *weights));
                let u = a * x + b * y + self.shift[0] + ex;
                let v = c * x + d * y + self.shift[1] + ey;
                out.push(sample(source, pixel(u), pixel(v)));
            }
        }
        out
    }
}

/// Catmull-Rom weights of the knots for a row or column of the result (the first and last
/// knot continue beyond the edge).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "grid coordinates"
)]
fn spline(i: usize) -> [f32; KNOTS] {
    let at = i as f32 / (SIDE - 1) as f32 * (KNOTS - 1) as f32;
    let first = (at as usize).min(KNOTS - 2);
    let t = at - first as f32;
    let cubic = [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ];
    let mut weights = [0.0; KNOTS];
    for (k, w) in cubic.into_iter().enumerate() {
        weights[(first + k).saturating_sub(1).min(KNOTS - 1)] += w;
    }
    weights
}

fn along(knots: &[f32; KNOTS * KNOTS], weights: [f32; KNOTS]) -> [f32; KNOTS] {
    let mut line = [0.0; KNOTS];
    for (row, w) in knots.chunks_exact(KNOTS).zip(weights) {
        for (sum, v) in line.iter_mut().zip(row) {
            *sum += w * v;
        }
    }
    line
}

fn dot(a: [f32; KNOTS], b: [f32; KNOTS]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Bilinear; outside is background.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked to lie on the grid"
)]
fn sample(source: &[i16], x: f32, y: f32) -> f32 {
    const LAST: f32 = GRID as f32;
    if !(x > -1.0 && x < LAST && y > -1.0 && y < LAST) {
        return 0.0;
    }
    // One to the right, so that what is cut off is never negative.
    let (left, upper) = ((x + 1.0) as usize, (y + 1.0) as usize);
    let (fx, fy) = (x + 1.0 - left as f32, y + 1.0 - upper as f32);
    let at = |row: usize, col: usize| {
        if (1..=GRID).contains(&row) && (1..=GRID).contains(&col) {
            f32::from(source[(row - 1) * GRID + col - 1])
        } else {
            0.0
        }
    };
    let top = at(upper, left) * (1.0 - fx) + at(upper, left + 1) * fx;
    let bottom = at(upper + 1, left) * (1.0 - fx) + at(upper + 1, left + 1) * fx;
    (top * (1.0 - fy) + bottom * fy) / INK
}

/// Blends every place with the largest of its 3x3 surroundings.
fn thicken(image: &mut [f32], blend: f32) {
    let mut wide = image.to_vec();
    for (out, row) in wide.chunks_exact_mut(SIDE).zip(image.chunks_exact(SIDE)) {
        for (i, out) in out.iter_mut().enumerate() {
            let left = row[i.saturating_sub(1)];
            let right = row[(i + 1).min(SIDE - 1)];
            *out = out.max(left).max(right);
        }
    }
    for (r, row) in image.chunks_exact_mut(SIDE).enumerate() {
        let upper = &wide[r.saturating_sub(1) * SIDE..][..SIDE];
        let middle = &wide[r * SIDE..][..SIDE];
        let lower = &wide[(r + 1).min(SIDE - 1) * SIDE..][..SIDE];
        for (i, v) in row.iter_mut().enumerate() {
            let largest = upper[i].max(middle[i]).max(lower[i]);
            *v += blend * (largest - *v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{ImageLimits, Ink};
    use crate::training::corpus::drawing;
    use image::{GrayImage, ImageFormat, Luma};
    use std::io::Cursor;

    fn page(shape: impl Fn(u32, u32) -> bool) -> Ink {
        let draw = |x, y| Luma([if shape(x, y) { 0 } else { 255 }]);
        let mut file = Vec::new();
        GrayImage::from_fn(105, 105, draw)
            .write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
            .unwrap();
        Ink::read(&file, &ImageLimits::default()).unwrap()
    }

    fn near(a: &[f32], b: &[f32], tolerance: f32) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }

    #[test]
    fn what_moves_nothing_gives_what_serving_sees() {
        let ink = page(|x, y| (20..60).contains(&x) && (y == 40 || x + y == 70));
        let trained = plain(&drawing(&ink), 0);
        assert!(near(&trained, ink.prepare().as_slice(), 0.5 / INK + 1e-6));
    }

    #[test]
    fn the_eight_turns_differ_and_a_quarter_turn_is_one() {
        let corner = page(|x, y| (10..30).contains(&x) && (15..20).contains(&y));
        let source = drawing(&corner);
        let turns: Vec<Vec<f32>> = (0..8).map(|t| plain(&source, t)).collect();
        for (i, a) in turns.iter().enumerate() {
            assert!(turns[..i].iter().all(|b| !near(a, b, 0.1)));
        }
        let quarter: Vec<f32> = (0..SIDE * SIDE)
            .map(|i| turns[0][(i % SIDE) * SIDE + SIDE - 1 - i / SIDE])
            .collect();
        assert!(near(&turns[1], &quarter, 1e-5) || near(&turns[3], &quarter, 1e-5));
    }

    #[test]
    fn variations_stay_in_range_and_follow_from_the_seed() {
        let source = drawing(&page(|x, y| x.abs_diff(52) < 3 || y.abs_diff(40) < 3));
        let vary = |seed| vary(&source, 3, &mut Random::new(seed, 9));
        assert_eq!(vary(1), vary(1));
        assert_ne!(vary(1), vary(2));
        for seed in 0..50 {
            let image = vary(seed);
            assert!(image.iter().all(|v| (-1.0..=1.0).contains(v)));
            assert!(image.iter().sum::<f32>() > 10.0);
        }
    }

    #[test]
    fn the_spline_passes_through_the_knots_and_adds_up_to_one() {
        assert!(near(&spline(0), &[1.0, 0.0, 0.0, 0.0], 1e-6));
        assert!(near(&spline(SIDE - 1), &[0.0, 0.0, 0.0, 1.0], 1e-6));
        for i in 0..SIDE {
            assert!((spline(i).iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
