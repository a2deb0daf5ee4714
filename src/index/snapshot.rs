//! What a reader sees: one state of the index, and the search over it.

use super::graph::Graph;
use super::options::Options;
use super::part::Part;
use super::walk::{self, Exact, Keys};
use crate::domain::Embedding;
use crate::simd::AlignedRows;
use std::collections::HashMap;
use std::sync::Arc;

/// Candidates a walk keeps where the caller does not say.
const DEFAULT_EF: usize = 96;
/// A filtered walk keeps so many times more, before it gives way to a scan.
const FILTER_FACTOR: usize = 4;
/// A walk that ended among equals goes on with so many times more candidates.
const TIE_FACTOR: usize = 8;
/// Of what a walk by codes found, at least so many are compared again, exactly.
const COMPARED_AGAIN: usize = 40;

/// One state: parts, and the sequence number up to which their rows count.
#[derive(Debug)]
pub(super) struct View<T> {
    at: u64,
    options: Options,
    parts: Vec<Arc<Part<T>>>,
    live: usize,
}

impl<T> View<T> {
    pub(super) fn new(at: u64, options: Options, parts: Vec<Arc<Part<T>>>) -> Self {
        let live = parts.iter().map(|p| p.live()).sum();
        Self {
            at,
            options,
            parts,
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
    /// Candidates the walk keeps; `None` takes the larger of 96 and 2 `k`.
    pub ef: Option<usize>,
    /// Compare with every row.
    pub exact: bool,
    /// Only rows at most so far away.
    pub max_distance: Option<f32>,
}

impl Query<'_> {
    fn ef(&self) -> usize {
        self.ef.unwrap_or(DEFAULT_EF.max(2 * self.k)).max(self.k)
    }
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
pub struct Snapshot<T>(Arc<View<T>>);

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Which rows count, beside being visible: by sequence number and tag.
type Keep<'a, T> = Option<&'a dyn Fn(u64, &T) -> bool>;

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

    /// The `k` nearest rows that `keep` keeps, nearest first, equal distances by sequence
    /// number; fewer only if there are no more within `max_distance`.
    #[must_use]
    pub fn search(&self, query: &Query<'_>, keep: Keep<'_, T>) -> Vec<Hit<T>> {
        let padded = AlignedRows::one(query.vector.as_slice());
        let mut best = Best::new(query);
        for part in &self.0.parts {
            let search = Search {
                view: &self.0,
                part,
                query,
                vector: padded.padded(0),
                keep,
            };
            if !search.walk(&mut best) {
                search.scan(&mut best);
            }
        }
        let hits = best.hits.into_iter();
        hits.map(|(distance, seq, tag)| Hit {
            seq,
            distance,
            tag: tag.clone(),
        })
        .collect()
    }

    /// The nearest row of each group, nearest first, for the rows that `group` puts in one.
    /// Compares every row.
    #[must_use]
    pub fn nearest_of_each<'a, G: std::hash::Hash + Eq>(
        &'a self,
        vector: &Embedding,
        group: impl Fn(u64, &'a T) -> Option<G>,
    ) -> Vec<(G, Hit<T>)> {
        let query = AlignedRows::one(vector.as_slice());
        let options = &self.0.options;
        let mut nearest: HashMap<G, (f32, u64, &T)> = HashMap::new();
        for part in &self.0.parts {
            for (row, seq) in part.seqs.iter().enumerate() {
                let Some(tag) = part.visible(row, self.0.at) else {
                    continue;
                };
                let Some(group) = group(*seq, tag) else {
                    continue;
                };
                let key = options.key(query.padded(0), part.rows.padded(row));
                let found = (options.distance(key), *seq, tag);
                let best = nearest.entry(group).or_insert(found);
                if (found.0, found.1) < (best.0, best.1) {
                    *best = found;
                }
            }
        }
        let mut nearest: Vec<_> = nearest.into_iter().collect();
        nearest.sort_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let hit = |(distance, seq, tag): (f32, u64, &T)| Hit {
            seq,
            distance,
            tag: tag.clone(),
        };
        nearest.into_iter().map(|(g, n)| (g, hit(n))).collect()
    }

    /// About how many distances a search will compute.
    #[must_use]
    pub fn cost(&self, query: &Query<'_>, filtered: bool) -> usize {
        let options = &self.0.options;
        let factor = if filtered { FILTER_FACTOR } else { 1 };
        let cost = |part: &Arc<Part<T>>| match part.graph() {
            Some(_) if !query.exact && !filtered => {
                (query.ef() * factor * options.m).min(part.len())
            }
            // A selective filter ends in a scan.
            _ => part.len(),
        };
        self.0.parts.iter().map(cost).sum()
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
        let mut stats = Stats::default();
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

/// The best rows so far, sorted by distance and sequence number.
struct Best<'a, T> {
    k: usize,
    bound: f32,
    hits: Vec<(f32, u64, &'a T)>,
}

impl<'a, T> Best<'a, T> {
    fn new(query: &Query<'_>) -> Self {
        Self {
            k: query.k,
            bound: query.max_distance.unwrap_or(f32::INFINITY),
            hits: Vec::with_capacity(query.k.min(1_024)),
        }
    }

    /// Whether a row so far away would be kept.
    fn wants(&self, distance: f32, seq: u64) -> bool {
        let among = match self.hits.last() {
            Some(worst) if self.hits.len() == self.k => (distance, seq) < (worst.0, worst.1),
            _ => self.k > 0,
        };
        among && distance <= self.bound
    }

    fn offer(&mut self, (distance, seq, tag): (f32, u64, &'a T)) {
        if !self.wants(distance, seq) {
            return;
        }
        let at = self.hits.partition_point(|h| (h.0, h.1) < (distance, seq));
        if self.hits.len() == self.k {
            self.hits.pop();
        }
        self.hits.insert(at, (distance, seq, tag));
    }
}

/// A search of one part.
struct Search<'s, 'q, T> {
    view: &'s View<T>,
    part: &'s Part<T>,
    query: &'q Query<'q>,
    vector: &'q [f32],
    keep: Keep<'q, T>,
}

impl<'s, T> Search<'s, '_, T> {
    /// The tag of a row that counts.
    fn counts(&self, row: usize) -> Option<&'s T> {
        let tag = self.part.visible(row, self.view.at)?;
        let kept = self.keep.is_none_or(|keep| keep(self.part.seqs[row], tag));
        kept.then_some(tag)
    }

    /// Walks the graph; `false` if there is none, a scan is cheaper, or too little was found.
    fn walk(&self, best: &mut Best<'s, T>) -> bool {
        let Some(graph) = self.part.graph() else {
            return false;
        };
        // How many live now says nothing of the moment that this snapshot shows: it only guides.
        let (rows, live) = (self.part.len(), self.part.live().max(1));
        let wanted = self.query.k;
        if wanted == 0 {
            return true;
        }
        let factor = if self.keep.is_some() {
            FILTER_FACTOR
        } else {
            1
        };
        // Dead rows are walked through: the more there are, the more candidates it takes.
        let mut ef = (self.query.ef() * factor * rows).div_ceil(live);
        let View { options, .. } = self.view;
        while !self.query.exact && ef.saturating_mul(options.m) <= rows {
            let (found, all) = self.found(graph, ef);
            let edge = found.last().filter(|_| !all);
            let edge = edge.map_or(f32::INFINITY, |(key, _)| options.distance(*key));
            let counted = self.nearest(&found, wanted, best.bound);
            let last = counted.last().filter(|_| counted.len() >= wanted);
            // Beyond the last that is wanted, or near enough, the walk must have gone on.
            match last.map(|l| l.0) {
                Some(last) if last >= edge => ef *= TIE_FACTOR,
                // By inner product even what lies beyond the bound may lead to what does not,
                // and few rows that a filter keeps need not be linked to one another.
                None if edge <= best.bound || self.keep.is_some() => return false,
                _ => {
                    for hit in counted {
                        best.offer(hit);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// What a walk finds, by exact keys, nearest first; whether that is all there is.
    fn found(&self, graph: &Graph, ef: usize) -> (Vec<(f32, u32)>, bool) {
        let exact = Exact {
            options: &self.view.options,
            rows: &self.part.rows,
            query: self.vector,
        };
        let codes = self.part.codes();
        let Some(coded) = codes.and_then(|codes| codes.query(self.query.vector.as_slice())) else {
            let found = walk::nearest(graph, &exact, ef);
            let all = found.len() < ef;
            return (found, all);
        };
        let mut found = walk::nearest(graph, &coded, ef);
        let again = self.compared_again(found.len());
        let all = found.len() < ef && again == found.len();
        found.truncate(again);
        for (_, node) in &found {
            exact.prefetch(*node);
        }
        for (key, node) in &mut found {
            *key = exact.key(*node);
        }
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        (found, all)
    }

    /// How many of so many found by their codes are compared exactly.
    fn compared_again(&self, found: usize) -> usize {
        if self.keep.is_some() {
            return found;
        }
        let (rows, live) = (self.part.len(), self.part.live().max(1));
        let least = COMPARED_AGAIN.max(2 * self.query.k);
        least.saturating_mul(rows).div_ceil(live).min(found)
    }

    /// Of the nodes found, the first that count, and those just as far as the last of them.
    fn nearest(&self, found: &[(f32, u32)], wanted: usize, bound: f32) -> Vec<(f32, u64, &'s T)> {
        let mut counted: Vec<(f32, u64, &T)> = Vec::with_capacity(wanted);
        for (key, node) in found {
            let distance = self.view.options.distance(*key);
            let enough = counted.len() >= wanted && counted[counted.len() - 1].0 < distance;
            if enough || distance > bound {
                break;
            }
            let row = *node as usize;
            if let Some(tag) = self.counts(row) {
                counted.push((distance, self.part.seqs[row], tag));
            }
        }
        counted
    }

    /// Compares every row.
    fn scan(&self, best: &mut Best<'s, T>) {
        let rows = &self.part.rows;
        let mut row = 0;
        while row + 4 <= rows.len() {
            let four = [0, 1, 2, 3].map(|i| rows.padded(row + i));
            for key in self.view.options.key4(self.vector, four) {
                self.offer(best, key, row);
                row += 1;
            }
        }
        for row in row..rows.len() {
            let key = self.view.options.key(self.vector, rows.padded(row));
            self.offer(best, key, row);
        }
    }

    fn offer(&self, best: &mut Best<'s, T>, key: f32, row: usize) {
        let distance = self.view.options.distance(key);
        let seq = self.part.seqs[row];
        if best.wants(distance, seq)
            && let Some(tag) = self.counts(row)
        {
            best.offer((distance, seq, tag));
        }
    }
}
