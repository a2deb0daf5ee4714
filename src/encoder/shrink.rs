//! Area averages of a picture of any size on a small square grid, turned upright.

use image::metadata::Orientation;

/// A square of a picture, or around it: where it begins, and its side, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub left: f64,
    pub upper: f64,
    pub side: f64,
}

impl Window {
    /// All of a picture, centred; around it there is nothing.
    pub fn inside(picture: &impl Rows) -> Self {
        Self::middle(picture, picture.width().max(picture.height()))
    }

    /// The middle of a picture, and nothing else.
    pub fn crop(picture: &impl Rows) -> Self {
        Self::middle(picture, picture.width().min(picture.height()))
    }

    #[expect(clippy::cast_precision_loss, reason = "pixel coordinates")]
    fn middle(picture: &impl Rows, side: usize) -> Self {
        let side = side as f64;
        Self {
            left: (picture.width() as f64 - side) / 2.0,
            upper: (picture.height() as f64 - side) / 2.0,
            side,
        }
    }
}

/// A picture that can be read row by row.
pub(super) trait Rows {
    /// Columns.
    fn width(&self) -> usize;
    /// Rows.
    fn height(&self) -> usize;
    /// Fills `out` with `C` numbers for each column of a row.
    fn row(&self, y: usize, out: &mut [f32]);
}

/// Which source pixels a cell of the grid covers along one axis, and how much of each.
struct Cover {
    start: usize,
    weights: Vec<f32>,
}

/// Splits what lies from `start` over `side` of a line of `of` pixels among `cells`.
/// The weights of a cell that lies wholly on the picture add up to 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixel coordinates"
)]
fn covers(of: usize, start: f64, side: f64, cells: usize) -> Vec<Cover> {
    let cell = side / cells as f64;
    (0..cells)
        .map(|i| {
            let from = (start + i as f64 * cell).clamp(0.0, of as f64);
            let to = (start + (i + 1) as f64 * cell).clamp(0.0, of as f64);
            let (start, end) = (from.floor() as usize, (to.ceil() as usize).min(of));
            let weights = (start..end)
                .map(|p| ((to.min((p + 1) as f64) - from.max(p as f64)).max(0.0) / cell) as f32)
                .collect();
            Cover { start, weights }
        })
        .collect()
}

/// Averages over a window on a grid of `side` x `side`, `C` numbers a place.
pub(super) fn shrink<const C: usize>(picture: &impl Rows, window: Window, side: usize) -> Vec<f32> {
    let (width, height) = (picture.width(), picture.height());
    let across = covers(width, window.left, window.side, side);
    let down = covers(height, window.upper, window.side, side);
    let mut row = vec![0.0; width * C];
    let mut cells = vec![[0.0; C]; side];
    let mut grid = vec![0.0; side * side * C];
    let mut first = 0;
    let end = |cover: &Cover| cover.start + cover.weights.len();
    let (top, bottom) = (down[0].start, down.last().map_or(0, end));
    for y in top..bottom {
        picture.row(y, &mut row);
        let (pixels, _) = row.as_chunks::<C>();
        for (cell, cover) in cells.iter_mut().zip(&across) {
            *cell = [0.0; C];
            for (pixel, weight) in pixels[cover.start..].iter().zip(&cover.weights) {
                for (sum, v) in cell.iter_mut().zip(pixel) {
                    *sum += v * weight;
                }
            }
        }
        while first < side && end(&down[first]) <= y {
            first += 1;
        }
        for (i, cover) in down.iter().enumerate().skip(first) {
            if cover.start > y {
                break;
            }
            if let Some(weight) = cover.weights.get(y - cover.start) {
                let line = &mut grid[i * side * C..(i + 1) * side * C];
                for (sum, cell) in line.iter_mut().zip(cells.as_flattened()) {
                    *sum += weight * cell;
                }
            }
        }
    }
    grid
}

/// Turns the small square instead of the large picture: area averaging allows either.
pub(super) fn turn<const C: usize>(
    grid: &[f32],
    side: usize,
    orientation: Orientation,
) -> Vec<f32> {
    let n = side - 1;
    let from = |r: usize, c: usize| match orientation {
        Orientation::NoTransforms => (r, c),
        Orientation::FlipHorizontal => (r, n - c),
        Orientation::Rotate180 => (n - r, n - c),
        Orientation::FlipVertical => (n - r, c),
        Orientation::Rotate90FlipH => (c, r),
        Orientation::Rotate90 => (n - c, r),
        Orientation::Rotate270FlipH => (n - c, n - r),
        Orientation::Rotate270 => (c, n - r),
    };
    let (places, _) = grid.as_chunks::<C>();
    (0..side * side)
        .flat_map(|i| {
            let (r, c) = from(i / side, i % side);
            places[r * side + c]
        })
        .collect()
}
