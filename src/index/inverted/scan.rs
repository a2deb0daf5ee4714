//! The search of an inverted file.

use super::product::Tables;
use super::space::{List, Sought};
use super::{Inverted, number};
use crate::index::nearest::Nearest;
use crate::simd::{self, BLOCK, Scale, Squares, Sums};
use std::ops::Range;

/// Blocks whose sums are made at once.
const AT_ONCE: usize = 4;
/// Where so many times more rows are looked at than are wanted, one in so many blocks is first, and
/// tells about how near those wanted are: with so many standard deviations more of them.
const MANY_OF: usize = 32;
const FIRST_OF: usize = 16;
const DEVIATIONS: f64 = 4.0;
/// Where not even this part of the rows that should count is in the nearest lists, which count has to
/// do with nearness: farther lists are looked at, until so many times as many are.
const FEW: f64 = 0.9;
const ENOUGH: f64 = 1.5;
/// Rows of a list that tell how many of all count.
const LOOKED_AT: usize = 8;

impl Inverted {
    /// Of the rows in the `probes` nearest lists that count, the `most` nearest, as rough keys and
    /// rows, in no order. The query is padded. Where only so many of all rows are `expected` to
    /// count, lists are looked at until as many did as if that had nothing to do with nearness.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(in crate::index) fn nearest(
        &self,
        query: &[f32],
        probes: usize,
        most: usize,
        counts: Option<&dyn Fn(u32) -> bool>,
        expected: Option<f64>,
    ) -> Vec<(f32, u32)> {
        // Where a row is tells all of it but whether it counts.
        let counts = |place: u32| counts.is_none_or(|counts| counts(self.order[place as usize]));
        let mut sought = self.space.sought(query);
        let (near, far, tables) = sought.nearest_first(probes);
        let guessed = match near {
            [list] if self.rows(list.number).len() >= MANY_OF * most => {
                self.guessed(*list, tables, most, &counts)
            }
            _ => None,
        };
        let mut nearest = guessed.unwrap_or_else(|| {
            let mut nearest = Nearest::new(most);
            for list in near {
                self.scan(*list, tables, &counts, |_| true, &mut nearest);
            }
            nearest
        });
        if let Some(expected) = expected.filter(|_| !far.is_empty()) {
            let of = |list: &List| self.counted(list.number, counts);
            let met: f64 = near.iter().map(of).sum();
            let part = near.len() as f64 / self.lists().max(1) as f64;
            let expected = expected * part;
            let mut missing = ENOUGH * expected - met;
            let far = if met < FEW * expected {
                Sought::sorted(far)
            } else {
                &[]
            };
            for list in far {
                if missing <= 0.0 {
                    break;
                }
                missing -= of(list);
                self.scan(*list, tables, &counts, |_| true, &mut nearest);
            }
        }
        let found = nearest.found();
        found
            .map(|(key, place)| (key, self.order[place as usize]))
            .collect()
    }

    /// Offers all rows that count to the nearest, as rough keys and places among those of several
    /// files in the space, of which this one's begin at `from`.
    pub(in crate::index) fn offer_all(
        &self,
        sought: &Sought,
        from: usize,
        counts: impl Fn(u32) -> bool,
        nearest: &mut Nearest,
    ) {
        let (lists, tables) = sought.all();
        let bytes = BLOCK * self.space.subspaces();
        let mut sums: [Sums; AT_ONCE] = [[0; BLOCK]; AT_ONCE];
        let (mut first, mut list) = (0, 0);
        for codes in self.codes.as_slice().chunks(AT_ONCE * bytes) {
            let sums = &mut sums[..codes.len() / bytes];
            simd::table_sums(tables.as_slice(), codes, sums);
            for sums in &*sums {
                let least = self.least.get(first / BLOCK).copied().unwrap_or(0.0);
                let of_block = self.lists_of(first, &mut list);
                let offsets = lists[of_block.clone()].iter().map(|list| list.offset);
                let least = least + offsets.fold(f32::INFINITY, f32::min);
                if is_any_near(sums, &tables.scale, least, nearest) {
                    let beside = self.beside(first, of_block, lists);
                    let rows = from + first..from + self.order.len();
                    let counts = |place: u32| counts(self.order[place as usize - from]);
                    let keyed = (sums, &tables.scale, &beside);
                    offer((from + first, &rows), keyed, &counts, nearest);
                }
                first += BLOCK;
            }
        }
    }

    /// The lists that have rows in a block; `list` is one of those before, and the last afterwards.
    fn lists_of(&self, first: usize, list: &mut usize) -> Range<usize> {
        let end = self.order.len().min(first + BLOCK);
        while self.rows(*list).end <= first {
            *list += 1;
        }
        let begin = *list;
        while self.rows(*list).end < end {
            *list += 1;
        }
        begin..*list + 1
    }

    /// What keys of the rows of a block have beside their sums: of their own and of their lists.
    fn beside(&self, first: usize, of_block: Range<usize>, lists: &[List]) -> Squares {
        let mut beside = [0.0; BLOCK];
        let squares = self.squares.get(first..).unwrap_or_default();
        beside
            .iter_mut()
            .zip(squares)
            .for_each(|(beside, square)| *beside = *square);
        for list in of_block {
            let rows = self.rows(list);
            let within = rows.start.max(first) - first..rows.end.min(first + BLOCK) - first;
            beside[within]
                .iter_mut()
                .for_each(|beside| *beside += lists[list].offset);
        }
        beside
    }

    /// The nearest rows of a long list, by a limit that some of its blocks tell: few are offered that
    /// are not wanted. `None` where it was too low. (Of several lists the nearest tell it soon.)
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    fn guessed(
        &self,
        list: List,
        tables: &Tables,
        most: usize,
        counts: &impl Fn(u32) -> bool,
    ) -> Option<Nearest> {
        let is_first = |block: usize| (block / AT_ONCE).is_multiple_of(FIRST_OF);
        let expected = most as f64 / FIRST_OF as f64;
        let mut first = Nearest::new((expected + DEVIATIONS * expected.sqrt()) as usize + 1);
        self.scan(list, tables, counts, is_first, &mut first);
        let mut nearest = first.among(most)?;
        self.scan(list, tables, counts, |block| !is_first(block), &mut nearest);
        (nearest.len() >= most).then_some(nearest)
    }

    /// About how many rows of a list count.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn counted(&self, list: usize, counts: impl Fn(u32) -> bool) -> f64 {
        let rows = self.rows(list);
        let some = rows.clone().step_by((rows.len() / LOOKED_AT).max(1));
        let (asked, met) = some.fold((0_usize, 0_usize), |(asked, met), place| {
            (asked + 1, met + usize::from(counts(number(place))))
        });
        rows.len() as f64 * met as f64 / asked.max(1) as f64
    }

    fn scan(
        &self,
        list: List,
        tables: &Tables,
        counts: &impl Fn(u32) -> bool,
        which: impl Fn(usize) -> bool,
        nearest: &mut Nearest,
    ) {
        let rows = self.rows(list.number);
        let scale = Scale {
            offset: list.offset + tables.scale.offset,
            ..tables.scale
        };
        let bytes = BLOCK * self.space.subspaces();
        let mut sums: [Sums; AT_ONCE] = [[0; BLOCK]; AT_ONCE];
        let (mut block, end) = (rows.start / BLOCK, rows.end.div_ceil(BLOCK));
        while block < end && !rows.is_empty() {
            let n = (end - block).min(AT_ONCE);
            if !which(block) {
                block += n;
                continue;
            }
            let codes = &self.codes.as_slice()[block * bytes..(block + n) * bytes];
            simd::table_sums(tables.as_slice(), codes, &mut sums[..n]);
            for sums in &sums[..n] {
                self.pick(block, &rows, sums, &scale, counts, nearest);
                block += 1;
            }
        }
    }

    /// Offers the rows of a block that are near enough.
    fn pick(
        &self,
        block: usize,
        rows: &Range<usize>,
        sums: &Sums,
        scale: &Scale,
        counts: &impl Fn(u32) -> bool,
        nearest: &mut Nearest,
    ) {
        let least = self.least.get(block).copied().unwrap_or(0.0);
        if is_any_near(sums, scale, least, nearest) {
            let first = block * BLOCK;
            let squares = self.squares.get(first..).unwrap_or_default();
            let mut padded = [0.0; BLOCK];
            let beside = squares.first_chunk().unwrap_or_else(|| {
                padded[..squares.len()].copy_from_slice(squares);
                &padded
            });
            offer((first, rows), (sums, scale, beside), counts, nearest);
        }
    }
}

/// Whether any row of a block may be near enough, where none has less of its own than `least`.
fn is_any_near(sums: &Sums, scale: &Scale, least: f32, nearest: &Nearest) -> bool {
    let limit = (nearest.limit() - scale.offset - least) / scale.step + 1.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and sums are below"
    )]
    let limit = limit as u16;
    simd::sums_below(sums, limit) != 0
}

/// Offers those rows of a block, which begins at a place, that are near enough.
fn offer(
    (first, rows): (usize, &Range<usize>),
    (sums, scale, beside): (&Sums, &Scale, &Squares),
    counts: &impl Fn(u32) -> bool,
    nearest: &mut Nearest,
) {
    let mut keys = [0.0; BLOCK];
    let mut mask = simd::keys_within(sums, scale, beside, nearest.limit(), &mut keys);
    if first < rows.start {
        mask &= u64::MAX << (rows.start - first);
    }
    if first + BLOCK > rows.end {
        mask &= u64::MAX >> (first + BLOCK - rows.end);
    }
    while mask != 0 {
        let at = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        let place = number(first + at);
        if keys[at] <= nearest.limit() && counts(place) {
            nearest.offer(keys[at], place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Metric;
    use crate::index::Options;
    use crate::simd::AlignedRows;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn number(row: usize, i: usize) -> f32 {
        let mut x = (row * 65_537 + i + 1) as u64;
        x = (x ^ x >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        #[expect(clippy::cast_precision_loss, reason = "a random number")]
        let v = (x >> 40) as f32 / (1 << 23) as f32 - 1.0;
        v
    }

    /// Rows around 20 centres.
    fn rows(n: usize, dim: usize, unit: bool) -> AlignedRows {
        let mut rows = AlignedRows::with_capacity(dim, n);
        for row in 0..n {
            let mut v: Vec<f32> = (0..dim)
                .map(|i| 2.0 * number(row % 20 + 9_000, i) + number(row, i))
                .collect();
            let length = v.iter().map(|v| v * v).sum::<f32>().sqrt();
            v.iter_mut().filter(|_| unit).for_each(|v| *v /= length);
            rows.push(&v);
        }
        rows
    }

    #[test]
    fn rough_keys_find_the_nearest_rows_that_count() {
        for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
            let all = rows(3_000, 48, metric == Metric::Cosine);
            let inverted = Inverted::of(metric, &all, &AtomicBool::new(false)).unwrap();
            assert!(inverted.lists() > 1);
            let options = Options::new(48, metric);
            let counts = |row: u32| !row.is_multiple_of(3);
            let (mut found, mut close) = (0, 0.0_f32);
            for query in 0..20 {
                let query = all.padded(query * 149);
                let key = |row: u32| options.key(query, all.padded(row as usize));
                let mut exact: Vec<u32> = (0..3_000).filter(|row| counts(*row)).collect();
                exact.sort_by(|a, b| key(*a).total_cmp(&key(*b)));
                let rough = inverted.nearest(query, inverted.lists(), 100, Some(&counts), None);
                assert_eq!(rough.len(), 100);
                assert!(rough.iter().all(|(_, row)| counts(*row)));
                found += exact[..10]
                    .iter()
                    .filter(|row| rough.iter().any(|(_, r)| r == *row))
                    .count();
                // Rough keys lack the query's square.
                let square = simd::dot(query, query);
                let square = if metric == Metric::Euclidean {
                    square
                } else {
                    0.0
                };
                for (rough, row) in rough {
                    close = close.max((rough + square - key(row)).abs());
                }
            }
            assert!(found >= 180, "{metric:?}: {found} of 200");
            let most = if metric == Metric::Cosine { 0.3 } else { 25.0 };
            assert!(close < most, "{metric:?}: {close}");
        }
    }

    #[test]
    fn few_lists_look_at_few_rows_and_all_of_them_at_all() {
        let all = rows(2_000, 40, false);
        let inverted = Inverted::of(Metric::Euclidean, &all, &AtomicBool::new(false)).unwrap();
        let looked_at = |probes: usize| {
            let rows = inverted.nearest(all.padded(5), probes, 2_000, None, None);
            let mut rows: Vec<u32> = rows.into_iter().map(|(_, row)| row).collect();
            rows.sort_unstable();
            rows
        };
        assert!(looked_at(1).len() < 500);
        assert!(looked_at(1).contains(&5));
        assert_eq!(looked_at(inverted.lists()), (0..2_000).collect::<Vec<_>>());
    }

    #[test]
    fn scattered_rows_are_in_one_list_and_equal_ones_in_none() {
        let mut scattered = AlignedRows::with_capacity(64, 1_000);
        for row in 0..1_000 {
            scattered.push(&(0..64).map(|i| number(row, i)).collect::<Vec<_>>());
        }
        let cancel = AtomicBool::new(false);
        let inverted = Inverted::of(Metric::Dot, &scattered, &cancel).unwrap();
        assert_eq!(inverted.lists(), 1);
        let mut equal = AlignedRows::with_capacity(64, 100);
        (0..100).for_each(|_| equal.push(&[0.5; 64]));
        assert!(Inverted::of(Metric::Dot, &equal, &cancel).is_none());
        cancel.store(true, Ordering::Relaxed);
        assert!(Inverted::of(Metric::Dot, &scattered, &cancel).is_none());
    }
}
