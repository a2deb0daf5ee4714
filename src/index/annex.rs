//! Rows outside the largest segment, found by way of it: each is kept with the rows of the segment that
//! a walk for it finds nearest, its doors. A search walks the segment, and looks at what is kept with the
//! rows that it found: that takes a few comparisons, however many rows there are in however many parts.
//!
//! One writer adds, readers never wait. What a row was kept with says nothing of its death, and nothing
//! of which part it is in by now.

use super::Options;
use super::found::{COMPARED_AGAIN, Others, Wanted};
use super::graph::NONE;
use super::part::Part;
use super::plan::Way;
use crate::domain::{Metric, Recall};
use rayon::prelude::*;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Doors of a row.
const DOORS: usize = 16;
/// One that lost so many that fewer are left is given others.
const LEAST: usize = 8;
/// The recall to find them with, and the candidates of a walk where no way is known to reach it: a row
/// with doors in a wrong place would not be found where others are.
const RECALL: f32 = 0.99;
const EF: usize = 160;
/// There is room for one row in so many of the segment's, and no more than so many.
const ROOM: (usize, usize) = (4, 1 << 17);

/// The number of the next one.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Rows by the rows of a segment that they are kept with.
#[derive(Debug)]
pub(super) struct Annex {
    /// No other has the same.
    id: u64,
    /// The segment's number.
    segment: u64,
    /// Of each row of the segment, one more than the last entry kept with it; 0 if there is none.
    last: Vec<AtomicU32>,
    /// Of each entry, the same for the one before.
    before: Vec<AtomicU32>,
    /// The sequence numbers of the rows kept; each has [`DOORS`] entries.
    seqs: Vec<AtomicU64>,
    kept: AtomicU32,
}

impl Annex {
    /// An empty one of a segment; `None` where that is not walked, or nearness to a row is not nearness
    /// to what is near it, as by inner products.
    pub(super) fn of<T>(options: &Options, part: &Part<T>) -> Option<Self> {
        let walked = matches!(part.way(Recall::default()), Way::Walk { .. });
        let is_of_use = walked && part.graph().is_some() && options.metric != Metric::Dot;
        let segment = part.sealed.as_ref().filter(|_| is_of_use)?.0;
        let room = (part.len() / ROOM.0).min(ROOM.1);
        let none = |n: usize| (0..n).map(|_| AtomicU32::new(0)).collect();
        Some(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            segment,
            last: none(part.len()),
            before: none(room * DOORS),
            seqs: (0..room).map(|_| AtomicU64::new(0)).collect(),
            kept: AtomicU32::new(0),
        })
    }

    /// Its own number.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The number of the segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Whether so many more rows find room.
    pub(super) fn has_room(&self, rows: usize) -> bool {
        self.kept.load(Ordering::Relaxed) as usize + rows <= self.seqs.len()
    }

    /// Keeps rows, by their padded vectors, with those of the segment that are nearest.
    pub(super) fn add<T: Sync>(
        &self,
        options: &Options,
        part: &Part<T>,
        rows: &[(u64, &[f32])],
    ) -> Option<()> {
        let way = match Recall::new("recall", RECALL).map(|recall| part.way(recall)) {
            Ok(way @ (Way::Walk { .. } | Way::Lists { .. })) => way.thorough(DOORS),
            _ => Way::Walk { ef: EF },
        };
        let doors = |(_, vector): &(u64, &[f32])| {
            let wanted = Wanted {
                options,
                query: vector,
                k: DOORS,
                own: None,
                again: COMPARED_AGAIN,
                counts: &|_| true,
                filtered: false,
                share: 1.0,
                all_count: true,
                others: Others::None,
                beyond: f32::INFINITY,
                limit: f32::INFINITY,
            };
            let near = wanted.nearest(part, way);
            let rows = near.into_iter().flat_map(|near| near.rows);
            rows.take(DOORS).map(|(_, door)| door).collect()
        };
        let doors: Vec<Vec<u32>> = rows.par_iter().with_min_len(8).map(doors).collect();
        for ((seq, _), doors) in rows.iter().zip(doors) {
            self.keep(*seq, &doors)?;
        }
        Some(())
    }

    /// `None` where there is no more room.
    fn keep(&self, seq: u64, doors: &[u32]) -> Option<()> {
        let nth = self.kept.load(Ordering::Relaxed);
        self.seqs.get(nth as usize)?.store(seq, Ordering::Relaxed);
        self.kept.store(nth + 1, Ordering::Relaxed);
        if doors.is_empty() {
            return None;
        }
        for (door, entry) in doors.iter().zip(nth * number(DOORS)..) {
            let last = &self.last[*door as usize];
            self.before[entry as usize].store(last.load(Ordering::Relaxed), Ordering::Relaxed);
            // Whoever reads this reads what was stored before.
            last.store(entry + 1, Ordering::Release);
        }
        Some(())
    }

    /// The entries kept with a row of the segment, the last first.
    fn entries(&self, door: u32) -> impl Iterator<Item = u32> + '_ {
        let last = self.last[door as usize].load(Ordering::Acquire);
        let before = |entry: &u32| {
            let before = self.before[*entry as usize].load(Ordering::Relaxed);
            before.checked_sub(1)
        };
        std::iter::successors(last.checked_sub(1), before)
    }

    /// The rows kept with those that a walk found, ascending; `None` where there are more entries than
    /// so many.
    pub(super) fn behind(&self, doors: &[u32], most: usize) -> Option<Vec<u64>> {
        let last = |door: &u32| self.last[*door as usize].load(Ordering::Acquire);
        let mut open: Vec<u32> = doors.iter().map(last).filter(|next| *next > 0).collect();
        let mut kept = Vec::with_capacity(4 * doors.len());
        // The entries of all doors in turns: they come from memory together.
        while !open.is_empty() {
            if kept.len() + open.len() > most {
                return None;
            }
            kept.extend(open.iter().map(|next| (next - 1) / number(DOORS)));
            open.retain_mut(|next| {
                *next = self.before[*next as usize - 1].load(Ordering::Relaxed);
                *next > 0
            });
        }
        kept.sort_unstable();
        kept.dedup();
        let seqs = kept
            .iter()
            .map(|nth| self.seqs[*nth as usize].load(Ordering::Relaxed));
        let mut seqs: Vec<u64> = seqs.collect();
        // But for those that were given other doors they are, and each is there once.
        seqs.sort_unstable();
        seqs.dedup();
        Some(seqs)
    }

    /// Keeps the rows of an earlier one, as far as they are wanted, with what the rows of its segment
    /// are now. Answers which have too few doors left, and are not kept.
    pub(super) fn take_over(
        &self,
        earlier: &Self,
        now: &[u32],
        wanted: impl Fn(u64) -> bool,
    ) -> Option<Vec<u64>> {
        let mut doors: Vec<(u32, u32)> = Vec::new();
        for (then, now) in (0..).zip(now).filter(|(_, now)| **now != NONE) {
            doors.extend(
                earlier
                    .entries(then)
                    .map(|entry| (entry / number(DOORS), *now)),
            );
        }
        doors.sort_unstable();
        let mut lost = Vec::new();
        let mut left = doors.chunk_by(|a, b| a.0 == b.0).peekable();
        for nth in 0..earlier.kept.load(Ordering::Relaxed) {
            let of_row = left.next_if(|doors| doors[0].0 == nth).unwrap_or_default();
            let seq = earlier.seqs[nth as usize].load(Ordering::Relaxed);
            if !wanted(seq) {
                continue;
            }
            if of_row.len() < LEAST {
                lost.push(seq);
                continue;
            }
            let doors: Vec<u32> = of_row.iter().map(|(_, door)| *door).collect();
            self.keep(seq, &doors)?;
        }
        Some(lost)
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.last.len() + self.before.len()) + 8 * self.seqs.len()
    }
}

/// What fits: there is room for no more than 2^17 rows.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE)
}
