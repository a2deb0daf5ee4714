//! A graph made better: every node looks around itself for nearer neighbours, keeps those that
//! lead different ways (the heuristic of Malkov and Yashunin 2016, algorithm 4, relaxed as in
//! Vamana: Jayaram Subramanya et al. 2019), and is led back to by those it keeps.
//!
//! Nodes look around on the graph as it was, all at once, and links back are chosen once all have
//! been: what comes out does not depend on the number of threads.

use super::Options;
use super::build::Apart;
use super::codes::Codes;
use super::compared::rekey;
use super::former::Left;
use super::graph::{Graph, NONE, unlinked};
use super::inverted::Inverted;
use super::walk::{self, Exact};
use crate::simd::{self, AlignedRows};
use hnsw_rs::prelude::Distance;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Neighbours are looked for in one of so many lists, the nearest.
const PART_OF_LISTS: usize = 20;
/// Candidates that a node looks at.
const LOOKED_AT: usize = 140;
/// Two neighbours lead the same way where one is nearer to the other, by this factor, than to
/// the node.
const RELAXED: f32 = 1.2;
/// Neighbours kept at least, whichever way they lead.
const KEPT: usize = 8;

/// A neighbour, by its distance.
pub(super) type Near = (f32, u32);

pub(super) struct Refine<'a> {
    pub(super) options: &'a Options,
    pub(super) rows: &'a AlignedRows,
    pub(super) codes: Option<&'a Codes>,
    /// Where rows are in lists, what is around a node is looked for there.
    pub(super) lists: Option<&'a Inverted>,
    pub(super) apart: &'a Apart,
}

impl Refine<'_> {
    /// The neighbours that each node keeps; `None` if cancelled.
    pub(super) fn kept(&self, graph: &Graph, cancel: &AtomicBool) -> Option<Vec<Vec<Near>>> {
        let nodes = u32::try_from(graph.len()).ok()?;
        let kept = (0..nodes).into_par_iter().map(|node| {
            let go_on = !cancel.load(Ordering::Relaxed);
            go_on.then(|| self.chosen(self.around(graph, node), graph.stride))
        });
        kept.collect()
    }

    /// The same where some were linked before, and enough is left of that.
    pub(super) fn kept_of(
        &self,
        left: Left<'_>,
        graph: &Graph,
        cancel: &AtomicBool,
    ) -> Option<Vec<Vec<Near>>> {
        let nodes = u32::try_from(graph.len()).ok()?;
        let kept = (0..nodes).into_par_iter().map(|node| {
            let go_on = !cancel.load(Ordering::Relaxed);
            go_on.then(|| {
                let links = left.links(node).map(|links| self.near(node, links));
                match links.filter(|links| links.len() >= KEPT) {
                    Some(links) => self.of_many(links, graph.stride),
                    None => self.chosen(self.around(graph, node), graph.stride),
                }
            })
        });
        kept.collect()
    }

    /// Nodes other than one, each once, nearest first.
    fn near(&self, node: u32, others: impl IntoIterator<Item = u32>) -> Vec<Near> {
        let others = others.into_iter().filter(|other| *other != node);
        let mut near: Vec<Near> = others.map(|other| (0.0, other)).collect();
        near.sort_unstable_by_key(|(_, other)| *other);
        near.dedup();
        self.measured(node, &mut near);
        sort(&mut near);
        near
    }

    /// The links at the bottom, from what [`both_ways`] found.
    pub(super) fn linked(&self, stride: usize, all: &[Vec<Near>]) -> Vec<u32> {
        let mut bottom = unlinked(all.len() * stride);
        let slots = bottom.par_chunks_exact_mut(stride);
        slots.zip(all).for_each(|(slots, all)| {
            fill(slots, self.of_many(all.clone(), stride));
        });
        bottom
    }

    /// The same without some nodes, from the links of all.
    pub(super) fn without(
        &self,
        left_out: impl Fn(u32) -> bool + Sync,
        bottom: &[u32],
        all: &[Vec<Near>],
    ) -> Vec<u32> {
        let stride = bottom.len() / all.len().max(1);
        let mut bottom = bottom.to_vec();
        let slots = bottom.par_chunks_exact_mut(stride.max(1)).enumerate();
        slots.zip(all).for_each(|((node, slots), all)| {
            // A node's number fits: a part has fewer than 2^31.
            if left_out(u32::try_from(node).unwrap_or(NONE)) {
                slots.fill(NONE);
            } else if all.iter().any(|(_, to)| left_out(*to)) {
                let others = all.iter().copied().filter(|(_, to)| !left_out(*to));
                fill(slots, self.of_many(others.collect(), stride));
            }
        });
        bottom
    }

    /// Of candidates, nearest first, all that there is room for.
    fn of_many(&self, all: Vec<Near>, most: usize) -> Vec<Near> {
        if all.len() > most {
            self.chosen(all, most)
        } else {
            all
        }
    }

    fn row(&self, node: u32) -> &[f32] {
        self.rows.padded(node as usize)
    }

    /// How far some nodes are from one.
    fn measured(&self, node: u32, others: &mut [Near]) {
        let row = self.row(node);
        let mut fours = others.chunks_mut(4).peekable();
        while let Some(four) = fours.next() {
            for (_, next) in fours.peek().into_iter().flat_map(|next| next.iter()) {
                simd::prefetch(self.row(*next));
            }
            if let [a, b, c, d] = four {
                let rows = [&*a, &*b, &*c, &*d].map(|(_, other)| self.row(*other));
                [a.0, b.0, c.0, d.0] = self.apart.eval4(row, rows);
            } else {
                let each = four.iter_mut();
                each.for_each(|(key, other)| *key = self.apart.eval(row, self.row(*other)));
            }
        }
    }

    /// Whether a node is nearer to one of some others than so.
    fn is_within(&self, distance: f32, node: u32, others: &[Near]) -> bool {
        let row = self.row(node);
        let (fours, rest) = others.as_chunks::<4>();
        let near = |apart: f32| apart < distance;
        let of_four = |four: &[Near; 4]| {
            let rows = four.map(|(_, other)| self.row(other));
            self.apart.eval4(row, rows).into_iter().any(near)
        };
        let of_one = |(_, other): &Near| near(self.apart.eval(row, self.row(*other)));
        fours.iter().any(of_four) || rest.iter().any(of_one)
    }

    /// What is around a node, without itself, nearest first.
    fn around(&self, graph: &Graph, node: u32) -> Vec<Near> {
        let at = node as usize;
        if let Some(lists) = self.lists {
            return self.listed(lists, node);
        }
        let coded = self.codes.and_then(|codes| codes.query(self.rows.row(at)));
        let found = if let Some(coded) = coded {
            walk::around(graph, &coded, node, LOOKED_AT)
        } else {
            let exact = Exact {
                options: self.options,
                rows: self.rows,
                query: self.rows.padded(at),
            };
            walk::around(graph, &exact, node, LOOKED_AT)
        };
        let nodes = found.into_iter().map(|(_, other)| other);
        self.near(node, nodes.chain(graph.links(node)))
    }

    /// What lists hold around a node, without itself, nearest first.
    fn listed(&self, lists: &Inverted, node: u32) -> Vec<Near> {
        let row = self.rows.padded(node as usize);
        let probes = lists.lists().div_ceil(PART_OF_LISTS);
        let mut rough = lists.nearest(row, probes, 2 * LOOKED_AT, None, None);
        rough.retain(|(_, other)| *other != node);
        let codes = self
            .codes
            .and_then(|codes| codes.query(&row[..self.rows.dim()]));
        if let Some(coded) = codes {
            rekey(&coded, &mut rough);
        }
        if rough.len() > LOOKED_AT {
            rough.select_nth_unstable_by(LOOKED_AT, |a, b| a.0.total_cmp(&b.0));
            rough.truncate(LOOKED_AT);
        }
        self.measured(node, &mut rough);
        sort(&mut rough);
        rough
    }

    /// Of candidates, nearest first, at most `most` that lead different ways.
    fn chosen(&self, candidates: Vec<Near>, most: usize) -> Vec<Near> {
        let (mut chosen, mut left): (Vec<Near>, Vec<Near>) = (Vec::with_capacity(most), Vec::new());
        for (distance, node) in candidates {
            if chosen.len() == most {
                break;
            }
            if self.is_within(distance / RELAXED, node, &chosen) {
                left.push((distance, node));
            } else {
                chosen.push((distance, node));
            }
        }
        let missing = KEPT.min(most).saturating_sub(chosen.len());
        chosen.extend(left.into_iter().take(missing));
        chosen
    }
}

/// The neighbours that nodes keep, and the way back from them, nearest first.
pub(super) fn both_ways(kept: Vec<Vec<Near>>) -> Vec<Vec<Near>> {
    let mut all = kept;
    let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
    for (node, length) in (0..).zip(lengths) {
        for nth in 0..length {
            let (distance, to) = all[node as usize][nth];
            all[to as usize].push((distance, node));
        }
    }
    all.par_iter_mut().for_each(sort);
    all
}

fn fill(slots: &mut [u32], links: Vec<Near>) {
    slots.fill(NONE);
    slots
        .iter_mut()
        .zip(links)
        .for_each(|(slot, (_, link))| *slot = link);
}

/// Nearest first, each node once.
fn sort(near: &mut Vec<Near>) {
    near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    near.dedup_by_key(|(_, node)| *node);
}
