//! The search of one part: the way that was learnt, more thoroughly where that found too little,
//! and at last a comparison of every row.

use super::Options;
use super::codes::Coded;
use super::inverted::Inverted;
use super::part::Part;
use super::plan::Way;
use super::snapshot::{Keep, Query, View};
use super::walk::{self, Exact, Keys};

/// A filtered walk keeps so many times more.
const FILTER_FACTOR: usize = 4;
/// A search that found too little, or ended among equals, looks at so many times more.
const MORE: usize = 8;
/// Of what a walk by codes found, so many are compared again, exactly, where that may matter.
pub(super) const COMPARED_AGAIN: usize = 40;
/// Of what lists hold with a filter, so many times `k` are compared by codes, and then exactly.
const FILTERED: (usize, usize) = (16, 4);
/// The same where a walk found too little: what is near is dead, and the rest about as far.
const BURIED: (usize, usize) = (64, 24);
/// So many more are compared exactly at a time, as long as that may change what is nearest.
const SOME: usize = 6;
/// An error of codes is hardly so many standard deviations below their mean.
const DEVIATIONS: f32 = 4.0;
/// Lists are searched for at least so many.
const LEAST_K: usize = 10;

/// What a search of a part found: exact keys and rows, nearest first.
pub(super) struct Near {
    pub(super) rows: Vec<(f32, u32)>,
    /// Whether that is all there is.
    all: bool,
}

/// The rows to look for in a part.
pub(super) struct Wanted<'a> {
    pub(super) options: &'a Options,
    /// Padded.
    pub(super) query: &'a [f32],
    pub(super) k: usize,
    /// Of what a walk by codes found, so many are compared again, exactly.
    pub(super) again: usize,
    /// The rows that count. A walk finds others too.
    pub(super) counts: &'a dyn Fn(u32) -> bool,
    /// Whether all do.
    pub(super) all_count: bool,
}

impl Wanted<'_> {
    /// The rows that a way finds; `None` if the part has no such way.
    pub(super) fn nearest<T>(&self, part: &Part<T>, way: Way) -> Option<Near> {
        let exact = Exact {
            options: self.options,
            rows: &part.rows,
            query: self.query,
        };
        let coded = || part.codes()?.query(&self.query[..part.rows.dim()]);
        match way {
            Way::Scan => None,
            Way::Walk { ef } => {
                let graph = part.graph()?;
                let (mut found, by_code) = match coded() {
                    Some(coded) => (walk::nearest(graph, &coded, ef), true),
                    None => (walk::nearest(graph, &exact, ef), false),
                };
                let all = found.len() < ef && (!by_code || found.len() <= self.again);
                if by_code {
                    found.truncate(self.again);
                    found = if self.all_count {
                        compared_first(&exact, self.k, found)
                    } else {
                        compared(&exact, found)
                    };
                }
                Some(Near { rows: found, all })
            }
            Way::Lists {
                probes,
                rough,
                again,
            } => {
                let times = |n: usize| n.saturating_mul(self.k.max(LEAST_K));
                let depth = (times(rough), times(again));
                let lists = part.inverted()?;
                Some(self.listed(&exact, lists, coded(), probes, depth))
            }
        }
    }

    /// Rough keys of rows in lists, then those by codes of the nearest, then exact ones.
    fn listed(
        &self,
        exact: &Exact<'_>,
        lists: &Inverted,
        coded: Option<Coded<'_>>,
        probes: usize,
        (most, again): (usize, usize),
    ) -> Near {
        let mut rough = lists.nearest(self.query, probes, most, self.counts);
        let mut all = probes >= lists.lists() && rough.len() < most;
        if let Some(coded) = coded {
            for (_, row) in &rough {
                coded.prefetch(*row);
            }
            rekey(&coded, &mut rough);
        }
        if rough.len() > again {
            all = false;
            rough.select_nth_unstable_by(again, |a, b| a.0.total_cmp(&b.0));
            rough.truncate(again);
        }
        let rows = compared(exact, rough);
        Near { rows, all }
    }
}

/// Gives rows other keys.
pub(super) fn rekey(by: &impl Keys, rows: &mut [(f32, u32)]) {
    let nodes: Vec<u32> = rows.iter().map(|(_, row)| *row).collect();
    let mut keys = Vec::with_capacity(nodes.len());
    by.keys(&nodes, &mut keys);
    rows.iter_mut()
        .zip(keys)
        .for_each(|((key, _), new)| *key = new);
}

/// With exact keys, nearest first.
fn compared(exact: &Exact<'_>, mut rows: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
    for (_, row) in &rows {
        exact.prefetch(*row);
    }
    rekey(exact, &mut rows);
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

/// Of rows by keys of codes, nearest first, those that may be among the `k` nearest if codes err
/// on the others as on the first: with exact keys, nearest first.
fn compared_first(exact: &Exact<'_>, k: usize, mut rows: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
    let prefetch = |rows: &[(f32, u32)]| rows.iter().for_each(|(_, row)| exact.prefetch(*row));
    let (mut near, mut errors) = (Vec::with_capacity(rows.len()), Vec::new());
    let (mut done, mut next) = (0, (k + k / 2 + 1).min(rows.len()));
    prefetch(&rows[..next]);
    while done < next {
        let after = (next + SOME.max(k / 2)).min(rows.len());
        prefetch(&rows[next..after]);
        let some = &mut rows[done..next];
        errors.extend(some.iter().map(|(by_code, _)| -by_code));
        rekey(exact, some);
        let both = errors[done..].iter_mut().zip(some.iter());
        both.for_each(|(error, (key, _))| *error += key);
        near.extend_from_slice(some);
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let last = near.get(k.saturating_sub(1)).map_or(f32::INFINITY, |n| n.0);
        let least = least(&errors);
        if rows
            .get(next)
            .is_some_and(|(by_code, _)| by_code + least > last)
        {
            break;
        }
        (done, next) = (next, after);
    }
    near
}

/// About the least that such errors are.
#[expect(clippy::cast_precision_loss, reason = "few")]
fn least(errors: &[f32]) -> f32 {
    let n = errors.len().max(1) as f32;
    let mean = errors.iter().sum::<f32>() / n;
    let squares = errors.iter().map(|e| (e - mean) * (e - mean));
    mean - DEVIATIONS * (squares.sum::<f32>() / n).sqrt()
}

/// A search of one part.
pub(super) struct Search<'s, 'q, T> {
    pub(super) view: &'s View<T>,
    pub(super) part: &'s Part<T>,
    pub(super) query: &'q Query<'q>,
    /// Padded.
    pub(super) vector: &'q [f32],
    pub(super) keep: Keep<'q, T>,
}

/// How a part is searched for a query: a filter is best asked of rows as lists show them.
fn way<T>(options: &Options, part: &Part<T>, query: &Query<'_>, filtered: bool) -> Way {
    let k = query.k;
    let way = match (query.exact, query.ef) {
        (true, _) => Way::Scan,
        (false, Some(ef)) => Way::Walk { ef: ef.max(k) },
        (false, None) => part.way(query.recall).thorough(k),
    };
    let way = match (way, part.inverted()) {
        (Way::Walk { .. } | Way::Lists { .. }, Some(lists)) if filtered => {
            every_list(lists, FILTERED)
        }
        (Way::Walk { ef }, _) => {
            // How many live now says nothing of the moment that a snapshot shows: it only
            // guides. Dead rows are walked through: the more, the more candidates it takes.
            let times = if filtered { FILTER_FACTOR } else { 1 };
            let ef = ef.saturating_mul(times * part.len());
            Way::Walk {
                ef: ef.div_ceil(part.live().max(1)),
            }
        }
        (way, _) => way,
    };
    affordable(options, part, query, way)
}

/// A look at all lists: rows that do not count take no other's place.
fn every_list(lists: &Inverted, (rough, again): (usize, usize)) -> Way {
    Way::Lists {
        probes: lists.lists(),
        rough,
        again,
    }
}

/// A scan instead of what looks at more rows, or is not there.
fn affordable<T>(options: &Options, part: &Part<T>, query: &Query<'_>, way: Way) -> Way {
    let there = match way {
        Way::Scan => true,
        Way::Walk { .. } => part.graph().is_some(),
        Way::Lists { .. } => part.inverted().is_some(),
    };
    if there && looked_at(options, part, query, way) <= part.len() {
        way
    } else {
        Way::Scan
    }
}

/// About how many rows a way compares, by codes or exactly.
fn looked_at<T>(options: &Options, part: &Part<T>, query: &Query<'_>, way: Way) -> usize {
    match way {
        Way::Scan => part.len(),
        Way::Walk { ef } => ef.saturating_mul(options.m),
        Way::Lists { rough, .. } => rough.saturating_mul(query.k.max(LEAST_K)),
    }
}

/// About how many distances a search of a part computes. A selective filter ends in a scan.
pub(super) fn cost<T>(
    options: &Options,
    part: &Part<T>,
    query: &Query<'_>,
    filtered: bool,
) -> usize {
    if filtered {
        return part.len();
    }
    looked_at(options, part, query, way(options, part, query, filtered))
}

impl<'s, T> Search<'s, '_, T> {
    /// Offers what it finds.
    pub(super) fn run(&self, best: &mut Best<'s, T>) {
        if self.query.k == 0 {
            return;
        }
        let View { options, .. } = self.view;
        let (rows, live) = (self.part.len(), self.part.live().max(1));
        let least = COMPARED_AGAIN.max(2 * self.query.k);
        let all_count = self.keep.is_none() && self.part.all_visible(self.view.at);
        let counts = |row: u32| self.counts(row as usize).is_some();
        let wanted = Wanted {
            options,
            query: self.vector,
            k: self.query.k,
            again: if self.keep.is_some() {
                usize::MAX
            } else {
                least.saturating_mul(rows).div_ceil(live)
            },
            counts: if all_count { &|_| true } else { &counts },
            all_count,
        };
        let mut way = way(options, self.part, self.query, self.keep.is_some());
        while let Some(near) = wanted.nearest(self.part, way) {
            if let Some(counted) = self.enough(&near, way, best.bound) {
                for hit in counted {
                    best.offer(hit);
                }
                return;
            }
            way = affordable(options, self.part, self.query, self.more(way));
        }
        self.scan(best);
    }

    fn more(&self, way: Way) -> Way {
        match way {
            // Few rows that count need not be linked to one another.
            Way::Walk { .. } if let Some(lists) = self.part.inverted() => every_list(lists, BURIED),
            Way::Walk { .. } if self.keep.is_some() => Way::Scan,
            Way::Walk { ef } => Way::Walk {
                ef: ef.saturating_mul(MORE),
            },
            Way::Lists {
                probes,
                rough,
                again,
            } => Way::Lists {
                probes: probes.saturating_mul(MORE),
                rough: rough.saturating_mul(MORE),
                again: again.saturating_mul(MORE),
            },
            Way::Scan => Way::Scan,
        }
    }

    /// The rows found that count, if they are as many as wanted, and the search cannot have missed
    /// one just as far as the last.
    fn enough(&self, near: &Near, way: Way, bound: f32) -> Option<Vec<(f32, u64, &'s T)>> {
        let wanted = self.query.k;
        let distance = |key| self.view.options.distance(key);
        let edge = near.rows.last().filter(|_| !near.all);
        let edge = edge.map_or(f32::INFINITY, |(key, _)| distance(*key));
        // Among so many dead the walk has seen too little of those that live.
        let buried = self.keep.is_none() && !near.all && self.part.dead() > 0 && {
            let rows = near.rows.iter();
            let live = rows.filter(|(_, row)| self.counts(*row as usize).is_some());
            2 * live.count() < near.rows.len()
        };
        if buried {
            return None;
        }
        let counted = self.counted(&near.rows, wanted, bound);
        let enough = match counted.get(wanted.saturating_sub(1)) {
            Some(_) => counted.last().is_some_and(|last| last.0 < edge),
            None if near.all && matches!(way, Way::Lists { .. }) => true,
            // By inner product even what lies beyond the bound may lead to what does not.
            None => edge > bound && !(self.keep.is_some() && matches!(way, Way::Walk { .. })),
        };
        enough.then_some(counted)
    }

    /// The tag of a row that counts.
    fn counts(&self, row: usize) -> Option<&'s T> {
        let tag = self.part.visible(row, self.view.at)?;
        let kept = self.keep.is_none_or(|keep| keep(self.part.seqs[row], tag));
        kept.then_some(tag)
    }

    /// Of the nodes found, the first that count, and those just as far as the last of them.
    fn counted(&self, found: &[(f32, u32)], wanted: usize, bound: f32) -> Vec<(f32, u64, &'s T)> {
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

/// The best rows so far, sorted by distance and sequence number.
pub(super) struct Best<'a, T> {
    k: usize,
    bound: f32,
    pub(super) hits: Vec<(f32, u64, &'a T)>,
}

impl<'a, T> Best<'a, T> {
    pub(super) fn new(query: &Query<'_>) -> Self {
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
