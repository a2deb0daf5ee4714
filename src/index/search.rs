//! The search of one part: the way that was learnt, more thoroughly where that found too little,
//! and at last a comparison of every row.

use super::Options;
use super::best::Best;
use super::codes::Coded;
use super::columns::Asked;
use super::filtered::{Course, course};
use super::graph::Graph;
use super::inverted::Inverted;
use super::nearest::Nearest;
use super::part::Part;
use super::plan::Way;
use super::snapshot::{Keep, Query, View};
use super::walk::{self, Among, Exact, Keys};
use crate::domain::Recall;

/// A search that found too little, or ended among equals, looks at so many times more.
const MORE: usize = 8;
/// Of what a walk by codes found, so many are compared again, exactly, where that may matter.
pub(super) const COMPARED_AGAIN: usize = 40;
/// Where a walk found too little (what is near is dead, and the rest about as far), of what lists
/// hold so many times `k` are compared by codes, and then exactly.
const BURIED: (usize, usize) = (64, 24);
/// Where a walk did not find what a filter lets through, that is compared if it is at most one row in
/// so many.
const FEW_OF: usize = 4;
/// Fewer rows are compared exactly at once.
const MANY: usize = 64;
/// So many rows are fetched while as many are compared.
const AHEAD: usize = 32;
/// All rows of a part are compared by their codes, so many together.
const TOGETHER: usize = 256;
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
    /// Whether too little was seen: most of what is near is dead, or as far by codes as what was not
    /// looked at.
    short: bool,
    /// Keys of rows that a walk met, for those of other parts.
    met: Vec<f32>,
}

impl Near {
    fn of(rows: Vec<(f32, u32)>, all: bool) -> Self {
        Self {
            rows,
            all,
            short: false,
            met: Vec::new(),
        }
    }
}

/// The rows to look for in a part.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) options: &'a Options,
    /// Padded.
    pub(super) query: &'a [f32],
    pub(super) k: usize,
    /// Of what a walk by codes found, so many are compared again, exactly.
    pub(super) again: usize,
    /// The rows that count.
    pub(super) counts: &'a dyn Fn(u32) -> bool,
    /// Whether a filter lets only some through, and about which share of all.
    pub(super) filtered: bool,
    pub(super) share: f64,
    /// Whether all do.
    pub(super) all_count: bool,
    /// Whether there are no other parts.
    pub(super) alone: bool,
    /// A walk by so many candidates need not go on beyond this key: other parts have as many within.
    pub(super) beyond: f32,
    /// No row beyond this key is wanted.
    pub(super) limit: f32,
}

impl Wanted<'_> {
    fn exact<'p, T>(&'p self, part: &'p Part<T>) -> Exact<'p> {
        Exact {
            options: self.options,
            rows: &part.rows,
            query: self.query,
        }
    }

    fn coded<'p, T>(&self, part: &'p Part<T>) -> Option<Coded<'p>> {
        part.codes()?.query(&self.query[..part.rows.dim()])
    }

    /// The rows that a way finds; `None` if the part has no such way.
    pub(super) fn nearest<T>(&self, part: &Part<T>, way: Way) -> Option<Near> {
        let exact = self.exact(part);
        let coded = || self.coded(part);
        match way {
            Way::Scan => None,
            Way::Walk { ef } => {
                let graph = part.graph()?;
                let (mut found, by_code) = match coded() {
                    Some(coded) => (self.walked(graph, &coded, ef), true),
                    None => (self.walked(graph, &exact, ef), false),
                };
                let mut all = found.len() < ef && self.beyond == f32::INFINITY && !self.filtered;
                let mut short = false;
                if !self.all_count {
                    let seen = found.len();
                    found.retain(|(_, row)| (self.counts)(*row));
                    // Half as many as there should be.
                    short = 2 * found.len() * part.len() < seen * part.live();
                }
                let met = if self.alone {
                    Vec::new()
                } else {
                    found.iter().map(|(key, _)| *key).collect()
                };
                if by_code {
                    all &= found.len() <= self.again;
                    found.truncate(self.again);
                    found = compared_first(&exact, self.k, self.limit, found).0;
                }
                Some(Near {
                    rows: found,
                    all,
                    short: short && !self.filtered,
                    met,
                })
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

    fn walked(&self, graph: &Graph, keys: &impl Keys, ef: usize) -> Vec<(f32, u32)> {
        if !self.filtered {
            return walk::nearest(graph, keys, ef, self.beyond);
        }
        let among = Among {
            counts: self.counts,
            share: self.share,
        };
        walk::among(graph, keys, ef, &among)
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
        let mut rough = lists.nearest(self.query, probes, most, self.counts, self.share);
        let mut all = probes >= lists.lists() && rough.len() < most;
        if let Some(coded) = coded {
            rekey(&coded, &mut rough);
        }
        if rough.len() > again {
            all = false;
            rough.select_nth_unstable_by(again, |a, b| a.0.total_cmp(&b.0));
            rough.truncate(again);
        }
        Near::of(compared(exact, rough), all)
    }

    /// The nearest of these rows, by codes first where they are many.
    pub(super) fn compared<T>(&self, part: &Part<T>, rows: &[u32]) -> Near {
        let exact = self.exact(part);
        let again = self.again.max(MANY);
        if let Some(coded) = self.coded(part).filter(|_| rows.len() > again) {
            let near = self.again(&exact, nearest_by(&coded, rows, again));
            // Of sealed rows it is known that codes are good enough.
            let short = near.short && part.sealed.is_none();
            return Near { short, ..near };
        }
        let rows = rows.iter().map(|row| (0.0, *row)).collect();
        Near::of(compared(&exact, rows), true)
    }

    /// The nearest of all rows, by codes first; `None` where there are none.
    fn compared_all<T>(&self, part: &Part<T>) -> Option<Near> {
        let coded = self.coded(part)?;
        let nearest = nearest_of_all(&coded, part.len(), self.again.max(MANY), self.counts);
        Some(self.again(&self.exact(part), nearest))
    }

    /// Nearest by codes, compared again as far as that may matter.
    fn again(&self, exact: &Exact<'_>, mut near: Vec<(f32, u32)>) -> Near {
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (found, most) = (near.len(), self.again.max(MANY));
        let (rows, settled) = compared_first(exact, self.k, self.limit, near);
        let all = rows.len() == found && found < most;
        Near {
            short: !settled && found >= most,
            ..Near::of(rows, all)
        }
    }
}

/// Of many rows, the nearest, in no order.
fn nearest_by(by: &impl Keys, rows: &[u32], most: usize) -> Vec<(f32, u32)> {
    let (mut nearest, mut keys) = (Nearest::new(most), Vec::with_capacity(AHEAD));
    let mut parts = rows.chunks(AHEAD).peekable();
    while let Some(part) = parts.next() {
        for row in parts.peek().into_iter().flat_map(|next| next.iter()) {
            by.prefetch(*row);
        }
        by.keys(part, &mut keys);
        for (key, row) in keys.iter().zip(part) {
            if *key <= nearest.limit() {
                nearest.offer(*key, *row);
            }
        }
    }
    nearest.found().collect()
}

/// Of all rows, the nearest that count, in no order.
fn nearest_of_all(
    coded: &Coded<'_>,
    rows: usize,
    most: usize,
    counts: &dyn Fn(u32) -> bool,
) -> Vec<(f32, u32)> {
    let (mut nearest, mut keys) = (Nearest::new(most), [0.0; TOGETHER]);
    for first in (0..rows).step_by(TOGETHER) {
        let keys = &mut keys[..TOGETHER.min(rows - first)];
        coded.keys_from(first, keys);
        // A row's number fits: a part has fewer than 2^31.
        for (key, row) in keys.iter().zip(u32::try_from(first).unwrap_or(u32::MAX)..) {
            if *key <= nearest.limit() && counts(row) {
                nearest.offer(*key, row);
            }
        }
    }
    nearest.found().collect()
}

/// Gives rows other keys.
pub(super) fn rekey(by: &impl Keys, rows: &mut [(f32, u32)]) {
    let (mut nodes, mut keys) = (Vec::with_capacity(AHEAD), Vec::with_capacity(AHEAD));
    for (_, row) in rows.iter().take(AHEAD) {
        by.prefetch(*row);
    }
    let mut parts = rows.chunks_mut(AHEAD).peekable();
    while let Some(part) = parts.next() {
        for (_, row) in parts.peek().into_iter().flat_map(|next| next.iter()) {
            by.prefetch(*row);
        }
        nodes.clear();
        nodes.extend(part.iter().map(|(_, row)| *row));
        by.keys(&nodes, &mut keys);
        for ((key, _), new) in part.iter_mut().zip(&keys) {
            *key = *new;
        }
    }
}

/// With exact keys, nearest first.
fn compared(exact: &Exact<'_>, mut rows: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
    rekey(exact, &mut rows);
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

/// Of rows by keys of codes, nearest first, those that may be among the `k` nearest, and within a
/// limit, if codes err on the others as on the first: with exact keys, nearest first. Also whether
/// none of the rows left can be.
fn compared_first(
    exact: &Exact<'_>,
    k: usize,
    limit: f32,
    mut rows: Vec<(f32, u32)>,
) -> (Vec<(f32, u32)>, bool) {
    let prefetch = |rows: &[(f32, u32)]| rows.iter().for_each(|(_, row)| exact.prefetch(*row));
    let farthest = rows.last().map_or(f32::INFINITY, |(by_code, _)| *by_code);
    let (mut near, mut errors) = (Vec::with_capacity(rows.len()), Vec::new());
    let some = if limit < f32::INFINITY {
        SOME
    } else {
        k + k / 2 + 1
    };
    let (mut done, mut next) = (0, some.min(rows.len()));
    let mut settled = true;
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
        let last = near
            .get(k.saturating_sub(1))
            .map_or(limit, |n| n.0.min(limit));
        let by_code = rows.get(next).map_or(farthest, |(by_code, _)| *by_code);
        settled = by_code + least(&errors) > last;
        // One that is beyond shows that there are no more as near.
        if settled && near.last().is_some_and(|(key, _)| *key > last) {
            break;
        }
        (done, next) = (next, after);
    }
    (near, settled)
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
    /// The query's filter.
    pub(super) asked: &'q Asked<'q>,
    /// What that does not say.
    pub(super) keep: Keep<'q, T>,
}

/// How a part is searched without a filter.
fn way<T>(part: &Part<T>, query: &Query<'_>) -> Way {
    let k = query.k;
    let way = match (query.exact, query.ef) {
        (true, _) => Way::Scan,
        (false, Some(ef)) => Way::Walk { ef: ef.max(k) },
        (false, None) => part.way(query.recall).thorough(k),
    };
    match way {
        // How many live now says nothing of the moment that a snapshot shows: it only guides. Dead
        // rows are walked through: the more, the more candidates it takes.
        Way::Walk { ef } => Way::Walk {
            ef: ef.saturating_mul(part.len()).div_ceil(part.live().max(1)),
        },
        way => way,
    }
}

/// A look at all lists: rows that do not count take no other's place.
pub(super) fn every_list(lists: &Inverted, (rough, again): (usize, usize)) -> Way {
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

/// About how many distances a search of a part computes. What a filter's columns do not say is
/// asked of records, each of which is worth `record` distances.
pub(super) fn cost<T>(
    options: &Options,
    part: &Part<T>,
    query: &Query<'_>,
    asked: Option<&Asked<'_>>,
    record: usize,
) -> usize {
    let (course, record) = match asked {
        None => (Course::Way(way(part, query)), 1),
        Some(asked) if asked.complete => (course(part, query, asked, true), 1),
        Some(asked) => (course(part, query, asked, false), record),
    };
    let rows = match course {
        Course::Rows { .. } => asked.and_then(Asked::most).unwrap_or(part.len()),
        // All rows may have to be asked.
        Course::Way(_) if record > 1 => part.len(),
        Course::Way(way) => {
            let looked_at = looked_at(options, part, query, affordable(options, part, query, way));
            // A walk goes on until it has met enough that match.
            let times = match (way, asked) {
                (Way::Walk { .. }, Some(asked)) => asked.one_in(),
                _ => 1,
            };
            looked_at.saturating_mul(times)
        }
    };
    rows.saturating_mul(record)
}

impl<'s, T> Search<'s, '_, T> {
    /// Offers what it finds.
    pub(super) fn run(&self, best: &mut Best<'s, T>) {
        if self.query.k == 0 {
            return;
        }
        let options = &self.view.options;
        let all_count = !self.filtered() && self.part.all_visible(self.view.at);
        let all_visible = self.part.all_visible(self.view.at) && self.keep.is_none();
        let counts = |row: u32| {
            if all_visible {
                self.asked.holds(row)
            } else {
                self.counts(row as usize).is_some()
            }
        };
        let wanted = Wanted {
            options,
            query: self.vector,
            k: self.query.k,
            again: if self.is_exact() {
                usize::MAX
            } else {
                COMPARED_AGAIN.max(2 * self.query.k)
            },
            counts: if all_count { &|_| true } else { &counts },
            filtered: self.filtered(),
            share: self.asked.share(),
            all_count,
            alone: self.view.parts.len() == 1,
            beyond: f32::INFINITY,
            // Where a filter lets few through, how many are found tells whether enough was seen.
            limit: if self.filtered() {
                f32::INFINITY
            } else {
                options.key_of(best.limit())
            },
        };
        let mut way = match self.course() {
            Course::Rows { exactly } => {
                let again = if exactly { usize::MAX } else { wanted.again };
                let rows = self.counting(self.asked.rows());
                let near = Wanted { again, ..wanted }.compared(self.part, &rows);
                if self.offer_if_enough(&near, Way::Scan, best) {
                    return;
                }
                Way::Scan
            }
            // Fresh rows, without a graph yet.
            Course::Way(Way::Scan) if self.part.sealed.is_none() && !self.is_exact() => {
                let near = wanted.compared_all(self.part);
                if near.is_some_and(|near| self.offer_if_enough(&near, Way::Scan, best)) {
                    return;
                }
                Way::Scan
            }
            Course::Way(way) => affordable(options, self.part, self.query, way),
        };
        loop {
            let beyond = match way {
                Way::Walk { ef } => best.beyond(ef),
                _ => f32::INFINITY,
            };
            let Some(near) = Wanted { beyond, ..wanted }.nearest(self.part, way) else {
                break;
            };
            if self.offer_if_enough(&near, way, best) {
                best.meet(&near.met);
                return;
            }
            if let (Way::Walk { .. }, Some(rows)) = (way, self.listed()) {
                let near = wanted.compared(self.part, &rows);
                if self.offer_if_enough(&near, Way::Scan, best) {
                    return;
                }
            }
            way = affordable(options, self.part, self.query, self.more(way));
        }
        self.scan(best);
    }

    /// Of rows that the filter's columns list, those that count.
    fn counting(&self, mut rows: Vec<u32>) -> Vec<u32> {
        if self.keep.is_some() || !self.part.all_visible(self.view.at) {
            rows.retain(|row| self.counts(*row as usize).is_some());
        }
        rows
    }

    /// The rows that a filter lets through, where the nearest of them are best found by comparing
    /// all, since they are elsewhere than what is near the query.
    fn listed(&self) -> Option<Vec<u32>> {
        if !self.filtered() || self.keep.is_some() {
            return None;
        }
        let few = self.asked.most()? <= self.part.len() / FEW_OF;
        few.then(|| self.counting(self.asked.rows()))
    }

    fn filtered(&self) -> bool {
        self.query.filter.is_some() || self.keep.is_some()
    }

    fn course(&self) -> Course {
        if self.filtered() {
            course(self.part, self.query, self.asked, self.keep.is_none())
        } else {
            Course::Way(way(self.part, self.query))
        }
    }

    /// Whether nothing may be missed.
    fn is_exact(&self) -> bool {
        self.query.exact || self.query.recall == Recall::ALL && self.query.ef.is_none()
    }

    fn offer_if_enough(&self, near: &Near, way: Way, best: &mut Best<'s, T>) -> bool {
        let Some(counted) = self.enough(near, way, best.limit()) else {
            return false;
        };
        for hit in counted {
            best.offer(hit);
        }
        true
    }

    fn more(&self, way: Way) -> Way {
        match way {
            // Few rows that count need not be linked to one another.
            Way::Walk { .. } if let Some(lists) = self.part.inverted() => every_list(lists, BURIED),
            Way::Walk { .. } if self.filtered() => Way::Scan,
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
        let edge = match near.rows.last() {
            _ if near.all => f32::INFINITY,
            Some((key, _)) => distance(*key),
            None => f32::NEG_INFINITY,
        };
        // What lists show, or a walk among few that match, is not all that is as near.
        let partial = self.filtered() && matches!(way, Way::Walk { .. });
        let bound = if partial || matches!(way, Way::Lists { .. }) {
            self.query.max_distance.unwrap_or(f32::INFINITY)
        } else {
            bound
        };
        if near.short && !near.all {
            return None;
        }
        let counted = self.counted(&near.rows, wanted, bound);
        let enough = match counted.get(wanted.saturating_sub(1)) {
            Some(_) => counted.last().is_some_and(|last| last.0 < edge),
            None if near.all && !matches!(way, Way::Walk { .. }) => true,
            // By inner product even what lies beyond the bound may lead to what does not.
            None => edge > bound && !partial,
        };
        enough.then_some(counted)
    }

    /// The tag of a row that counts.
    fn counts(&self, row: usize) -> Option<&'s T> {
        // A row's number fits: a part has fewer than 2^31.
        if !self.asked.holds(u32::try_from(row).unwrap_or(u32::MAX)) {
            return None;
        }
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
