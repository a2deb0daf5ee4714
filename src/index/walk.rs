//! Best-first search over a flat graph.

use super::Options;
use super::graph::{Graph, NONE};
use crate::simd::{self, AlignedRows};
use std::cell::RefCell;

/// How near a query nodes are: smaller is nearer.
pub(super) trait Keys {
    /// Of some nodes, in the place of what `out` held.
    fn keys(&self, nodes: &[u32], out: &mut Vec<f32>);
    /// A node's key is asked for soon.
    fn prefetch(&self, node: u32);
}

/// Exact keys of rows.
pub(super) struct Exact<'a> {
    pub(super) options: &'a Options,
    pub(super) rows: &'a AlignedRows,
    /// Padded as rows are.
    pub(super) query: &'a [f32],
}

impl Exact<'_> {
    /// Of one node.
    pub(super) fn key(&self, node: u32) -> f32 {
        let row = self.rows.padded(node as usize);
        self.options.key(self.query, row)
    }
}

impl Keys for Exact<'_> {
    fn keys(&self, nodes: &[u32], out: &mut Vec<f32>) {
        out.clear();
        let (fours, rest) = nodes.as_chunks::<4>();
        for four in fours {
            let rows = four.map(|node| self.rows.padded(node as usize));
            out.extend(self.options.key4(self.query, rows));
        }
        out.extend(rest.iter().map(|node| self.key(*node)));
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        simd::prefetch(self.rows.padded(node as usize));
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Of a candidate's node: its links were followed.
const FOLLOWED: u32 = 1 << 31;
/// Candidates whose links are followed at once: their rows come from memory together.
const BEAM: usize = 3;
/// The links of so many next candidates are fetched ahead.
const AHEAD: usize = 2;

/// What a walk needs, kept from one to the next.
#[derive(Default)]
struct Scratch {
    /// A bit a node.
    seen: Vec<u64>,
    /// Candidates by key, nearest first.
    pool: Vec<(f32, u32)>,
    /// Nodes met for the first time, and their keys.
    fresh: Vec<u32>,
    keys: Vec<f32>,
}

impl Scratch {
    /// Marks a node; answers whether it is new.
    fn mark(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.seen[node as usize / 64], 1_u64 << (node % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Keeps a candidate if it is among the `ef` nearest; answers where it stands.
    fn offer(&mut self, key: f32, node: u32, ef: usize) -> usize {
        if self.pool.len() == ef {
            if self.pool.last().is_some_and(|worst| key >= worst.0) {
                return ef;
            }
            self.pool.pop();
        }
        let at = self.pool.partition_point(|c| c.0 <= key);
        self.pool.insert(at, (key, node));
        at
    }

    /// The first candidate from a place on whose links were not followed.
    fn open(&self, mut at: usize) -> usize {
        while self.pool.get(at).is_some_and(|c| c.1 & FOLLOWED != 0) {
            at += 1;
        }
        at
    }
}

/// The `ef` nearest nodes that the walk finds, as keys and nodes, nearest first.
pub(super) fn nearest(graph: &Graph, keys: &impl Keys, ef: usize) -> Vec<(f32, u32)> {
    SCRATCH.with_borrow_mut(|scratch| {
        let start = descend(graph, keys, scratch);
        walk(graph, keys, ef, start, scratch)
    })
}

/// As [`nearest`], on the bottom layer only, from a node on.
pub(super) fn around(graph: &Graph, keys: &impl Keys, node: u32, ef: usize) -> Vec<(f32, u32)> {
    SCRATCH.with_borrow_mut(|scratch| {
        keys.keys(&[node], &mut scratch.keys);
        walk(graph, keys, ef, (scratch.keys[0], node), scratch)
    })
}

/// Greedily down the layers to a good place to start at the bottom.
fn descend(graph: &Graph, keys: &impl Keys, scratch: &mut Scratch) -> (f32, u32) {
    let Scratch {
        fresh, keys: near, ..
    } = scratch;
    keys.keys(&[graph.entry], near);
    let mut best = (near[0], graph.entry);
    for layer in graph.upper.iter().rev() {
        let Some(mut place) = layer.place(best.1) else {
            continue;
        };
        loop {
            let links = layer.links(place);
            fresh.clear();
            fresh.extend(links.iter().map(|link| layer.nodes[*link as usize]));
            for node in fresh.iter() {
                keys.prefetch(*node);
            }
            keys.keys(fresh, near);
            let nearest = near.iter().enumerate();
            match nearest.min_by(|a, b| a.1.total_cmp(b.1)) {
                Some((at, key)) if *key < best.0 => {
                    (best, place) = ((*key, fresh[at]), links[at]);
                }
                _ => break,
            }
        }
    }
    best
}

fn walk(
    graph: &Graph,
    keys: &impl Keys,
    ef: usize,
    start: (f32, u32),
    scratch: &mut Scratch,
) -> Vec<(f32, u32)> {
    scratch.seen.clear();
    scratch.seen.resize(graph.len().div_ceil(64), 0);
    scratch.pool.clear();
    scratch.mark(start.1);
    scratch.offer(start.0, start.1, ef);

    let mut next = 0;
    while next < scratch.pool.len() {
        let mut fresh = std::mem::take(&mut scratch.fresh);
        fresh.clear();
        for _ in 0..BEAM {
            let Some((_, node)) = scratch.pool.get_mut(next) else {
                break;
            };
            let at = *node;
            *node |= FOLLOWED;
            for link in graph.slots(at) {
                if *link == NONE {
                    break;
                }
                if scratch.mark(*link) {
                    keys.prefetch(*link);
                    fresh.push(*link);
                }
            }
            next = scratch.open(next + 1);
        }
        let mut ahead = next;
        for _ in 0..AHEAD {
            let Some((_, node)) = scratch.pool.get(ahead) else {
                break;
            };
            simd::prefetch_links(graph.slots(*node));
            ahead = scratch.open(ahead + 1);
        }
        let mut near = std::mem::take(&mut scratch.keys);
        keys.keys(&fresh, &mut near);
        // Back to the nearest newcomer, if it is nearer than where we stand.
        let mut back = next;
        for (key, link) in near.iter().zip(&fresh) {
            back = back.min(scratch.offer(*key, *link, ef));
        }
        (scratch.fresh, scratch.keys) = (fresh, near);
        next = scratch.open(back);
    }
    let found = scratch.pool.iter();
    found.map(|(key, node)| (*key, node & !FOLLOWED)).collect()
}
