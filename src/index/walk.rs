//! Best-first search over a flat graph.

use super::Options;
use super::graph::{Graph, NONE};
use crate::simd::{self, AlignedRows};
use std::cell::RefCell;

/// How near a query nodes are: smaller is nearer.
pub(super) trait Keys {
    /// Of one node.
    fn key(&self, node: u32) -> f32;
    /// Of four.
    fn key4(&self, nodes: [u32; 4]) -> [f32; 4];
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

impl Keys for Exact<'_> {
    fn key(&self, node: u32) -> f32 {
        let row = self.rows.padded(node as usize);
        self.options.key(self.query, row)
    }

    fn key4(&self, nodes: [u32; 4]) -> [f32; 4] {
        let rows = nodes.map(|node| self.rows.padded(node as usize));
        self.options.key4(self.query, rows)
    }

    fn prefetch(&self, node: u32) {
        simd::prefetch(self.rows.padded(node as usize));
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a walk needs, kept from one to the next.
#[derive(Default)]
struct Scratch {
    /// A bit a node; all clear between walks.
    seen: Vec<u64>,
    /// The words of `seen` to clear.
    touched: Vec<u32>,
    /// Candidates by key, nearest first; whether their links were followed.
    pool: Vec<(f32, u32, bool)>,
    fresh: Vec<u32>,
}

impl Scratch {
    /// Marks a node; answers whether it is new.
    fn mark(&mut self, node: u32) -> bool {
        let (word, bit) = (node as usize / 64, 1_u64 << (node % 64));
        let new = self.seen[word] & bit == 0;
        if new {
            if self.seen[word] == 0 {
                self.touched.push(node / 64);
            }
            self.seen[word] |= bit;
        }
        new
    }

    /// Keeps a candidate if it is among the `ef` nearest; answers where it stands.
    fn offer(&mut self, key: f32, node: u32, ef: usize) -> usize {
        if self.pool.len() == ef && self.pool.last().is_some_and(|worst| key >= worst.0) {
            return ef;
        }
        let at = self.pool.partition_point(|c| c.0 <= key);
        if self.pool.len() == ef {
            self.pool.pop();
        }
        self.pool.insert(at, (key, node, false));
        at
    }
}

/// The `ef` nearest nodes that the walk finds, as keys and nodes, nearest first.
pub(super) fn nearest(graph: &Graph, keys: &impl Keys, ef: usize) -> Vec<(f32, u32)> {
    from(graph, keys, descend(graph, keys), ef)
}

/// As [`nearest`], on the bottom layer only, from a node on.
pub(super) fn around(graph: &Graph, keys: &impl Keys, node: u32, ef: usize) -> Vec<(f32, u32)> {
    from(graph, keys, (keys.key(node), node), ef)
}

fn from(graph: &Graph, keys: &impl Keys, start: (f32, u32), ef: usize) -> Vec<(f32, u32)> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch
            .seen
            .resize(graph.len().div_ceil(64).max(scratch.seen.len()), 0);
        walk(graph, keys, ef, start, scratch);
        let found = scratch
            .pool
            .iter()
            .map(|(key, node, _)| (*key, *node))
            .collect();
        for word in scratch.touched.drain(..) {
            scratch.seen[word as usize] = 0;
        }
        scratch.pool.clear();
        found
    })
}

/// Greedily down the layers to a good place to start at the bottom.
fn descend(graph: &Graph, keys: &impl Keys) -> (f32, u32) {
    let mut at = graph.entry;
    let mut best = keys.key(at);
    for layer in graph.upper.iter().rev() {
        loop {
            let links = layer.links(at);
            let near = links.iter().map(|link| (keys.key(*link), *link));
            match near.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((key, link)) if key < best => (best, at) = (key, link),
                _ => break,
            }
        }
    }
    (best, at)
}

fn walk(
    graph: &Graph,
    keys: &impl Keys,
    ef: usize,
    (key, start): (f32, u32),
    scratch: &mut Scratch,
) {
    scratch.mark(start);
    scratch.offer(key, start, ef);
    let mut next = 0;
    while next < scratch.pool.len() {
        let (_, node, followed) = scratch.pool[next];
        if followed {
            next += 1;
            continue;
        }
        scratch.pool[next].2 = true;
        let mut fresh = std::mem::take(&mut scratch.fresh);
        fresh.clear();
        for link in graph.slots(node) {
            if *link == NONE {
                break;
            }
            if scratch.mark(*link) {
                keys.prefetch(*link);
                fresh.push(*link);
            }
        }
        // Back to the nearest newcomer, if it is nearer than where we stand.
        let mut back = next + 1;
        let (fours, rest) = fresh.as_chunks::<4>();
        for four in fours {
            for (key, link) in keys.key4(*four).into_iter().zip(four) {
                back = back.min(scratch.offer(key, *link, ef));
            }
        }
        for link in rest {
            let key = keys.key(*link);
            back = back.min(scratch.offer(key, *link, ef));
        }
        scratch.fresh = fresh;
        next = back;
    }
}
