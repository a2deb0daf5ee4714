//! An inverted file as bytes.

use super::axes::Axes;
use super::book::Book;
use super::product::Product;
use super::{Inverted, Space};
use crate::domain::Metric;
use crate::index::Options;
use crate::index::codec::{Reader, Writer};
use crate::simd::{AlignedBytes, AlignedRows, BLOCK, SUBSPACES, WORDS};
use std::sync::Arc;

impl Book {
    fn encode(&self, out: &mut Writer) {
        out.count(self.dim);
        out.count(self.len());
        out.floats(&self.numbers);
        out.floats(&self.squares);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, String> {
        let (dim, words) = (reader.number()?, reader.number()?);
        let groups = words.div_ceil(WORDS).saturating_mul(WORDS);
        let numbers = reader.floats(groups.saturating_mul(dim))?;
        let squares = reader.floats(words)?;
        Ok(Self {
            dim,
            numbers,
            squares,
        })
    }
}

impl Space {
    fn encode(&self, out: &mut Writer) {
        out.count(self.axes.len());
        (0..self.axes.len()).for_each(|axis| out.floats(self.axes.axes.row(axis)));
        out.count(self.product.subspaces());
        self.product.books.iter().for_each(|book| book.encode(out));
        self.centroids.encode(out);
        out.floats(&[self.error, self.least, self.near]);
    }

    fn decode(options: &Options, reader: &mut Reader<'_>) -> Result<Self, String> {
        let mut axes = AlignedRows::with_capacity(options.dim, 0);
        for _ in 0..reader.number()? {
            axes.push(&reader.floats(options.dim)?);
        }
        let mut books = Vec::new();
        for _ in 0..reader.number()? {
            books.push(Book::decode(reader)?);
        }
        let few = (1..=SUBSPACES).contains(&books.len());
        let fit = books.iter().all(|b| (1..=WORDS).contains(&b.len()));
        let product = Product { books };
        let centroids = Book::decode(reader)?;
        let one_dim = product.dim() == axes.len() && centroids.dim == axes.len();
        let told = reader.floats(3)?;
        let is_told = told.iter().all(|number| number.is_finite());
        let whole = one_dim && !axes.is_empty() && centroids.len() > 0;
        if !(few && fit && whole && is_told) {
            return Err("axes and words that do not fit together".into());
        }
        Ok(Self {
            metric: options.metric,
            axes: Axes { axes },
            product,
            centroids,
            error: told[0],
            least: told[1],
            near: told[2],
        })
    }
}

impl Inverted {
    pub(in crate::index) fn encode(&self, out: &mut Writer) {
        self.space.encode(out);
        out.numbers(&self.starts);
        out.numbers(&self.order);
        out.bytes(self.codes.as_slice());
        out.floats(&self.squares);
    }

    /// Reads the lists of so many rows back, trusting nothing.
    pub(in crate::index) fn decode(
        options: &Options,
        rows: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Self, String> {
        let space = Space::decode(options, reader)?;
        let starts = reader.numbers(space.lists().saturating_add(1))?;
        let order = reader.numbers(rows)?;
        let mut seen = vec![false; rows];
        let each_once = order.iter().all(|row| {
            let seen = seen.get_mut(*row as usize);
            seen.is_some_and(|seen| !std::mem::replace(seen, true))
        });
        let whole = starts.first() == Some(&0)
            && starts.last().is_some_and(|end| *end as usize == rows)
            && starts.is_sorted();
        if !(each_once && whole) {
            return Err("lists that do not hold each row once".into());
        }
        let bytes = rows.div_ceil(BLOCK) * BLOCK * space.subspaces();
        let mut codes = AlignedBytes::zeroed(bytes);
        let bytes = reader.take(codes.as_slice().len())?;
        codes.as_mut_slice().copy_from_slice(bytes);
        let euclidean = options.metric == Metric::Euclidean;
        let squares = reader.floats(if euclidean { rows } else { 0 })?;
        Ok(Self::whole(Arc::new(space), starts, order, codes, squares))
    }
}
