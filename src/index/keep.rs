//! The writer's side of an annex: what comes is kept there, and what is kept goes with the largest segment.

use super::annex::Annex;
use super::job::Tail;
use super::part::Part;
use super::{Options, Parts};
use std::sync::Arc;

/// Where more rows come at once, they are to be sealed soon: a commit does not wait for their doors.
const BULK: usize = 512;
/// A tail that is found by way of the largest segment waits to go along with it, but not where it holds
/// one row in so many of that, or so many times those of others that are sealed.
const WAITS: (usize, usize) = (6, 3);
/// Without the dead there is to be room for one row in so many of the segment's, or for so many.
const ENOUGH: (usize, usize) = (32, 1 << 14);
/// It goes along from one in so many of those rows on.
const WORTH_IT: usize = 4;

impl<T: Clone + Sync> Parts<T> {
    /// Keeps the rows of a part of the tail, but for those kept already in its sources.
    pub(super) fn keep(&mut self, options: &Options, part: &Part<T>, sources: &[Arc<Part<T>>]) {
        let Some(annex) = self.annex.clone() else {
            return;
        };
        let few = missing(&annex, part, sources);
        let Some(annex) = few.and_then(|rows| self.with_room(options, annex, rows.len())) else {
            return;
        };
        // In another annex there may be fewer of the sources.
        if let Some(rows) = missing(&annex, part, sources)
            && self.add_kept(options, &annex, &rows).is_some()
        {
            part.set_kept_in(&annex);
        }
    }

    /// The annex, or one without the dead in its place; none where there is no room either.
    fn with_room(
        &mut self,
        options: &Options,
        annex: Arc<Annex>,
        rows: usize,
    ) -> Option<Arc<Annex>> {
        if annex.has_room(rows) {
            return Some(annex);
        }
        let segment = self.segment_of(&annex).cloned()?;
        let living = Arc::new(Annex::of(options, &segment)?);
        let taken = self.take_over(options, &living, &annex, (&segment, &segment));
        // Beside many that are not kept, a few are no gain; and no commit should have to do this again soon.
        let enough = rows.max((segment.len() / ENOUGH.0).min(ENOUGH.1));
        self.annex = taken.filter(|()| living.has_room(enough)).map(|()| living);
        self.annex.clone()
    }

    /// `None` where they cannot all be kept.
    fn add_kept(&self, options: &Options, annex: &Annex, rows: &[(u64, &[f32])]) -> Option<()> {
        annex.has_room(rows.len()).then_some(())?;
        annex.add(options, self.segment_of(annex)?, rows)
    }

    fn segment_of(&self, annex: &Annex) -> Option<&Arc<Part<T>>> {
        let is_its = |part: &&Arc<Part<T>>| part.number() == Some(annex.segment());
        self.sealed.iter().find(is_its)
    }

    /// From how many rows on a tail is sealed.
    pub(super) fn long_from(&self, options: &Options) -> usize {
        let waits = self.goes_along(options).and(self.largest());
        let most = waits.map_or(0, |part| part.len() / WAITS.0);
        most.clamp(options.seal_at, WAITS.1.saturating_mul(options.seal_at))
    }

    /// How many rows of the tail may go along when the largest segment is mended: all if they are found
    /// by way of it, and worth it.
    pub(super) fn goes_along(&self, options: &Options) -> Tail {
        let (annex, rows) = (self.annex.as_ref()?, self.tail_rows());
        let lists = self.segment_of(annex)?.inverted();
        let are_kept = self.tail.iter().all(|part| part.is_kept_in(annex));
        let worth_it = lists.is_some() && are_kept && rows * WORTH_IT >= options.seal_at;
        worth_it.then(|| (annex.segment(), rows))
    }

    /// The first of equals, as in a view.
    fn largest(&self) -> Option<&Arc<Part<T>>> {
        self.sealed.iter().rev().max_by_key(|part| part.len())
    }

    /// Lets rows be found by way of the largest segment; what was kept by one of its `sources` is
    /// kept by it.
    pub(super) fn keep_by_largest(&mut self, options: &Options, sources: &[Arc<Part<T>>]) {
        let largest = self.largest().cloned();
        let known = self.annex.as_ref().map(|annex| annex.segment());
        if known == largest.as_ref().and_then(|part| part.number()) {
            return;
        }
        let earlier = self.annex.take();
        let Some(largest) = largest else { return };
        let Some(annex) = Annex::of(options, &largest).map(Arc::new) else {
            return;
        };
        let source = sources.iter().find(|source| source.number() == known);
        self.annex = match earlier.zip(source) {
            Some((earlier, source)) => {
                let taken = self.take_over(options, &annex, &earlier, (&largest, source));
                // Half of them would only be in the way.
                let empty = || Annex::of(options, &largest).map(Arc::new);
                taken.map(|()| annex).or_else(empty)
            }
            None => Some(annex),
        };
    }

    /// Keeps what is kept in an `earlier` annex, of a source of the largest segment; `None` where not
    /// all can be.
    fn take_over(
        &self,
        options: &Options,
        annex: &Annex,
        earlier: &Annex,
        (largest, source): (&Arc<Part<T>>, &Arc<Part<T>>),
    ) -> Option<()> {
        let kept = |part: &&Arc<Part<T>>| part.is_kept_in(earlier) && !Arc::ptr_eq(part, largest);
        let others = || self.all().filter(kept);
        let living = |part: &Part<T>, seq| part.place(seq).filter(|row| part.death(*row).is_none());
        let place = |seq: u64| others().find_map(|part| Some((part, living(part, seq)?)));
        let is_wanted = |seq| place(seq).is_some();
        let lost = annex.take_over(earlier, &largest.now(source), is_wanted)?;
        if lost.len() > BULK {
            return None;
        }
        let lost = lost.into_iter().filter_map(|seq| {
            let (part, row) = place(seq)?;
            Some((seq, part.rows.padded(row)))
        });
        self.add_kept(options, annex, &lost.collect::<Vec<_>>())?;
        others().for_each(|part| part.set_kept_in(annex));
        Some(())
    }
}

/// The rows of a part that are not kept in its sources; `None` where they are too many.
fn missing<'a, T>(
    annex: &Annex,
    part: &'a Part<T>,
    sources: &[Arc<Part<T>>],
) -> Option<Vec<(u64, &'a [f32])>> {
    let missing = sources.iter().filter(|source| !source.is_kept_in(annex));
    let rows = missing.flat_map(|source| &source.seqs).filter_map(|seq| {
        let row = part.place(*seq)?;
        Some((*seq, part.rows.padded(row)))
    });
    let rows: Vec<_> = rows.collect();
    (rows.len() <= BULK).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Plan, Step, Steps, Way};
    use super::super::{Index, Query, Row};
    use super::*;
    use crate::domain::{Embedding, Facets, Metric, Recall};
    use std::ops::RangeInclusive;
    use std::sync::atomic::AtomicBool;

    fn vector(seq: u64, dim: usize) -> Embedding {
        let mixed = |n: u64| {
            let x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let x = (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            f32::from(u16::try_from(x >> 48).unwrap())
        };
        // One of twenty clusters where there are lists.
        let apart = if dim < 32 { 0.0 } else { 3.0 };
        let of = |i| mixed(seq * 64 + i + 9_999) + apart * mixed(seq % 20 * 64 + i);
        let numbers = (0..dim as u64).map(of).collect();
        Embedding::new(numbers, dim, Metric::Euclidean).unwrap()
    }

    /// Rows that come so many at once.
    fn add(index: &Index<u64>, seqs: RangeInclusive<u64>, at_once: u64) {
        for first in seqs.clone().step_by(usize::try_from(at_once).unwrap()) {
            let last = (first + at_once - 1).min(*seqs.end());
            let row = |seq| Row {
                seq,
                vector: vector(seq, index.options.dim),
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

    /// Lets the segments be walked, whatever was found to be fastest.
    fn walk(index: &Index<u64>) {
        let way = Way::Walk { ef: 64 };
        let (recall, nanos) = (0.999, 1);
        let step = Step { way, recall, nanos };
        let mut parts = index.parts();
        for part in &parts.sealed {
            let steps = Steps(vec![step]);
            part.change_plan(Plan {
                steps,
                ..Plan::default()
            });
        }
        parts.keep_by_largest(&index.options, &[]);
        index.view.store(Arc::new(parts.view(&index.options)));
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
            let asked = vector(seq, index.options.dim);
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
        assert!(right * 100 >= all * 95, "{right} of {all}");
    }

    #[test]
    fn rows_are_found_by_way_of_the_largest_segment_whatever_becomes_of_it() {
        let index = Index::new(Options::new(12, Metric::Euclidean));
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
        assert!(kept(&index).is_some_and(|(_, rows)| rows > 900));
        check(&index, 6_101..=9_600);
        // The dead make room for others.
        index.apply(9_601, Vec::new(), &(8_603..=9_600).collect::<Vec<_>>());
        add(&index, 9_602..=10_401, 40);
        assert!(kept(&index).is_some_and(|(_, rows)| rows > 700));
        check(&index, 9_602..=10_401);
        add(&index, 10_402..=11_401, 40);
        assert_eq!(kept(&index), None);
        check(&index, 9_602..=11_401);
    }

    #[test]
    fn what_is_kept_goes_along_when_the_largest_is_mended() {
        // From 32 dimensions on there are lists.
        let mut options = Options::new(40, Metric::Euclidean);
        options.seal_at = 1_000;
        let index = Index::new(options);
        add(&index, 1..=6_000, 6_000);
        install(&index, index.next_seal(false).unwrap(), 1);
        walk(&index);
        add(&index, 6_001..=6_990, 50);
        assert_eq!(kept(&index), Some((1, 990)));
        assert!(index.next_seal(false).is_none(), "it can wait");
        index.apply(6_991, Vec::new(), &(1..=2_000).collect::<Vec<_>>());
        // What a job that is given up had taken is taken by the next.
        assert!(index.next_rewrite(false).is_some());
        let job = index.next_rewrite(false).unwrap();
        add(&index, 6_992..=7_041, 50);
        check(&index, 6_001..=7_041);
        install(&index, job, 2);
        let stats = index.snapshot().stats();
        assert_eq!((stats.segments, stats.tail_rows, stats.dead), (1, 50, 0));
        check(&index, 6_001..=7_041);
    }
}
