//! The search of one part: the way that was learnt, more thoroughly where that found too little,
//! and at last a comparison of every row.

use super::Options;
use super::behind;
use super::best::Best;
use super::columns::Asked;
use super::filtered::{self, Course, Own, course};
use super::found::{COMPARED_AGAIN, LEAST_K, Near, Others, Wanted};
use super::inverted::Inverted;
use super::part::Part;
use super::plan::Way;
use super::snapshot::{Keep, Query, View};
use crate::domain::Recall;

/// A search that found too little, or ended among equals, looks at so many times more.
const MORE: usize = 8;
/// Where a walk found too little (what is near is dead, and the rest about as far), of what lists
/// hold so many times `k` are compared by codes, and then exactly.
const BURIED: (usize, usize) = (64, 24);
/// Without a graph, of the candidates that lists hold so many times `k` are compared exactly.
const AGAIN: usize = 6;
/// Where a walk did not find what a filter lets through, that is compared if it is at most one row in
/// so many.
const FEW_OF: usize = 4;

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
    match (query.exact, query.ef) {
        (true, _) => Way::Scan,
        (false, Some(ef)) => by_candidates(part, ef.max(k), k),
        (false, None) => part.way(query.recall).thorough(k),
    }
    .past_the_dead(part)
}

/// A walk that keeps so many candidates; without a graph, as many of what all lists hold.
pub(super) fn by_candidates<T>(part: &Part<T>, ef: usize, k: usize) -> Way {
    match (part.graph(), part.inverted()) {
        (None, Some(lists)) => {
            // Of no more than wanted it would not be known whether others are as near.
            let times = ef.div_ceil(k.max(LEAST_K)).max(2);
            every_list(lists, (times, times.min(AGAIN)))
        }
        _ => Way::Walk { ef },
    }
}

/// A look at all lists: rows that do not count take no other's place.
pub(super) fn every_list(lists: &Inverted, (rough, again): (usize, usize)) -> Way {
    Way::Lists {
        probes: lists.lists(),
        rough,
        again,
        own: false,
    }
}

/// A scan instead of what looks at more rows, or is not there.
fn affordable<T>(options: &Options, part: &Part<T>, query: &Query<'_>, way: Way) -> Way {
    let there = match way {
        Way::Scan => true,
        Way::Walk { .. } => part.graph().is_some(),
        // Of its own, as few as there are.
        Way::Lists { own, .. } if own => return way,
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
        let own = self.own();
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
            own: own.as_ref().map(|own| &*own.lists),
            counts: if all_count { &|_| true } else { &counts },
            filtered: self.filtered(),
            share: self.asked.share(),
            all_count,
            others: self.others(),
            beyond: f32::INFINITY,
            // Where a filter lets few through, how many are found tells whether enough was seen.
            limit: if self.filtered() {
                f32::INFINITY
            } else {
                options.key_of(best.limit())
            },
        };
        let mut way = match self.course(own.as_ref()) {
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
            let all_count = all_count || all_visible && way.is_own();
            let wanted = Wanted {
                all_count,
                beyond,
                ..wanted
            };
            let Some(near) = wanted.nearest(self.part, way) else {
                break;
            };
            if self.offer_if_enough(&near, way, best) {
                best.meet(&near.met);
                if near.walked.is_some() {
                    best.walked = near.walked;
                }
                return;
            }
            if let (Way::Walk { .. }, Some(rows)) = (way, self.listed()) {
                let near = wanted.compared(self.part, &rows);
                if self.offer_if_enough(&near, Way::Scan, best) {
                    return;
                }
            }
            way = match &own {
                Some(own) if !way.is_own() => own.way,
                _ => affordable(options, self.part, self.query, self.more(way)),
            };
        }
        if let Some(own) = &own {
            let all = self.counting(own.lists.order().to_vec());
            let again = usize::MAX;
            let near = Wanted { again, ..wanted }.compared(self.part, &all);
            if self.offer_if_enough(&near, Way::Scan, best) {
                return;
            }
        }
        self.scan(best);
    }

    /// What the search of other parts needs of this one's.
    fn others(&self) -> Others {
        let annex = self.view.annex.as_ref();
        let annex = annex.filter(|annex| Some(annex.segment()) == self.part.number());
        match self.view.parts.len() {
            1 => Others::None,
            _ if annex.is_some() && self.keep.is_none() && behind::is_for(self.query) => {
                Others::Rows
            }
            _ => Others::Keys,
        }
    }

    /// Whether its rows are found by way of those of another part.
    pub(super) fn is_behind(&self) -> bool {
        let annex = self.view.annex.as_ref();
        annex.is_some_and(|annex| self.part.is_kept_in(annex))
    }

    /// What a filter that is asked often has of its own.
    fn own(&self) -> Option<Own> {
        let whole = self.keep.is_none() && self.asked.complete;
        let filter = self.query.filter.filter(|_| whole)?;
        filtered::own(self.part, self.query, self.asked, filter)
    }

    /// Whether all rows are to be compared by codes that they have in a space of others.
    pub(super) fn is_fresh(&self) -> bool {
        let by_code = self.part.fresh().is_some() && !self.is_exact() && self.query.k > 0;
        by_code && matches!(self.course(None), Course::Way(Way::Scan))
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

    fn course(&self, own: Option<&Own>) -> Course {
        if let Some(own) = own.filter(|own| own.is_first) {
            Course::Way(own.way)
        } else if self.filtered() {
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
                own,
            } => Way::Lists {
                probes: probes.saturating_mul(MORE),
                rough: rough.saturating_mul(MORE),
                again: again.saturating_mul(MORE),
                own,
            },
            Way::Scan => Way::Scan,
        }
    }

    /// The rows found that count, if they are as many as wanted, and the search cannot have missed
    /// one just as far as the last.
    fn enough(&self, near: &Near, way: Way, limit: f32) -> Option<Vec<(f32, u64, &'s T)>> {
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
            limit
        };
        if near.short && !near.all {
            return None;
        }
        let counted = self.counted(&near.rows, wanted, bound);
        let enough = match counted.get(wanted.saturating_sub(1)) {
            // Equals that nobody wants are not looked for.
            Some(_) => {
                let last = counted.last();
                last.is_some_and(|last| last.0 < edge || last.0 > limit)
            }
            None if near.all && !matches!(way, Way::Walk { .. }) => true,
            // By inner product even what lies beyond the bound may lead to what does not.
            None => edge > bound && !partial,
        };
        enough.then_some(counted)
    }

    /// The tag of a row that counts.
    pub(super) fn counts(&self, row: usize) -> Option<&'s T> {
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

    pub(super) fn offer(&self, best: &mut Best<'s, T>, key: f32, row: usize) {
        let distance = self.view.options.distance(key);
        let seq = self.part.seqs[row];
        if best.wants(distance, seq)
            && let Some(tag) = self.counts(row)
        {
            best.offer((distance, seq, tag));
        }
    }
}
