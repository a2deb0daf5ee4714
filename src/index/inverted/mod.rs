//! An inverted file (IVFADC, Jégou, Douze and Schmid 2011): rows in lists by the nearest of some
//! centroids, coded by what they differ from it, along the axes of the largest variance.
//!
//! A query looks at the lists of the nearest centroids. Of a row in list `l` with residual `r`,
//! the dot product is that with the centroid and a sum of look-ups for `r` in tables that are the
//! same for all lists. For Euclidean distances a row keeps the square that belongs to it.
//!
//! Where centroids gather rows badly all are in one list, and every query looks at all of them.

mod axes;
mod book;
mod product;
mod scan;
mod stored;

use axes::Axes;
use book::Book;
use product::Product;

use super::sample::{For, sample};
use crate::domain::Metric;
use crate::simd::{AlignedBytes, AlignedRows, BLOCK};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows that make a centroid's place known.
const SAMPLES_A_LIST: usize = 32;
/// Rows that the words of subspaces are learnt from.
const SAMPLES: usize = 8_192;
/// Lists are worth it where they take away more than this part of the variance.
const GATHERED: f64 = 0.15;
/// Below so many dimensions, exact rows are as short as codes.
pub(super) const LEAST_DIM: usize = 32;

/// The rows of a part, coded, in the order of their lists.
#[derive(Debug, Clone)]
pub(super) struct Inverted {
    metric: Metric,
    axes: Axes,
    product: Product,
    /// A word a list.
    centroids: Book,
    /// Where each list begins, and at last where all end.
    starts: Vec<u32>,
    /// The rows, list by list, ascending in each.
    order: Vec<u32>,
    /// Their codes, block by block.
    codes: AlignedBytes,
    /// Of each row, what its key has beside the dot product; empty unless Euclidean.
    squares: Vec<f32>,
    /// The least of them in each block.
    least: Vec<f32>,
}

/// A row on its way: its list, its code, its square.
struct Coded {
    list: u32,
    code: Vec<u8>,
    square: f32,
}

impl Inverted {
    /// Codes rows; `None` where that would not help, or if cancelled.
    pub(super) fn of(metric: Metric, rows: &AlignedRows, cancel: &AtomicBool) -> Option<Self> {
        if rows.dim() < LEAST_DIM || rows.is_empty() {
            return None;
        }
        let mut axes = Axes::of(rows);
        if axes.len() == 0 || cancel.load(Ordering::Relaxed) {
            return None;
        }
        let places = axes.project_all(rows);
        let places = places.iter().flat_map(|some| some.chunks_exact(axes.len()));
        let places: Vec<&[f32]> = places.collect();
        let variance = variance(rows);
        let centroids = Self::centroids(&places, variance);
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        let residual = |place: &[f32]| {
            let list = centroids.nearest(place).0;
            let apart = place.iter().zip(centroids.word(list)).map(|(v, c)| v - c);
            (list, apart.collect::<Vec<f32>>())
        };
        let samples: Vec<Vec<f32>> = some(&places, SAMPLES, For::Codes)
            .par_iter()
            .map(|place| residual(place).1)
            .collect();
        let samples: Vec<&[f32]> = samples.iter().map(Vec::as_slice).collect();
        let product = Product::trained(&samples, variance);
        axes.truncate(product.dim());
        let centroids = Book::of(product.dim(), &shortened(&centroids, product.dim()));
        let coded = |row: usize| {
            let place = &places[row][..product.dim()];
            let (list, apart) = residual(places[row]);
            let code = product.encode(&apart);
            let square = (metric == Metric::Euclidean).then(|| {
                // What the axes leave out of the row counts as it is.
                let whole = crate::simd::dot(rows.padded(row), rows.padded(row));
                let along: f32 = place.iter().map(|v| v * v).sum();
                let decoded = product.decode(&code).zip(centroids.word(list));
                (whole - along) + decoded.map(|(r, c)| (r + c) * (r + c)).sum::<f32>()
            });
            #[expect(clippy::cast_possible_truncation, reason = "fewer lists than rows")]
            let list = list as u32;
            Coded {
                list,
                code,
                square: square.unwrap_or(0.0),
            }
        };
        let coded: Vec<Coded> = (0..rows.len()).into_par_iter().map(coded).collect();
        let cancelled = cancel.load(Ordering::Relaxed);
        (!cancelled).then(|| Self::filed(metric, axes, product, centroids, &coded))
    }

    /// One centroid where several gather rows badly, or about as many as a list has rows.
    #[expect(clippy::cast_precision_loss, reason = "a mean may be rounded")]
    fn centroids(places: &[&[f32]], variance: f64) -> Book {
        let lists = places.len().isqrt();
        let samples = some(places, lists * SAMPLES_A_LIST, For::Lists);
        let many = Book::trained(&samples, lists);
        let one = Book::trained(&some(places, SAMPLES, For::Lists), 1);
        let left = |book: &Book| {
            let of = |sample: &&[f32]| {
                let square: f32 = sample.iter().map(|v| v * v).sum();
                f64::from(square + book.nearest(sample).1).max(0.0)
            };
            samples.par_iter().map(of).sum::<f64>() / samples.len().max(1) as f64
        };
        if left(&one) - left(&many) > GATHERED * variance {
            many
        } else {
            one
        }
    }

    fn filed(
        metric: Metric,
        axes: Axes,
        product: Product,
        centroids: Book,
        coded: &[Coded],
    ) -> Self {
        let mut starts = vec![0_u32; centroids.len() + 1];
        for coded in coded {
            starts[coded.list as usize + 1] += 1;
        }
        for list in 1..starts.len() {
            starts[list] += starts[list - 1];
        }
        let mut order: Vec<u32> = (0..u32::try_from(coded.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by_key(|row| coded[*row as usize].list);
        let subspaces = product.subspaces();
        let mut codes = AlignedBytes::zeroed(coded.len().div_ceil(BLOCK) * BLOCK * subspaces);
        let mut squares = Vec::new();
        for (at, row) in order.iter().enumerate() {
            let Coded { code, square, .. } = &coded[*row as usize];
            let block = &mut codes.as_mut_slice()[at / BLOCK * BLOCK * subspaces..];
            for (subspace, word) in code.iter().enumerate() {
                block[subspace * BLOCK + at % BLOCK] = *word;
            }
            if metric == Metric::Euclidean {
                squares.push(*square);
            }
        }
        Self {
            metric,
            axes,
            product,
            centroids,
            starts,
            order,
            codes,
            least: Self::least(&squares),
            squares,
        }
    }

    fn least(squares: &[f32]) -> Vec<f32> {
        let blocks = squares.chunks(BLOCK);
        let least = blocks.map(|block| block.iter().copied().fold(f32::INFINITY, f32::min));
        least.collect()
    }

    pub(super) fn lists(&self) -> usize {
        self.centroids.len()
    }

    /// A row of each list that has any.
    pub(super) fn one_of_each(&self) -> impl Iterator<Item = u32> + '_ {
        let lists = self.starts.windows(2).filter(|l| l[0] < l[1]);
        lists.map(|l| self.order[l[0].midpoint(l[1]) as usize])
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let words: usize = self.product.books.iter().map(|b| b.numbers.len()).sum();
        let floats = words + self.centroids.numbers.len() + self.squares.len() + self.least.len();
        let numbers = self.starts.len() + self.order.len();
        self.codes.as_slice().len() + 4 * (floats + numbers) + self.axes.axes.bytes()
    }
}

/// About so many.
fn some<'a>(places: &[&'a [f32]], most: usize, what: For) -> Vec<&'a [f32]> {
    let some = sample(places.len(), most, what);
    some.into_iter().map(|row| places[row as usize]).collect()
}

/// The words without the numbers beyond.
fn shortened(book: &Book, dim: usize) -> Vec<Vec<f32>> {
    let words = 0..book.len();
    words.map(|w| book.word(w).take(dim).collect()).collect()
}

/// The rows' mean squared distance from their mean.
#[expect(clippy::cast_precision_loss, reason = "a mean may be rounded")]
fn variance(rows: &AlignedRows) -> f64 {
    let mut sums = vec![(0.0, 0.0); rows.dim()];
    let looked_at = sample(rows.len(), SAMPLES, For::Axes);
    for row in &looked_at {
        for ((sum, squares), v) in sums.iter_mut().zip(rows.row(*row as usize)) {
            *sum += f64::from(*v);
            *squares += f64::from(*v) * f64::from(*v);
        }
    }
    let n = looked_at.len() as f64;
    let of = |(sum, squares): &(f64, f64)| squares / n - (sum / n) * (sum / n);
    sums.iter().map(of).sum()
}
