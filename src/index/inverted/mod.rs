//! An inverted file (IVFADC, Jégou, Douze and Schmid 2011): rows in lists by the nearest of some
//! centroids, coded by what they differ from it, along the axes of the largest variance.
//!
//! A query looks at the lists of the nearest centroids. Of a row in list `l` with residual `r`,
//! the dot product is that with the centroid and a sum of look-ups for `r` in tables that are the
//! same for all lists. For Euclidean distances a row keeps the square that belongs to it.
//!
//! Where centroids gather rows badly all are in one list, and every query looks at all of them.
//!
//! What rows are coded by is a [`Space`], learnt from rows; these are the rows of a part in one.

mod axes;
mod book;
mod product;
mod scan;
mod space;
mod stored;

pub(super) use space::{Coded, Space};

use crate::domain::Metric;
use crate::simd::{AlignedBytes, AlignedRows, BLOCK};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Below so many dimensions, exact rows are as short as codes.
pub(super) const LEAST_DIM: usize = 32;

/// Rows in a space, coded, in the order of their lists.
#[derive(Debug, Clone)]
pub(super) struct Inverted {
    space: Arc<Space>,
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

impl Inverted {
    /// Codes rows in a space of their own; `None` where that would not help, or if cancelled.
    pub(super) fn of(metric: Metric, rows: &AlignedRows, cancel: &AtomicBool) -> Option<Self> {
        if rows.dim() < LEAST_DIM || rows.is_empty() {
            return None;
        }
        let space = Space::learnt(metric, rows, cancel)?;
        let coded = space.coded(rows);
        let cancelled = cancel.load(Ordering::Relaxed);
        (!cancelled).then(|| Self::filed(Arc::new(space), &coded))
    }

    /// Codes rows in a space that others are in already; `known` are codes that some have there, by
    /// row. `None` if the others are strange to it.
    pub(super) fn joined(
        space: &Arc<Space>,
        rows: &AlignedRows,
        known: Vec<Option<Coded>>,
    ) -> Option<Self> {
        let unknown = known.iter().zip(0..).filter(|(known, _)| known.is_none());
        let new: Vec<u32> = unknown.map(|(_, row)| row).collect();
        if !new.is_empty() && !space.suits(rows, &new) {
            return None;
        }
        let coded = if new.len() == rows.len() {
            space.coded(rows)
        } else {
            let coded = known.into_par_iter().enumerate();
            let coded = coded
                .map(|(row, known)| known.unwrap_or_else(|| space.coded_row(rows, number(row)).0));
            coded.collect()
        };
        Some(Self::filed(Arc::clone(space), &coded))
    }

    /// The rows and their codes.
    pub(super) fn known(&self) -> impl Iterator<Item = (u32, Coded)> + '_ {
        (0..self.lists()).flat_map(move |list| {
            self.rows(list).map(move |place| {
                let coded = Coded {
                    list: number(list),
                    code: self.code(place).collect(),
                    square: self.squares.get(place).copied(),
                };
                (self.order[place], coded)
            })
        })
    }

    /// What the rows are coded by.
    pub(super) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    fn filed(space: Arc<Space>, coded: &[Coded]) -> Self {
        let mut starts = vec![0_u32; space.lists() + 1];
        for coded in coded {
            starts[coded.list as usize + 1] += 1;
        }
        for list in 1..starts.len() {
            starts[list] += starts[list - 1];
        }
        let mut order: Vec<u32> = (0..number(coded.len())).collect();
        order.sort_by_key(|row| coded[*row as usize].list);
        let mut codes = Codes::of(&space, coded.len());
        let mut squares = Vec::new();
        for (at, row) in order.iter().enumerate() {
            let Coded { code, square, .. } = &coded[*row as usize];
            codes.put(at, code.iter().copied());
            squares.extend(square);
        }
        Self::whole(space, starts, order, codes.bytes, squares)
    }

    fn whole(
        space: Arc<Space>,
        starts: Vec<u32>,
        order: Vec<u32>,
        codes: AlignedBytes,
        squares: Vec<f32>,
    ) -> Self {
        let blocks = squares.chunks(BLOCK);
        let least = blocks.map(|block| block.iter().copied().fold(f32::INFINITY, f32::min));
        Self {
            least: least.collect(),
            space,
            starts,
            order,
            codes,
            squares,
        }
    }

    /// The same lists with only the rows that count.
    pub(super) fn only(&self, counts: impl Fn(u32) -> bool) -> Self {
        let (mut starts, mut places) = (vec![0], Vec::new());
        for list in 0..self.lists() {
            let of_list = number(self.rows(list).start)..number(self.rows(list).end);
            places.extend(of_list.filter(|place| counts(self.order[*place as usize])));
            starts.push(number(places.len()));
        }
        let mut codes = Codes::of(&self.space, places.len());
        for (at, place) in places.iter().enumerate() {
            codes.put(at, self.code(*place as usize));
        }
        let at = |place: &u32| self.squares.get(*place as usize).copied();
        let squares = places.iter().filter_map(at).collect();
        let order = places.iter().map(|place| self.order[*place as usize]);
        Self::whole(
            Arc::clone(&self.space),
            starts,
            order.collect(),
            codes.bytes,
            squares,
        )
    }

    /// The code of the row at a place.
    fn code(&self, place: usize) -> impl Iterator<Item = u8> + '_ {
        let bytes = BLOCK * self.space.subspaces();
        let block = &self.codes.as_slice()[place / BLOCK * bytes..][..bytes];
        block[place % BLOCK..].iter().copied().step_by(BLOCK)
    }

    /// Where a list's rows are.
    fn rows(&self, list: usize) -> Range<usize> {
        self.starts[list] as usize..self.starts[list + 1] as usize
    }

    pub(super) fn lists(&self) -> usize {
        self.space.lists()
    }

    /// The rows, list by list.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// A row of each list that has any.
    pub(super) fn one_of_each(&self) -> impl Iterator<Item = u32> + '_ {
        let lists = self.starts.windows(2).filter(|l| l[0] < l[1]);
        lists.map(|l| self.order[l[0].midpoint(l[1]) as usize])
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.own_bytes() + self.space.bytes()
    }

    /// Without the space.
    pub(super) fn own_bytes(&self) -> usize {
        let floats = self.squares.len() + self.least.len();
        let numbers = self.starts.len() + self.order.len();
        self.codes.as_slice().len() + 4 * (floats + numbers)
    }
}

/// Codes on their way into blocks.
struct Codes {
    bytes: AlignedBytes,
    /// Of a block.
    length: usize,
}

impl Codes {
    fn of(space: &Space, rows: usize) -> Self {
        let length = BLOCK * space.subspaces();
        Self {
            bytes: AlignedBytes::zeroed(rows.div_ceil(BLOCK) * length),
            length,
        }
    }

    fn put(&mut self, at: usize, code: impl Iterator<Item = u8>) {
        let block = &mut self.bytes.as_mut_slice()[at / BLOCK * self.length..][..self.length];
        let slots = block[at % BLOCK..].iter_mut().step_by(BLOCK);
        slots.zip(code).for_each(|(slot, word)| *slot = word);
    }
}

/// A part has fewer than 2^31 rows.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
