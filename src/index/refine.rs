//! A graph made better: every node looks around itself for nearer neighbours, keeps those that
//! lead different ways (the heuristic of Malkov and Yashunin 2016, algorithm 4, relaxed as in
//! Vamana: Jayaram Subramanya et al. 2019), and is led back to by those it keeps.
//!
//! Nodes look around on the graph as it was, all at once, and links back are chosen once all have
//! been: what comes out does not depend on the number of threads.

use super::Options;
use super::build::Apart;
use super::codes::Codes;
use super::graph::{Graph, unlinked};
use super::inverted::Inverted;
use super::search::rekey;
use super::walk::{self, Exact};
use crate::simd::AlignedRows;
use hnsw_rs::prelude::Distance;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Neighbours are looked for in one of so many lists, the nearest.
const PART_OF_LISTS: usize = 20;
/// Candidates that a node looks at.
const LOOKED_AT: usize = 150;
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

    /// The links at the bottom: the neighbours that nodes keep, and the way back from them; none
    /// from or to a node left out.
    pub(super) fn joined(
        &self,
        stride: usize,
        kept: &[Vec<Near>],
        left_out: impl Fn(u32) -> bool + Sync,
    ) -> Vec<u32> {
        let nodes = (0..).zip(kept).filter(|(node, _)| !left_out(*node));
        let mut all: Vec<Vec<Near>> = vec![Vec::new(); kept.len()];
        for (node, kept) in nodes {
            for (distance, to) in kept.iter().filter(|(_, to)| !left_out(*to)) {
                all[node as usize].push((*distance, *to));
                all[*to as usize].push((*distance, node));
            }
        }
        let mut bottom = unlinked(kept.len() * stride);
        bottom
            .par_chunks_exact_mut(stride)
            .zip(all)
            .for_each(|(slots, mut all)| {
                sort(&mut all);
                if all.len() > stride {
                    all = self.chosen(all, stride);
                }
                for (slot, (_, link)) in slots.iter_mut().zip(all) {
                    *slot = link;
                }
            });
        bottom
    }

    fn distance(&self, a: u32, b: u32) -> f32 {
        let row = |node: u32| self.rows.padded(node as usize);
        self.apart.eval(row(a), row(b))
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
        let nodes = nodes
            .chain(graph.links(node))
            .filter(|other| *other != node);
        let mut near: Vec<Near> = nodes.map(|to| (self.distance(node, to), to)).collect();
        sort(&mut near);
        near
    }

    /// What lists hold around a node, without itself, nearest first.
    fn listed(&self, lists: &Inverted, node: u32) -> Vec<Near> {
        let row = self.rows.padded(node as usize);
        let probes = lists.lists().div_ceil(PART_OF_LISTS);
        let mut rough = lists.nearest(row, probes, 2 * LOOKED_AT, |other| other != node, 1.0);
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
        for (key, other) in &mut rough {
            *key = self.distance(node, *other);
        }
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
            let same_way = |(_, other): &Near| RELAXED * self.distance(node, *other) < distance;
            if chosen.iter().any(same_way) {
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

/// Nearest first, each node once.
fn sort(near: &mut Vec<Near>) {
    near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    near.dedup_by_key(|(_, node)| *node);
}
