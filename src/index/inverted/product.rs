//! Product quantisation (Jégou, Douze and Schmid 2011): a vector is cut into subspaces, each coded
//! as the nearest of 128 words, so that a query's dot product with it is a sum of table look-ups.

use super::book::Book;
use crate::simd::{self, AlignedBytes, Scale, TABLE_TOP, WORDS, products};
use rayon::prelude::*;

/// Bits that tell the words of a subspace apart.
const BITS: f64 = 7.0;
/// Numbers of a subspace at most: more differ from words too much.
const WIDEST: usize = 16;
/// What codes may leave out of a vector, of the variance: what is compared again makes up for it.
const LEFT_OUT: f64 = 0.13;
/// Numbers that a code word stands for, at least on average.
const NARROWEST: usize = 4;

/// A quantiser.
#[derive(Debug, Clone, Default)]
pub(super) struct Product {
    /// A book a subspace, one after another of the vector's first numbers.
    pub(super) books: Vec<Book>,
}

/// A query's tables: for each subspace and word, what it adds to a key.
#[derive(Debug)]
pub(super) struct Tables {
    bytes: AlignedBytes,
    len: usize,
    /// Makes keys of sums of look-ups.
    pub(super) scale: Scale,
}

impl Tables {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes.as_slice()[..self.len]
    }
}

impl Product {
    /// A quantiser for vectors like the samples; `variance` is that of what they were made of.
    pub(super) fn trained(samples: &[&[f32]], variance: f64) -> Self {
        let widths = widths(&variances(samples), LEFT_OUT * variance);
        let mut from = 0;
        let cuts = widths.iter().map(|width| {
            from += width;
            from - width..from
        });
        let cuts: Vec<_> = cuts.collect();
        let book = |cut: &std::ops::Range<usize>| {
            let parts: Vec<&[f32]> = samples.iter().map(|s| &s[cut.clone()]).collect();
            Book::trained(&parts, WORDS)
        };
        Self {
            books: cuts.par_iter().map(book).collect(),
        }
    }

    pub(super) fn subspaces(&self) -> usize {
        self.books.len()
    }

    /// The numbers that are coded; those beyond are left out.
    pub(super) fn dim(&self) -> usize {
        self.books.iter().map(|book| book.dim).sum()
    }

    fn parts<'a>(&'a self, vector: &'a [f32]) -> impl Iterator<Item = (&'a Book, &'a [f32])> {
        let mut rest = vector;
        self.books.iter().map(move |book| {
            let (part, after) = rest.split_at(book.dim);
            rest = after;
            (book, part)
        })
    }

    /// The code of a vector, a byte a subspace.
    pub(super) fn encode(&self, vector: &[f32]) -> Vec<u8> {
        #[expect(clippy::cast_possible_truncation, reason = "one of 128 words")]
        let nearest = |(book, part): (&Book, &[f32])| book.nearest(part).0 as u8;
        self.parts(vector).map(nearest).collect()
    }

    /// The vector that a code stands for.
    pub(super) fn decode<'a>(&'a self, code: &'a [u8]) -> impl Iterator<Item = f32> + 'a {
        let words = self.books.iter().zip(code);
        words.flat_map(|(book, word)| book.word(usize::from(*word)))
    }

    /// Tables that sum up to `factor` times the dot product with a query.
    pub(super) fn tables(&self, query: &[f32], factor: f32) -> Tables {
        let query: Vec<f32> = query.iter().map(|v| factor * v).collect();
        let mut numbers = vec![[0.0; WORDS]; self.subspaces()];
        let mut least = vec![0.0; self.subspaces()];
        let mut range = 0.0_f32;
        for ((numbers, least), (book, part)) in
            numbers.iter_mut().zip(&mut least).zip(self.parts(&query))
        {
            products(part, &book.numbers, numbers);
            let (low, high) = simd::bounds(&numbers[..book.len()]);
            *least = low;
            range = range.max(high - low);
        }
        let top = f32::from(TABLE_TOP);
        let scale = if range > 0.0 { range / top } else { 1.0 };
        let len = self.subspaces() * WORDS;
        let mut bytes = AlignedBytes::zeroed(len);
        let tables = bytes.as_mut_slice().as_chunks_mut::<WORDS>().0;
        for ((table, numbers), low) in tables.iter_mut().zip(&numbers).zip(&least) {
            simd::quantise(numbers, *low, 1.0 / scale, table);
        }
        Tables {
            bytes,
            len,
            scale: Scale {
                step: scale,
                offset: least.iter().sum(),
            },
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean may be rounded")]
fn variances(samples: &[&[f32]]) -> Vec<f64> {
    let dim = samples.first().map_or(0, |s| s.len());
    let mut sums = vec![(0.0, 0.0); dim];
    for sample in samples {
        for ((sum, squares), v) in sums.iter_mut().zip(*sample) {
            *sum += f64::from(*v);
            *squares += f64::from(*v) * f64::from(*v);
        }
    }
    let n = samples.len().max(1) as f64;
    let variance = |(sum, squares): (f64, f64)| (squares / n - (sum / n) * (sum / n)).max(0.0);
    sums.into_iter().map(variance).collect()
}

/// How many numbers each subspace takes, so that each holds about as much information: by reverse
/// water-filling (Cover and Thomas, section 10.3.3) at a level that leaves out so much.
fn widths(variances: &[f64], left_out: f64) -> Vec<usize> {
    let left = |level: f64| variances.iter().map(|v| v.min(level)).sum::<f64>();
    let largest = variances.iter().copied().fold(0.0, f64::max);
    let (mut low, mut high) = (0.0, largest);
    for _ in 0..60 {
        let level = 0.5 * (low + high);
        if left(level) < left_out {
            low = level;
        } else {
            high = level;
        }
    }
    // Not finer than the least width, whatever that leaves out.
    let bits = |level: f64| {
        let of = |v: &f64| 0.5 * (v / level).max(1.0).log2();
        variances.iter().map(of).collect::<Vec<_>>()
    };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let most = BITS * (variances.len() / NARROWEST).max(1) as f64;
    let mut level = high.max(1e-12 * largest).max(f64::MIN_POSITIVE);
    while bits(level).iter().sum::<f64>() > most {
        level *= 1.05;
    }
    let mut widths = Vec::new();
    let (mut width, mut held) = (0, 0.0);
    for bits in bits(level).into_iter().take_while(|bits| *bits > 0.0) {
        if width > 0 && (held + 0.5 * bits > BITS || width == WIDEST) {
            widths.push(width);
            (width, held) = (0, (held - BITS).max(0.0));
        }
        width += 1;
        held += bits;
    }
    widths.push(width.max(1));
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn sums_of_look_ups_approach_dot_products() {
        let number = |i: usize| ((i * 7_919 + i * i * 31) % 1_009) as f32 / 504.5 - 1.0;
        let samples: Vec<Vec<f32>> = (0..900)
            .map(|s| (0..24).map(|i| number(s * 24 + i)).collect())
            .collect();
        let samples: Vec<&[f32]> = samples.iter().map(Vec::as_slice).collect();
        let product = Product::trained(&samples, variances(&samples).iter().sum());
        assert_eq!(product.dim(), 24);
        let query: Vec<f32> = (0..24).map(|i| number(i + 77_777)).collect();
        let tables = product.tables(&query, -2.0);
        for sample in samples.iter().step_by(90) {
            let code = product.encode(sample);
            let decoded: f32 = product.decode(&code).zip(&query).map(|(v, q)| v * q).sum();
            let words = tables.as_slice().chunks_exact(WORDS).zip(&code);
            let sum: u32 = words.map(|(t, c)| u32::from(t[usize::from(*c)])).sum();
            let Scale { step, offset } = tables.scale;
            let key = step * sum as f32 + offset;
            assert!((key + 2.0 * decoded).abs() < step * code.len() as f32);
            let exact: f32 = sample.iter().zip(&query).map(|(v, q)| v * q).sum();
            assert!((decoded - exact).abs() < 2.5, "{decoded} {exact}");
        }
    }

    #[test]
    fn wide_subspaces_hold_what_varies_little() {
        let mut of: Vec<f64> = vec![100.0, 50.0, 30.0];
        of.extend([0.5; 60]);
        let widths = widths(&of, 21.0);
        assert!(widths[0] <= 2 && widths[2] >= 8, "{widths:?}");
        assert!(widths.iter().sum::<usize>() <= 63);
        assert_eq!(super::widths(&[0.0; 40], 0.0), [1]);
    }
}
