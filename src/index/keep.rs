//! The writer's side of an annex: what comes is kept there, and what is kept goes with the largest segment.

use super::annex::Annex;
use super::part::Part;
use super::{Options, Parts};
use std::sync::Arc;

/// Where more rows come at once, they are to be sealed soon: a commit does not wait for their doors.
const BULK: usize = 512;
/// A tail is short that holds fewer than one in so many of what the largest segment does, or a tail that
/// is to be sealed.
const FEW_OF: usize = 4;

impl<T: Clone + Sync> Parts<T> {
    /// Keeps the rows of a part of the tail, but for those kept already in its sources.
    pub(super) fn keep(&mut self, options: &Options, part: &Part<T>, sources: &[Arc<Part<T>>]) {
        let Some(annex) = self.annex.clone() else {
            return;
        };
        let missing = sources.iter().filter(|source| !source.is_kept_in(&annex));
        let missing = missing.flat_map(|source| &source.seqs);
        let rows = missing.filter_map(|seq| {
            let row = part.place(*seq)?;
            Some((*seq, part.rows.padded(row)))
        });
        let rows: Vec<(u64, &[f32])> = rows.collect();
        if rows.len() > BULK {
            return;
        }
        match self.add_kept(options, &annex, &rows) {
            Some(()) => part.set_kept_in(&annex),
            // Beside many that are not kept there, a few are no gain.
            None => self.annex = None,
        }
    }

    /// `None` where they cannot all be kept.
    fn add_kept(&self, options: &Options, annex: &Annex, rows: &[(u64, &[f32])]) -> Option<()> {
        let is_its = |part: &&Arc<Part<T>>| part.number() == Some(annex.segment());
        let segment = self.sealed.iter().find(is_its)?;
        annex.has_room(rows.len()).then_some(())?;
        annex.add(options, segment, rows)
    }

    /// The rows of a tail that is long enough to be sealed. One that is found by way of the largest
    /// segment rather goes along when that is mended.
    pub(super) fn long(&self, options: &Options) -> usize {
        let by_largest = self.goes_along(options).and(self.largest());
        let few = by_largest.map_or(0, |part| part.len() / FEW_OF);
        options.seal_at.max(few)
    }

    /// How many rows of the tail may go along when the largest segment is mended: all if they are found
    /// by way of it, and worth it.
    pub(super) fn goes_along(&self, options: &Options) -> Option<usize> {
        let (annex, rows) = (self.annex.as_ref()?, self.tail_rows());
        let are_kept = self.tail.iter().all(|part| part.is_kept_in(annex));
        (are_kept && rows >= options.seal_at / FEW_OF).then_some(rows)
    }

    fn largest(&self) -> Option<&Arc<Part<T>>> {
        self.sealed.iter().max_by_key(|part| part.len())
    }

    /// Whether the first of some parts is the one by way of which others are found.
    pub(super) fn is_largest(&self, sources: &[Arc<Part<T>>]) -> bool {
        let annex = self.annex.as_ref().map(|annex| annex.segment());
        annex.is_some() && annex == sources.first().and_then(|part| part.number())
    }

    /// Lets rows be found by way of the largest segment; what was kept by one of its `sources` is
    /// kept by it.
    pub(super) fn keep_by_largest(&mut self, options: &Options, sources: &[Arc<Part<T>>]) {
        let largest = self.largest().cloned();
        let now = |annex: &Arc<Annex>| annex.segment();
        if self.annex.as_ref().map(now) == largest.as_ref().and_then(|part| part.number()) {
            return;
        }
        let annex = largest.and_then(|part| {
            let annex = Annex::of(options, &part)?;
            Some((part, annex))
        });
        let earlier = self.annex.take();
        let Some((largest, annex)) = annex else {
            return;
        };
        let annex = Arc::new(annex);
        if let Some(earlier) = earlier
            && let Some(source) = sources
                .iter()
                .find(|s| s.number() == Some(earlier.segment()))
            && self
                .take_over(options, &annex, &earlier, (&largest, source))
                .is_some()
        {
            for part in self.all().filter(|part| part.is_kept_in(&earlier)) {
                part.set_kept_in(&annex);
            }
        }
        self.annex = Some(annex);
    }

    /// `None` where not all can be kept.
    fn take_over(
        &self,
        options: &Options,
        annex: &Annex,
        earlier: &Annex,
        (largest, source): (&Arc<Part<T>>, &Arc<Part<T>>),
    ) -> Option<()> {
        let others = || self.all().filter(|part| part.is_kept_in(earlier));
        let place = |seq: u64| others().find_map(|part| Some((part, part.place(seq)?)));
        let is_wanted = |seq| place(seq).is_some();
        let lost = annex.take_over(earlier, &largest.now(source), is_wanted)?;
        let lost = lost.into_iter().filter_map(|seq| {
            let (part, row) = place(seq)?;
            Some((seq, part.rows.padded(row)))
        });
        self.add_kept(options, annex, &lost.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Index, Query, Row};
    use super::*;
    use crate::domain::{Embedding, Facets, Metric, Recall};
    use std::ops::RangeInclusive;
    use std::sync::atomic::AtomicBool;

    const DIM: usize = 12;

    fn vector(seq: u64) -> Embedding {
        let noise = |i: u64| {
            let x = (seq * 64 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let x = (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            f32::from(u16::try_from(x >> 48).unwrap())
        };
        let numbers = (0..DIM as u64).map(noise).collect();
        Embedding::new(numbers, DIM, Metric::Euclidean).unwrap()
    }

    /// Rows that come so many at once.
    fn add(index: &Index<u64>, seqs: RangeInclusive<u64>, at_once: u64) {
        for first in seqs.clone().step_by(usize::try_from(at_once).unwrap()) {
            let last = (first + at_once - 1).min(*seqs.end());
            let row = |seq| Row {
                seq,
                vector: vector(seq),
                tag: seq,
                facets: Facets::default(),
            };
            index.apply(last, (first..=last).map(row).collect(), &[]);
        }
    }

    fn install(index: &Index<u64>, job: super::super::Job<u64>, id: u64) {
        let built = job.build(id, &AtomicBool::new(false), &|_| {}).unwrap();
        index.install(built);
    }

    /// Which segment others are found by, and how many rows outside it are.
    fn kept(index: &Index<u64>) -> Option<(u64, usize)> {
        let view = index.view.load();
        let annex = view.annex.as_ref()?;
        let kept = view.parts.iter().filter(|part| part.is_kept_in(annex));
        Some((annex.segment(), kept.map(|part| part.live()).sum()))
    }

    /// Each of the rows is the nearest to itself, and what is near is found.
    fn check(index: &Index<u64>, seqs: RangeInclusive<u64>) {
        let snapshot = index.snapshot();
        let (mut right, mut all) = (0, 0);
        for seq in seqs.step_by(7) {
            let asked = vector(seq);
            let query = Query {
                vector: &asked,
                k: 10,
                recall: Recall::default(),
                ef: None,
                exact: false,
                max_distance: None,
                filter: None,
            };
            let hits = snapshot.search(&query, None);
            let query = Query {
                exact: true,
                ..query
            };
            let exact = snapshot.search(&query, None);
            assert_eq!((hits[0].seq, hits.len()), (exact[0].seq, 10));
            all += exact.len();
            right += exact.iter().filter(|hit| hits.contains(hit)).count();
        }
        assert!(right * 100 >= all * 97, "{right} of {all}");
    }

    #[test]
    fn rows_are_found_by_way_of_the_largest_segment_whatever_becomes_of_it() {
        let index = Index::new(Options::new(DIM, Metric::Euclidean));
        add(&index, 1..=6_000, 6_000);
        assert_eq!(kept(&index), None);
        install(&index, index.seal_job().unwrap(), 1);
        assert_eq!(kept(&index), Some((1, 0)));
        add(&index, 6_001..=6_700, 30);
        assert_eq!(kept(&index), Some((1, 700)));
        check(&index, 6_001..=6_700);
        // Some die, and what is left becomes a segment.
        index.apply(6_701, Vec::new(), &(6_001..=6_100).collect::<Vec<_>>());
        assert_eq!(kept(&index), Some((1, 600)));
        install(&index, index.seal_job().unwrap(), 2);
        add(&index, 6_702..=6_901, 25);
        assert_eq!(kept(&index), Some((1, 800)));
        check(&index, 6_101..=6_901);
        // The largest is rewritten with the other; what came meanwhile goes with it.
        index.apply(6_902, Vec::new(), &(1..=2_000).collect::<Vec<_>>());
        let job = index.next_rewrite(false).unwrap();
        add(&index, 6_903..=7_002, 50);
        install(&index, job, 3);
        assert_eq!(kept(&index), Some((3, 300)));
        check(&index, 6_101..=7_002);
        // A few beside many that came at once are no gain, and too many find no room.
        add(&index, 7_003..=8_602, 1_600);
        assert_eq!(kept(&index), Some((3, 0)));
        check(&index, 6_101..=8_602);
        add(&index, 8_603..=9_600, 40);
        assert_eq!(kept(&index), None);
        check(&index, 6_101..=9_600);
    }

    #[test]
    fn what_is_kept_goes_along_when_the_largest_is_mended() {
        let mut options = Options::new(DIM, Metric::Euclidean);
        options.seal_at = 1_000;
        let index = Index::new(options);
        add(&index, 1..=6_000, 6_000);
        install(&index, index.next_seal(false).unwrap(), 1);
        add(&index, 6_001..=7_100, 50);
        assert!(index.next_seal(false).is_none(), "it can wait");
        index.apply(7_101, Vec::new(), &(1..=2_000).collect::<Vec<_>>());
        // What a job that is given up had taken is taken by the next.
        assert!(index.next_rewrite(false).is_some());
        let job = index.next_rewrite(false).unwrap();
        add(&index, 7_102..=7_151, 50);
        check(&index, 6_001..=7_151);
        install(&index, job, 2);
        assert_eq!(kept(&index), Some((2, 50)));
        let stats = index.snapshot().stats();
        assert_eq!((stats.segments, stats.tail_rows, stats.dead), (1, 50, 0));
        check(&index, 6_001..=7_151);
    }
}
