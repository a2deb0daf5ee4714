//! What a reader sees: one state of the index, and the search over it.

use super::annex::Annex;
use super::behind;
use super::best::Best;
use super::columns::Asked;
use super::fresh;
use super::options::Options;
use super::part::Part;
use super::search::{self, Search};
use crate::domain::{Embedding, Filter, Recall};
use crate::simd::AlignedRows;
use std::sync::Arc;

/// Distances that finding a filter's value in a part's columns is worth.
const LOOK_UP: usize = 10;

/// One state: parts, and the sequence number up to which their rows count.
#[derive(Debug)]
pub(super) struct View<T> {
    pub(super) at: u64,
    pub(super) options: Options,
    pub(super) parts: Vec<Arc<Part<T>>>,
    /// What rows of other parts are found by.
    pub(super) annex: Option<Arc<Annex>>,
    live: usize,
}

impl<T> View<T> {
    pub(super) fn new(
        at: u64,
        options: Options,
        parts: Vec<Arc<Part<T>>>,
        annex: Option<Arc<Annex>>,
    ) -> Self {
        let live = parts.iter().map(|p| p.live()).sum();
        Self {
            at,
            options,
            parts,
            annex,
            live,
        }
    }
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The vector.
    pub vector: &'a Embedding,
    /// How many.
    pub k: usize,
    /// The recall to aim at. Each segment goes the fastest way that reached it when that was learnt.
    pub recall: Recall,
    /// Instead, walk the graph and keep so many candidates; without one, as many from lists.
    pub ef: Option<usize>,
    /// Compare with every row.
    pub exact: bool,
    /// Only rows at most so far away.
    pub max_distance: Option<f32>,
    /// Only rows that match, as far as their facets tell.
    pub filter: Option<&'a Filter>,
}

/// A row found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit<T> {
    /// Its sequence number.
    pub seq: u64,
    /// Its distance, exact, by the index's metric.
    pub distance: f32,
    /// Its tag.
    pub tag: T,
}

/// Counts and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Rows that live.
    pub live: usize,
    /// Dead rows that still take space.
    pub dead: usize,
    /// Rows in sealed segments, dead ones included.
    pub sealed_rows: usize,
    /// Rows not sealed yet.
    pub tail_rows: usize,
    /// Sealed segments.
    pub segments: usize,
    /// Memory of vectors and graphs, in bytes.
    pub bytes: usize,
}

/// One state of an index, for as long as it is held. Cheap to clone.
#[derive(Debug)]
pub struct Snapshot<T>(pub(super) Arc<View<T>>);

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Which rows count, beside being visible: by sequence number and tag.
pub(super) type Keep<'a, T> = Option<&'a dyn Fn(u64, &T) -> bool>;

impl<T: Clone> Snapshot<T> {
    pub(super) fn new(view: Arc<View<T>>) -> Self {
        Self(view)
    }

    /// Rows that live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.live
    }

    /// Whether no row lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.live == 0
    }

    /// The sequence number of the last commit seen.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.0.at
    }

    /// The `k` nearest rows that count, nearest first, equal distances by sequence number; fewer
    /// only if there are no more within `max_distance`. Rows count that match the filter and that
    /// `keep` keeps; where the facets of a part's rows say all that the filter asks, `keep` is not
    /// asked.
    #[must_use]
    pub fn search(&self, query: &Query<'_>, keep: Keep<'_, T>) -> Vec<Hit<T>> {
        let padded = AlignedRows::one(query.vector.as_slice());
        let mut best = Best::new(query);
        let columns = self.0.parts.iter().map(|part| {
            let filter = query.filter?;
            Some((part.columns(), filter))
        });
        let columns: Vec<_> = columns.collect();
        let asked = columns.iter().map(|columns| match columns {
            Some((columns, filter)) => columns.asked(filter, self.0.at),
            None => Asked::nothing(),
        });
        let asked: Vec<_> = asked.collect();
        let (mut behind, mut others) = (Vec::new(), Vec::new());
        for (part, asked) in self.0.parts.iter().zip(&asked) {
            let search = Search {
                view: &self.0,
                part,
                query,
                vector: padded.padded(0),
                asked,
                keep: keep.filter(|_| query.filter.is_none() || !asked.complete),
            };
            if best.walked.is_some() && search.is_behind() {
                behind.push(search);
            } else if search.is_fresh() {
                others.push(search);
            } else {
                search.run(&mut best);
            }
        }
        let walked = best.walked.take().zip(self.0.annex.as_ref());
        if !walked.is_some_and(|(walked, annex)| behind::run(annex, &walked, &behind, &mut best)) {
            let (fresh, sealed): (Vec<_>, Vec<_>) = behind.into_iter().partition(Search::is_fresh);
            for search in &sealed {
                search.run(&mut best);
            }
            others.extend(fresh);
        }
        fresh::run(&others, &mut best);
        let hits = best.hits.into_iter();
        hits.map(|(distance, seq, tag)| Hit {
            seq,
            distance,
            tag: tag.clone(),
        })
        .collect()
    }

    /// About how many distances a search is worth, where asking a row by its record is worth
    /// `record` of them; past `most` no more are counted, so that a long filter is not looked up
    /// only to tell that it is long.
    #[must_use]
    pub fn cost(&self, query: &Query<'_>, record: usize, most: usize) -> usize {
        let look_ups = query.filter.map_or(0, |f| f.conditions() + f.values());
        let mut cost = LOOK_UP * look_ups * self.0.parts.len();
        for part in &self.0.parts {
            if cost > most {
                break;
            }
            let behind = self.0.annex.as_ref().filter(|_| behind::is_for(query));
            if behind.is_some_and(|annex| part.is_kept_in(annex)) {
                cost += behind::COST;
                continue;
            }
            let columns = query.filter.map(|filter| (part.columns(), filter));
            let asked = columns.as_ref();
            let asked = asked.map(|(columns, filter)| columns.asked(filter, self.0.at));
            cost += search::cost(&self.0.options, part, query, asked.as_ref(), record);
        }
        cost
    }

    fn find(&self, seq: u64) -> Option<(&Part<T>, usize, &T)> {
        self.0.parts.iter().find_map(|part| {
            let row = part.place(seq)?;
            Some((&**part, row, part.visible(row, self.0.at)?))
        })
    }

    /// The vector of a row.
    #[must_use]
    pub fn vector(&self, seq: u64) -> Option<Vec<f32>> {
        let (part, row, _) = self.find(seq)?;
        Some(part.rows.row(row).to_vec())
    }

    /// The tag of a row.
    #[must_use]
    pub fn tag(&self, seq: u64) -> Option<T> {
        Some(self.find(seq)?.2.clone())
    }

    /// Every row: sequence number, tag and vector; ascending within a part.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T, &[f32])> {
        self.0.parts.iter().flat_map(|part| {
            let rows = 0..part.len();
            rows.filter_map(|row| {
                let tag = part.visible(row, self.0.at)?;
                Some((part.seqs[row], tag, part.rows.row(row)))
            })
        })
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let annex = self.0.annex.as_ref();
        let mut stats = Stats {
            bytes: annex.map_or(0, |annex| annex.bytes()),
            ..Stats::default()
        };
        for part in &self.0.parts {
            stats.live += part.live();
            stats.dead += part.dead();
            stats.bytes += part.bytes();
            if part.sealed.is_some() {
                stats.segments += 1;
                stats.sealed_rows += part.len();
            } else {
                stats.tail_rows += part.len();
            }
        }
        stats
    }
}
