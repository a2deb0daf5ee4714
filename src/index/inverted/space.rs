//! What rows are coded by: the axes along which they vary most, the centroids of lists, and words for
//! what rows differ from them.

use super::axes::Axes;
use super::book::Book;
use super::product::{Product, Tables};
use crate::domain::Metric;
use crate::index::sample::{For, sample};
use crate::simd::{self, AlignedRows};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicBool};

/// Rows that make a centroid's place known.
const SAMPLES_A_LIST: usize = 32;
/// Rows that the words of subspaces are learnt from.
const SAMPLES: usize = 8_192;
/// Lists are worth it where they take away more than this part of the variance.
const GATHERED: f64 = 0.15;

/// Rows are strange to a space whose codes are so many times as far from them.
const STRANGE: f32 = 2.0;
/// So many rows tell whether all are, beside so many of those it was learnt from.
const TELLING: usize = 16;
const LEARNT_BY: usize = 64;
/// So many rows are asked for the nearest of so many others, to tell how codes err on those.
const QUESTIONS: usize = 64;
const ANSWERS: usize = 1_024;
const NEAR: usize = 2;
/// A rough key is hardly so many standard deviations above a row's key.
const DEVIATIONS: f32 = 3.0;

/// A space to code rows in.
#[derive(Debug)]
pub(in crate::index) struct Space {
    pub(super) metric: Metric,
    pub(super) axes: Axes,
    pub(super) product: Product,
    /// A word a list.
    pub(super) centroids: Book,
    /// The mean squared distance of the rows that it was learnt from and what their codes stand for.
    pub(super) error: f32,
    /// A row's key is hardly less than its rough key and this times the query's length, or where that
    /// is Euclidean times the row's distance, but at least `near`.
    pub(super) least: f32,
    /// The mean distance of near rows; 0 unless Euclidean.
    pub(super) near: f32,
}

/// A row on its way: its list, its code, and what its key has beside the dot product.
pub(in crate::index) struct Coded {
    pub(super) list: u32,
    pub(super) code: Vec<u8>,
    /// `None` unless Euclidean.
    pub(super) square: Option<f32>,
}

/// A list to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) number: usize,
    /// Smaller is nearer.
    key: f32,
    /// What its rows' keys have in common.
    pub(super) offset: f32,
}

impl List {
    fn by_key(&self, other: &Self) -> Ordering {
        let by_key = self.key.total_cmp(&other.key);
        by_key.then(self.number.cmp(&other.number))
    }
}

/// A query in a space.
#[derive(Debug)]
pub(in crate::index) struct Sought {
    tables: Tables,
    lists: Vec<List>,
}

impl Sought {
    /// All lists by number, before any are sorted, and the tables for all.
    pub(super) fn all(&self) -> (&[List], &Tables) {
        (&self.lists, &self.tables)
    }

    /// So many nearest lists, the nearest first, the others, and the tables for all.
    pub(super) fn nearest_first(&mut self, most: usize) -> (&[List], &mut [List], &Tables) {
        let most = most.min(self.lists.len());
        if most < self.lists.len() {
            self.lists.select_nth_unstable_by(most, List::by_key);
        }
        let (near, far) = self.lists.split_at_mut(most);
        near.sort_unstable_by(List::by_key);
        (near, far, &self.tables)
    }

    /// The nearest first.
    pub(super) fn sorted(lists: &mut [List]) -> &[List] {
        lists.sort_unstable_by(List::by_key);
        lists
    }
}

impl Space {
    /// Learns from rows; `None` if they are all alike, or if cancelled.
    pub(super) fn learnt(metric: Metric, rows: &AlignedRows, cancel: &AtomicBool) -> Option<Self> {
        let cancelled = || cancel.load(atomic::Ordering::Relaxed);
        let mut axes = Axes::of(rows);
        if axes.len() == 0 || cancelled() {
            return None;
        }
        let variance = variance(rows);
        let places = |most, what| -> Vec<Vec<f32>> {
            let some = sample(rows.len(), most, what);
            let places = some.par_iter();
            let places = places.map(|row| axes.project(rows.padded(*row as usize)));
            places.collect()
        };
        let lists = rows.len().isqrt();
        let samples = places(lists * SAMPLES_A_LIST, For::Lists);
        let centroids = Self::centroids(&slices(&samples), lists, variance);
        if cancelled() {
            return None;
        }
        let apart = |place: Vec<f32>| {
            let (list, _) = centroids.nearest(&place);
            let apart = place.iter().zip(centroids.word(list)).map(|(v, c)| v - c);
            apart.collect::<Vec<f32>>()
        };
        let samples = places(SAMPLES, For::Codes);
        let samples: Vec<Vec<f32>> = samples.into_par_iter().map(apart).collect();
        let product = Product::trained(&slices(&samples), variance);
        axes.truncate(product.dim());
        let centroids = Book::of(product.dim(), &shortened(&centroids, product.dim()));
        let mut space = Self {
            metric,
            axes,
            product,
            centroids,
            error: 0.0,
            least: 0.0,
            near: 0.0,
        };
        space.error = space.error_of(rows, &sample(rows.len(), LEARNT_BY, For::Codes));
        (space.near, space.least) = space.errors_of_near(rows);
        (!cancelled()).then_some(space)
    }

    /// The mean error of some rows.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn error_of(&self, rows: &AlignedRows, some: &[u32]) -> f32 {
        let errors = some.iter().map(|row| self.coded_row(rows, *row).1);
        errors.sum::<f32>() / some.len().max(1) as f32
    }

    /// How far near rows are, as [`Space::near`], and about the least that their keys are above rough
    /// ones, as [`Space::least`], by asking some rows for others: codes draw rows towards the middle,
    /// the more so the farther out they are, as near ones are.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn errors_of_near(&self, rows: &AlignedRows) -> (f32, f32) {
        let coded: Vec<(u32, Coded)> = sample(rows.len(), ANSWERS, For::Codes)
            .into_par_iter()
            .map(|row| (row, self.coded_row(rows, row).0))
            .collect();
        // Errors, and what they are relative to.
        let of_one = |question: &u32| {
            let query = rows.padded(*question as usize);
            let others = coded.iter().filter(|(row, _)| row != question);
            let mut keyed: Vec<(f32, &Coded)> = others
                .map(|(row, coded)| (self.key(query, rows.padded(*row as usize)), coded))
                .collect();
            let near = NEAR.min(keyed.len());
            if near < keyed.len() {
                keyed.select_nth_unstable_by(near, |a, b| a.0.total_cmp(&b.0));
            }
            let (place, square) = (self.axes.project(query), simd::dot(query, query));
            let error = |(key, coded): &(f32, &Coded)| {
                let apart = match self.metric {
                    Metric::Euclidean => (key + square).max(0.0).sqrt(),
                    Metric::Cosine | Metric::Dot => square.sqrt(),
                };
                (key - self.rough_key(&place, coded), apart)
            };
            keyed[..near].iter().map(error).collect::<Vec<_>>()
        };
        let questions = sample(rows.len(), QUESTIONS, For::Questions);
        let errors: Vec<(f32, f32)> = questions.par_iter().flat_map_iter(of_one).collect();
        let n = errors.len().max(1) as f32;
        let near = match self.metric {
            Metric::Euclidean => errors.iter().map(|(_, apart)| apart).sum::<f32>() / n,
            Metric::Cosine | Metric::Dot => 0.0,
        };
        let relative = |(error, apart): &(f32, f32)| error / apart.max(near).max(f32::MIN_POSITIVE);
        let errors: Vec<f32> = errors.iter().map(relative).collect();
        let mean = errors.iter().sum::<f32>() / n;
        let squares = errors.iter().map(|e| (e - mean) * (e - mean));
        (near, mean - DEVIATIONS * (squares.sum::<f32>() / n).sqrt())
    }

    /// A row's key less the query's square.
    fn key(&self, query: &[f32], row: &[f32]) -> f32 {
        let square = match self.metric {
            Metric::Euclidean => simd::dot(row, row),
            Metric::Cosine | Metric::Dot => 0.0,
        };
        self.factor() * simd::dot(query, row) + square
    }

    /// What a code makes of that.
    fn rough_key(&self, place: &[f32], coded: &Coded) -> f32 {
        let words = self.product.decode(&coded.code);
        let words = words.zip(self.centroids.word(coded.list as usize));
        let dot: f32 = words.zip(place).map(|((r, c), q)| (r + c) * q).sum();
        self.factor() * dot + coded.square.unwrap_or(0.0)
    }

    /// The rough key beyond which hardly any row is within a key of a padded query.
    pub(in crate::index) fn rough_limit(&self, query: &[f32], key: f32) -> f32 {
        let square = simd::dot(query, query);
        let limit = match self.metric {
            Metric::Euclidean => key - square - self.least * key.max(0.0).sqrt().max(self.near),
            Metric::Cosine | Metric::Dot => key - self.least * square.sqrt(),
        };
        // What is too large to tell keeps nothing out.
        if limit.is_nan() { f32::INFINITY } else { limit }
    }

    /// A squared distance less the query's square, or a dot product turned round.
    fn factor(&self) -> f32 {
        match self.metric {
            Metric::Euclidean => -2.0,
            Metric::Cosine | Metric::Dot => -1.0,
        }
    }

    /// Whether some rows are told as well by codes of this space as those it was learnt from.
    pub(super) fn suits(&self, rows: &AlignedRows, some: &[u32]) -> bool {
        let one_in = some.len().div_ceil(TELLING).max(1);
        let telling: Vec<u32> = some.iter().step_by(one_in).copied().collect();
        self.error_of(rows, &telling) <= STRANGE * self.error
    }

    /// The code of one row, and the squared distance of the row and what that stands for.
    pub(super) fn coded_row(&self, rows: &AlignedRows, row: u32) -> (Coded, f32) {
        let row = rows.padded(row as usize);
        self.coded_at(row, &self.axes.project(row))
    }

    /// One centroid where several gather rows badly, or so many.
    #[expect(clippy::cast_precision_loss, reason = "a mean may be rounded")]
    fn centroids(samples: &[&[f32]], lists: usize, variance: f64) -> Book {
        let many = Book::trained(samples, lists);
        let one = Book::trained(samples, 1);
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

    pub(super) fn lists(&self) -> usize {
        self.centroids.len()
    }

    pub(super) fn subspaces(&self) -> usize {
        self.product.subspaces()
    }

    /// Codes of rows.
    pub(super) fn coded(&self, rows: &AlignedRows) -> Vec<Coded> {
        let places = self.axes.project_all(rows);
        let places = places
            .iter()
            .flat_map(|some| some.chunks_exact(self.axes.len()));
        let places: Vec<&[f32]> = places.collect();
        let places = places.into_par_iter().enumerate();
        let coded = places.map(|(row, place)| self.coded_at(rows.padded(row), place).0);
        coded.collect()
    }

    fn coded_at(&self, row: &[f32], place: &[f32]) -> (Coded, f32) {
        let (list, _) = self.centroids.nearest(place);
        let centroid = || self.centroids.word(list);
        let apart: Vec<f32> = place.iter().zip(centroid()).map(|(v, c)| v - c).collect();
        let code = self.product.encode(&apart);
        // What the axes leave out of the row counts as it is.
        let along: f32 = place.iter().map(|v| v * v).sum();
        let left_out = (simd::dot(row, row) - along).max(0.0);
        let words = self.product.decode(&code);
        let error = words.zip(&apart).map(|(r, v)| (r - v) * (r - v));
        let square = (self.metric == Metric::Euclidean).then(|| {
            let decoded = self.product.decode(&code).zip(centroid());
            left_out + decoded.map(|(r, c)| (r + c) * (r + c)).sum::<f32>()
        });
        let error = left_out + error.sum::<f32>();
        let coded = Coded {
            list: super::number(list),
            code,
            square,
        };
        (coded, error)
    }

    /// A padded query.
    pub(in crate::index) fn sought(&self, query: &[f32]) -> Sought {
        let place = self.axes.project(query);
        let factor = self.factor();
        let by_product = self.metric == Metric::Dot;
        let mut lists = Vec::with_capacity(self.lists());
        self.centroids.dots(&place, |first, dots| {
            let squares = &self.centroids.squares[first..];
            let words = dots.iter().zip(squares).enumerate();
            lists.extend(words.map(|(list, (dot, square))| List {
                number: first + list,
                key: if by_product { -dot } else { square - 2.0 * dot },
                offset: factor * dot,
            }));
        });
        Sought {
            tables: self.product.tables(&place, factor),
            lists,
        }
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let books = self.product.books.iter().chain([&self.centroids]);
        let numbers: usize = books
            .map(|book| book.numbers.len() + book.squares.len())
            .sum();
        4 * numbers + self.axes.axes.bytes()
    }
}

fn slices(vectors: &[Vec<f32>]) -> Vec<&[f32]> {
    vectors.iter().map(Vec::as_slice).collect()
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
