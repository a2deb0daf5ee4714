//! What a way finds in a part.

use super::Options;
use super::codes::Coded;
use super::compared::{compared, compared_first, nearest_by, nearest_of_all, rekey};
use super::graph::Graph;
use super::inverted::Inverted;
use super::part::Part;
use super::plan::Way;
use super::walk::{self, Among, Exact, Keys};

/// Of what a walk by codes found, so many are compared again, exactly, where that may matter.
pub(super) const COMPARED_AGAIN: usize = 40;
/// Fewer rows are compared exactly at once.
const MANY: usize = 64;
/// Lists are searched for at least so many.
pub(super) const LEAST_K: usize = 10;

/// What a search of a part found: exact keys and rows, nearest first.
pub(super) struct Near {
    pub(super) rows: Vec<(f32, u32)>,
    /// Whether that is all there is.
    pub(super) all: bool,
    /// Whether too little was seen: most of what is near is dead, or as far by codes as what was not
    /// looked at.
    pub(super) short: bool,
    /// Keys of rows that a walk met, for those of other parts.
    pub(super) met: Vec<f32>,
    /// The rows that it found, if others are to be found by them.
    pub(super) walked: Option<Vec<u32>>,
}

impl Near {
    fn of(rows: Vec<(f32, u32)>, all: bool) -> Self {
        Self {
            rows,
            all,
            short: false,
            met: Vec::new(),
            walked: None,
        }
    }
}

/// What the search of other parts needs of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// There are none.
    None,
    /// How near the rows are that it met.
    Keys,
    /// And which they are.
    Rows,
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
    /// Those that a filter lets through, in lists of their own.
    pub(super) own: Option<&'a Inverted>,
    /// The rows that count.
    pub(super) counts: &'a dyn Fn(u32) -> bool,
    /// Whether a filter lets only some through, and about which share of all.
    pub(super) filtered: bool,
    pub(super) share: f64,
    /// Whether all do.
    pub(super) all_count: bool,
    pub(super) others: Others,
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
                let walked = found.iter().map(|(_, row)| *row);
                let walked = (self.others == Others::Rows).then(|| walked.collect());
                let mut all = found.len() < ef && self.beyond == f32::INFINITY && !self.filtered;
                let mut short = false;
                if !self.all_count {
                    let seen = found.len();
                    found.retain(|(_, row)| (self.counts)(*row));
                    // Half as many as there should be.
                    short = 2 * found.len() * part.len() < seen * part.live();
                }
                let met = if self.others == Others::None {
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
                    walked,
                })
            }
            Way::Lists {
                probes,
                rough,
                again,
                own,
            } => {
                let times = |n: usize| n.saturating_mul(self.k.max(LEAST_K));
                let depth = (times(rough), times(again));
                let (lists, share) = if own {
                    (self.own?, 1.0)
                } else {
                    (part.inverted()?, self.share)
                };
                let rows = lists.order().len();
                #[expect(clippy::cast_precision_loss, reason = "an estimate")]
                let expected = self.filtered.then_some(share * rows as f64);
                Some(self.listed(&exact, (lists, expected), coded(), probes, depth))
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
        (lists, expected): (&Inverted, Option<f64>),
        coded: Option<Coded<'_>>,
        probes: usize,
        (most, again): (usize, usize),
    ) -> Near {
        let counts = (!self.all_count).then_some(self.counts);
        let mut rough = lists.nearest(self.query, probes, most, counts, expected);
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
    pub(super) fn compared_all<T>(&self, part: &Part<T>) -> Option<Near> {
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
