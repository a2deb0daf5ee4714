//! The segment that most rows of a new one come from. The new one takes over its space, codes, links and
//! plan, mended where rows died and others came, as `FreshDiskANN` does (Singh et al. 2021): a dead
//! neighbour is replaced by one of its own, and rows that came are linked both ways.

use super::graph::{Graph, NONE};
use super::inverted::Inverted;
use super::part::Part;
use super::plan::Plan;
use std::sync::Arc;

/// It holds at least so many of so many rows.
pub(super) const MOST: (usize, usize) = (6, 10);
/// So many links of a dead neighbour may take its place.
const INSTEAD: usize = 2;

/// A segment, and where its rows are now.
#[derive(Debug)]
pub(super) struct Former<T> {
    part: Arc<Part<T>>,
    /// Of each of its rows, the row it is now; [`NONE`] if it died.
    now: Vec<u32>,
    /// Of each row now, the row it was there; [`NONE`] if it came since.
    then: Vec<u32>,
}

/// What is left of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    graph: &'a Graph,
    now: &'a [u32],
    then: &'a [u32],
}

/// Whether so many of a segment's rows came or died while it was mended that it is better made from
/// nothing: where there is time for it, that is half as many as it has.
pub(super) fn is_worn(changed: usize, rows: usize, thorough: bool) -> bool {
    changed > if thorough { rows / 2 } else { 2 * rows }
}

impl<T: Clone> Former<T> {
    /// That of a part's sources which it is worth mending, if any: it has lists, holds most of the
    /// rows, and was not mended too often.
    pub(super) fn of(part: &Part<T>, sources: &[Arc<Part<T>>], thorough: bool) -> Option<Self> {
        let largest = sources.iter().max_by_key(|source| source.live())?;
        largest.inverted()?;
        let former = Self {
            now: part.now(largest),
            then: largest.now(part),
            part: Arc::clone(largest),
        };
        let kept = former.kept();
        let is_worth_it = kept * MOST.1 >= part.len() * MOST.0;
        (is_worth_it && !is_worn(former.changed(), part.len(), thorough)).then_some(former)
    }

    /// How many of its rows are left.
    fn kept(&self) -> usize {
        self.then.iter().filter(|row| **row != NONE).count()
    }

    /// Rows that came or died since links, lists and all were made from nothing.
    pub(super) fn changed(&self) -> usize {
        let kept = self.kept();
        self.part.changed + (self.now.len() - kept) + (self.then.len() - kept)
    }

    /// The rows of now in its space, if they suit it.
    pub(super) fn joined(&self, part: &Part<T>, sources: &[Arc<Part<T>>]) -> Option<Inverted> {
        part.joined(self.part.inverted()?.space(), sources)
    }

    pub(super) fn plan(&self) -> &Plan {
        self.part.sealed_plan()
    }

    /// What is left of its graph, if it has one.
    pub(super) fn left(&self) -> Option<Left<'_>> {
        Some(Left {
            graph: self.part.graph()?,
            now: &self.now,
            then: &self.then,
        })
    }
}

impl<'a> Left<'a> {
    /// What a node now was linked to; in the place of what died, the nearest that this was linked to.
    /// `None` if the node came since.
    pub(super) fn links(self, node: u32) -> Option<impl Iterator<Item = u32> + 'a> {
        let then = Some(self.then[node as usize]).filter(|then| *then != NONE)?;
        let links = self.graph.links(then).flat_map(move |link| {
            let now = self.now[link as usize];
            let lives = now != NONE;
            let beyond = (!lives).then(|| self.living(link).take(INSTEAD));
            lives
                .then_some(now)
                .into_iter()
                .chain(beyond.into_iter().flatten())
        });
        Some(links)
    }

    /// Those that a node was linked to, as far as they are left, by what they are now; nearest first.
    fn living(self, then: u32) -> impl Iterator<Item = u32> + 'a {
        let links = self.graph.links(then);
        let now = links.map(move |link| self.now[link as usize]);
        now.filter(|now| *now != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::plan::Way;
    use super::super::seal::seal;
    use super::super::trial::{Questions, Trial};
    use super::*;
    use crate::domain::Metric;
    use crate::simd::AlignedRows;
    use std::ops::Range;
    use std::sync::atomic::AtomicBool;

    const DIM: usize = 32;

    fn noise(n: u64) -> f32 {
        let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ x >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        f32::from(u16::try_from((x ^ x >> 32) & 0xFFFF).unwrap()) / 65_536.0 - 0.5
    }

    /// One of twenty clusters.
    fn vector(seq: u64, scale: f32) -> Vec<f32> {
        let of = |i: u64| noise(seq % 20 * 64 + i) + 0.3 * noise(100_000 + seq * 64 + i);
        (0..DIM as u64).map(|i| scale * of(i)).collect()
    }

    fn rows(seqs: Range<u64>, scale: f32) -> Part<()> {
        let mut part = Part::with_capacity(DIM, 0);
        seqs.for_each(|seq| part.push(seq, &vector(seq, scale), Some(())));
        part.tabulate(&vec![None; part.len()]);
        part
    }

    fn sealed(sources: &[Arc<Part<()>>], thorough: bool) -> Part<()> {
        let options = Options::new(DIM, Metric::Euclidean);
        let mut part = Part::merged(DIM, sources).0;
        part.sealed = Some((1, None));
        let go_on = AtomicBool::new(false);
        seal(&options, &mut part, sources, thorough, &go_on, &|_| {}).unwrap();
        part
    }

    fn recall(part: &Part<()>, seqs: Range<u64>) -> f32 {
        let options = Options::new(DIM, Metric::Euclidean);
        let mut asked = AlignedRows::with_capacity(DIM, 0);
        // Near those that died there is nothing.
        let lives = seqs.filter(|seq| seq % 20 >= 3);
        lives.for_each(|seq| asked.push(&vector(seq, 1.0)));
        let trial = Trial::new(&options, part, Questions::Strangers(&asked), 1.0);
        trial.recall(Way::Walk { ef: 40 }).unwrap().0
    }

    #[test]
    fn what_is_left_is_mended() {
        let first = Arc::new(sealed(&[Arc::new(rows(0..4_000, 1.0))], false));
        assert!(first.graph().is_some() && first.inverted().unwrap().lists() > 1);
        assert_eq!(first.changed, 0);
        // Of some clusters all die, of others some.
        let dies = |seq: &u64| seq % 20 < 3 || seq.is_multiple_of(7);
        let died = (0..4_000).filter(dies).inspect(|seq| {
            first.kill(usize::try_from(*seq).unwrap(), 9_000);
        });
        let died = died.count();
        let others = Arc::new(rows(4_000..4_600, 1.0));
        let mended = sealed(&[Arc::clone(&first), others], false);
        assert_eq!(mended.changed, died + 600);
        assert!(mended.graph().unwrap().is_sound(4_600 - died));
        let spaces = [&first, &mended].map(|part: &Part<()>| part.inverted().unwrap().space());
        assert!(Arc::ptr_eq(spaces[0], spaces[1]));
        let anew = sealed(&[Arc::new(Part::merged(DIM, &[Arc::new(mended)]).0)], false);
        let mended = sealed(
            &[Arc::clone(&first), Arc::new(rows(4_000..4_600, 1.0))],
            false,
        );
        for asked in [10_000..10_400, 4_000..4_400] {
            let (mended, anew) = (recall(&mended, asked.clone()), recall(&anew, asked));
            assert!(mended >= 0.95 && mended > anew - 0.02, "{mended} {anew}");
        }
    }

    #[test]
    fn what_would_not_be_mended_well_is_made_from_nothing() {
        let first = || sealed(&[Arc::new(rows(0..2_000, 1.0))], false);
        let with = |first: Part<()>, others: Part<()>, thorough| {
            sealed(&[Arc::new(first), Arc::new(others)], thorough).changed
        };
        assert_eq!(with(first(), rows(2_000..2_100, 1.0), true), 100);
        // Where all are strange to the space, or most are new.
        assert_eq!(with(first(), rows(2_000..2_100, 90.0), false), 0);
        assert_eq!(with(first(), rows(2_000..3_400, 1.0), false), 0);
        let worn = |changed| {
            let mut part = first();
            part.changed = changed;
            part
        };
        for (changed, thorough, left) in [
            (3_000, false, 3_100),
            (4_200, false, 0),
            (900, true, 1_000),
            (1_000, true, 0),
        ] {
            let changed = with(worn(changed), rows(2_000..2_100, 1.0), thorough);
            assert_eq!(changed, left);
        }
    }
}
