//! The writer's side of an annex: what comes is kept there, and what is kept goes with the largest segment.

use super::annex::Annex;
use super::part::Part;
use super::{Options, Parts};
use std::sync::Arc;

/// Where more rows come at once, they are to be sealed soon: a commit does not wait for their doors.
const BULK: usize = 1_024;
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
