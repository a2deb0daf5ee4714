//! Moving the places of a picture: turned, affinely mapped, bent.
#![expect(
    clippy::many_single_char_names,
    reason = "matrices by their elements, places by their coordinates"
)]

use super::Input;

/// Rows and columns of the elastic grid.
pub(crate) const KNOTS: usize = 4;

/// What lies beyond the edge of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Nothing: zeros.
    Nothing,
    /// The nearest place within.
    Nearest,
}

impl Edge {
    /// As it is right for pictures of this kind.
    pub fn of(input: Input) -> Self {
        match input {
            Input::Ink | Input::Glyph => Self::Nothing,
            Input::Grey | Input::Colour => Self::Nearest,
        }
    }
}

/// An affine map of the square -1..=1 and a displacement for each place of the result.
pub(crate) struct Warp {
    pub matrix: [f32; 4],
    pub shift: [f32; 2],
    pub elastic: [[f32; KNOTS * KNOTS]; 2],
    pub edge: Edge,
}

/// The eight symmetries of the square, as matrices; 0 leaves everything in place.
pub(crate) fn turned(turn: usize) -> [f32; 4] {
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

pub(crate) fn product([a, b, c, d]: [f32; 4], [e, f, g, h]: [f32; 4]) -> [f32; 4] {
    [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h]
}

impl Warp {
    /// Turns, and does nothing else.
    pub fn turn(turn: usize, edge: Edge) -> Self {
        Self {
            matrix: turned(turn),
            shift: [0.0; 2],
            elastic: [[0.0; KNOTS * KNOTS]; 2],
            edge,
        }
    }

    /// `side x side x channels` numbers, channels last, from a picture of twice the side, each
    /// way, in whose numbers `unit` stands for 1.
    pub fn apply<T: Copy + Into<f32>>(
        &self,
        source: &[T],
        unit: f32,
        input: Input,
        side: usize,
    ) -> Vec<f32> {
        match input {
            Input::Ink | Input::Glyph | Input::Grey => self.apply_to::<1, T>(source, unit, side),
            Input::Colour => self.apply_to::<3, T>(source, unit, side),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "grid coordinates")]
    fn apply_to<const C: usize, T: Copy + Into<f32>>(
        &self,
        source: &[T],
        unit: f32,
        side: usize,
    ) -> Vec<f32> {
        let grid = 2 * side;
        let [a, b, c, d] = self.matrix;
        let centre = |i: usize| (2 * i + 1) as f32 / side as f32 - 1.0;
        let pixel = |v: f32| ((v + 1.0) * grid as f32 - 1.0) / 2.0;
        let weights: Vec<[f32; KNOTS]> = (0..side).map(|i| spline(i, side)).collect();
        let (source, _) = source.as_chunks::<C>();
        let mut out = Vec::with_capacity(side * side * C);
        for row in 0..side {
            let lines = self.elastic.map(|knots| along(&knots, weights[row]));
            let y = centre(row);
            for (col, weights) in weights.iter().enumerate() {
                let x = centre(col);
                let [ex, ey] = lines.map(|line| dot(line, *weights));
                let u = a * x + b * y + self.shift[0] + ex;
                let v = c * x + d * y + self.shift[1] + ey;
                let place = (pixel(u), pixel(v));
                out.extend(match self.edge {
                    Edge::Nothing => sample(source, unit, grid, place),
                    Edge::Nearest => {
                        let last = (grid - 1) as f32;
                        sample(
                            source,
                            unit,
                            grid,
                            (place.0.clamp(0.0, last), place.1.clamp(0.0, last)),
                        )
                    }
                });
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
fn spline(i: usize, side: usize) -> [f32; KNOTS] {
    let at = i as f32 / (side - 1) as f32 * (KNOTS - 1) as f32;
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

/// Bilinear; outside there are zeros.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked to lie on the grid"
)]
fn sample<const C: usize, T: Copy + Into<f32>>(
    source: &[[T; C]],
    unit: f32,
    grid: usize,
    (x, y): (f32, f32),
) -> [f32; C] {
    let last = grid as f32;
    if !(x > -1.0 && x < last && y > -1.0 && y < last) {
        return [0.0; C];
    }
    // One to the right, so that what is cut off is never negative.
    let (left, upper) = ((x + 1.0) as usize, (y + 1.0) as usize);
    let (fx, fy) = (x + 1.0 - left as f32, y + 1.0 - upper as f32);
    let at = |row: usize, col: usize| {
        if (1..=grid).contains(&row) && (1..=grid).contains(&col) {
            source[(row - 1) * grid + col - 1].map(Into::into)
        } else {
            [0.0; C]
        }
    };
    let corners = [
        (at(upper, left), (1.0 - fx) * (1.0 - fy)),
        (at(upper, left + 1), fx * (1.0 - fy)),
        (at(upper + 1, left), (1.0 - fx) * fy),
        (at(upper + 1, left + 1), fx * fy),
    ];
    let mut out = [0.0; C];
    for (values, weight) in corners {
        for (out, v) in out.iter_mut().zip(values) {
            *out += weight * v / unit;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spline_passes_through_the_knots_and_adds_up_to_one() {
        let near = |a: [f32; KNOTS], b: [f32; KNOTS]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6));
        };
        near(spline(0, 32), [1.0, 0.0, 0.0, 0.0]);
        near(spline(31, 32), [0.0, 0.0, 0.0, 1.0]);
        for i in 0..32 {
            assert!((spline(i, 32).iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn beyond_the_edge_lies_nothing_or_the_nearest_place() {
        let white = vec![200_i16; 16 * 16 * 3];
        for (edge, least) in [(Edge::Nothing, 0.0), (Edge::Nearest, 1.0)] {
            let warp = Warp {
                shift: [1.0, 0.0],
                ..Warp::turn(0, edge)
            };
            let moved = warp.apply(&white, 200.0, Input::Colour, 8);
            assert_eq!(moved.len(), 8 * 8 * 3);
            let fewest = moved.iter().copied().fold(2.0, f32::min);
            assert!((fewest - least).abs() < 1e-6);
        }
    }
}
