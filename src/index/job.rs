//! Work in the background: from parts to a segment, and the segment into their place.

use super::columns::Columns;
use super::former::{MOST, is_worn};
use super::part::Part;
use super::seal::seal;
use super::{Options, Parts, codec};
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Segments are not merged beyond so many rows.
pub(super) const MAX_MERGED: usize = 1_000_000;
/// Segments of about one size that become one.
const FAN_IN: usize = 4;
/// One row in so many is dead: a segment is to be rewritten; where it can be mended, one in the second, and
/// in quiet times in the third.
const ROTTEN: (usize, usize, usize) = (5, 8, 20);
/// A segment takes those along that are smaller, if together they hold more than one row in so many of
/// its own.
const SMALL: usize = 8;

/// Held while a job is under way; there is one of a kind at a time.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(super) fn new(busy: &Arc<AtomicBool>) -> Self {
        busy.store(true, Ordering::Release);
        Self(Arc::clone(busy))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Fresh rows that are found by way of a segment: its number, and how many there are.
pub(super) type Tail = Option<(u64, usize)>;

/// Segments worth rewriting: one with too many dead rows and all that are smaller; one that can be mended
/// and all that are smaller, if together they are not far smaller; or several of about one size. In quiet
/// times also one that cannot, and one that was mended so often that it is worn. A `tail` goes along with
/// its segment: also answers whether it does.
pub(super) fn to_rewrite<T>(
    sealed: &[Arc<Part<T>>],
    tail: Tail,
    seal_at: usize,
    quiet: bool,
    most: usize,
) -> Option<(Vec<Arc<Part<T>>>, bool)> {
    let mut sealed = sealed.to_vec();
    sealed.sort_by_key(|part| Reverse(part.live()));
    let rows = |parts: &[Arc<Part<T>>]| parts.iter().map(|p| p.live()).sum::<usize>();
    for first in 0..sealed.len() {
        let mut along = &sealed[first..];
        while along.len() > 1 && rows(along) > most {
            along = &along[..along.len() - 1];
        }
        let part = &along[0];
        let its = tail.filter(|(number, _)| Some(*number) == part.number());
        let its = its.map(|(_, tail)| tail);
        let its = its.filter(|tail| rows(along) + tail <= most);
        let others = rows(&along[1..]) + its.unwrap_or(0);
        let mendable = part.live() * MOST.1 >= (part.live() + others) * MOST.0;
        let mendable = mendable && part.inverted().is_some();
        let rotten = match (quiet, mendable) {
            (true, _) => ROTTEN.2,
            (false, true) => ROTTEN.1,
            (false, false) => ROTTEN.0,
        };
        let has_company = (quiet || mendable) && others * SMALL > part.live();
        let worn = quiet && is_worn(part.changed, part.len(), true);
        if part.dead() * rotten > part.len() || has_company || worn {
            return Some((along.to_vec(), its.is_some()));
        }
    }
    let tier = |part: &Arc<Part<T>>| (part.live() / seal_at.max(1)).max(1).ilog(FAN_IN);
    sealed
        .chunk_by(|a, b| tier(a) == tier(b))
        .find_map(|alike| {
            let alike = &alike[..alike.len().min(FAN_IN)];
            (alike.len() == FAN_IN && rows(alike) <= most).then(|| (alike.to_vec(), false))
        })
}

/// Parts to be made one segment.
#[derive(Debug)]
pub struct Job<T> {
    options: Options,
    sources: Vec<Arc<Part<T>>>,
    forgotten: Vec<u64>,
    busy: Busy,
    thorough: bool,
    /// Whether the tail, and what it had forgotten, goes along.
    takes_along: bool,
}

impl<T: Clone + Send + Sync> Job<T> {
    pub(super) fn new(
        options: Options,
        sources: Vec<Arc<Part<T>>>,
        forgotten: Vec<u64>,
        busy: Busy,
    ) -> Self {
        Self {
            options,
            sources,
            forgotten,
            busy,
            thorough: false,
            takes_along: false,
        }
    }

    /// In quiet times there is time to work through what was mended often.
    pub(super) fn thorough(self, thorough: bool) -> Self {
        Self { thorough, ..self }
    }

    /// The tail goes along.
    pub(super) fn taking_along(self, takes_along: bool) -> Self {
        Self {
            takes_along,
            ..self
        }
    }

    /// Rows to be gone through.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sources.iter().map(|p| p.len()).sum()
    }

    /// Builds segment `id`; `progress` hears of rows done. `None` if cancelled.
    #[must_use]
    pub fn build(
        self,
        id: u64,
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Option<Built<T>> {
        let Self {
            options,
            sources,
            forgotten,
            busy,
            thorough,
            takes_along,
        } = self;
        let columns = sources.iter().map(|part| part.columns()).collect();
        let (mut part, dead) = Part::merged(options.dim, &sources);
        let (forgot, mut dropped) = (forgotten.len(), forgotten);
        dropped.extend(dead);
        part.sealed = Some((id, None));
        if part.len() >= options.graph_at {
            seal(&options, &mut part, &sources, thorough, cancel, progress)?;
        }
        part.file_rows(&options);
        Some(Built {
            id,
            part,
            sources,
            columns,
            dropped,
            forgot,
            takes_along,
            busy,
        })
    }
}

/// A segment that is not part of the index yet.
#[derive(Debug)]
pub struct Built<T> {
    id: u64,
    part: Part<T>,
    sources: Vec<Arc<Part<T>>>,
    /// Those of the sources when building began.
    columns: Vec<Arc<Columns>>,
    dropped: Vec<u64>,
    /// How many of them the index had forgotten before.
    forgot: usize,
    takes_along: bool,
    busy: Busy,
}

/// What came of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The segment added, unless no row was left for it.
    pub added: Option<u64>,
    /// Segments that it replaces.
    pub removed: Vec<u64>,
    /// Dead rows whose stored vectors nothing needs any more.
    pub dropped: Vec<u64>,
}

impl<T: Clone + Sync> Built<T> {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether no row was left for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.len() == 0
    }

    /// The numbers of the segments that it replaces.
    #[must_use]
    pub fn replaces(&self) -> Vec<u64> {
        let sealed = self.sources.iter().filter_map(|s| s.sealed.as_ref());
        sealed.map(|(id, _)| *id).collect()
    }

    /// Dead rows whose stored vectors nothing needs once it is installed.
    #[must_use]
    pub fn will_drop(&self) -> &[u64] {
        &self.dropped
    }

    /// Sequence numbers, and what the rows are searched by, with a checksum; vectors and tags live
    /// elsewhere.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.part)
    }

    /// Takes the place of its sources; rows that died meanwhile are dead in it too.
    pub(super) fn settle(self, options: &Options, parts: &mut Parts<T>) -> Installed {
        let now: Vec<_> = self.sources.iter().map(|part| part.columns()).collect();
        let same = now
            .iter()
            .zip(&self.columns)
            .all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            // A field was indexed meanwhile, or is no more.
            self.part.set_columns(self.part.columns_of(&self.sources));
        }
        for source in &self.sources {
            for (row, seq) in source.seqs.iter().enumerate() {
                if let Some(at) = source.death(row)
                    && let Some(place) = self.part.place(*seq)
                {
                    self.part.kill(place, at);
                }
            }
        }
        let installed = Installed {
            added: (!self.is_empty()).then_some(self.id),
            removed: self.replaces(),
            dropped: self.dropped,
        };
        let mine = |part: &Arc<Part<T>>| self.sources.iter().any(|s| Arc::ptr_eq(s, part));
        parts.sealed.retain(|p| !mine(p));
        parts.frozen.retain(|p| !mine(p));
        parts.along.retain(|p| !mine(p));
        if self.takes_along {
            parts.leaving.clear();
        } else {
            parts.forgotten.drain(..self.forgot);
        }
        if installed.added.is_some() {
            if let Some(annex) = &parts.annex
                && self.sources.iter().all(|source| source.is_kept_in(annex))
            {
                self.part.set_kept_in(annex);
            }
            parts.sealed.push(Arc::new(self.part));
        }
        parts.keep_by_largest(options, &self.sources);
        drop(self.busy);
        installed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of so many rows, the first so many of them dead.
    fn parts(sizes: &[(usize, usize)]) -> Vec<Arc<Part<()>>> {
        let part = |(rows, dead): &(usize, usize)| {
            let mut part = Part::with_capacity(1, *rows);
            (0..*rows).for_each(|row| part.push(row as u64, &[1.0], (row >= *dead).then_some(())));
            Arc::new(part)
        };
        sizes.iter().map(part).collect()
    }

    fn rewritten(sizes: &[(usize, usize)], quiet: bool) -> Option<Vec<usize>> {
        let sources = to_rewrite(&parts(sizes), None, 10, quiet, 1_000)?.0;
        Some(sources.iter().map(|part| part.len()).collect())
    }

    #[test]
    fn what_is_rewritten_gains_by_it() {
        assert_eq!(rewritten(&[(900, 0), (90, 0), (10, 2)], false), None);
        assert_eq!(
            rewritten(&[(900, 0), (90, 0), (10, 3)], false),
            Some(vec![10])
        );
        let along = Some(vec![400, 90, 10]);
        assert_eq!(rewritten(&[(10, 0), (400, 100), (90, 0)], false), along);
        let alike = [(11, 0), (12, 0), (13, 0), (14, 0), (900, 0)];
        assert_eq!(rewritten(&alike, false), Some(vec![14, 13, 12, 11]));
        // In quiet times, less is reason enough.
        assert_eq!(rewritten(&[(100, 5)], true), None);
        assert_eq!(rewritten(&[(100, 6)], true), Some(vec![100]));
        assert_eq!(rewritten(&[(800, 0), (100, 0)], true), None);
        assert_eq!(rewritten(&[(800, 0), (101, 0)], true), Some(vec![800, 101]));
        // Two that are too large together stay as they are; smaller ones do not wait for them.
        assert_eq!(rewritten(&[(640, 0), (640, 0)], true), None);
        let two = Some(vec![30, 20]);
        assert_eq!(
            rewritten(&[(990, 0), (640, 0), (30, 0), (20, 0)], true),
            two
        );
        assert_eq!(
            rewritten(&[(1_000, 300), (640, 0)], false),
            Some(vec![1_000])
        );
    }
}
