//! Best-first search over a flat graph.

use super::Options;
use super::graph::{Graph, NONE};
use crate::simd::{self, AlignedRows};
use std::cell::RefCell;

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
pub(super) fn nearest(
    graph: &Graph,
    options: &Options,
    rows: &AlignedRows,
    query: &[f32],
    ef: usize,
) -> Vec<(f32, u32)> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch
            .seen
            .resize(graph.len().div_ceil(64).max(scratch.seen.len()), 0);
        let start = descend(graph, options, rows, query);
        walk(graph, options, rows, query, ef, start, scratch);
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
fn descend(graph: &Graph, options: &Options, rows: &AlignedRows, query: &[f32]) -> (f32, u32) {
    let mut at = graph.entry;
    let mut best = options.key(query, rows.padded(at as usize));
    for layer in graph.upper.iter().rev() {
        loop {
            let links = layer.links(at);
            let keys = links
                .iter()
                .map(|l| (options.key(query, rows.padded(*l as usize)), *l));
            match keys.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((key, link)) if key < best => (best, at) = (key, link),
                _ => break,
            }
        }
    }
    (best, at)
}

fn walk(
    graph: &Graph,
    options: &Options,
    rows: &AlignedRows,
    query: &[f32],
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
                simd::prefetch(rows.padded(*link as usize));
                fresh.push(*link);
            }
        }
        // Back to the nearest newcomer, if it is nearer than where we stand.
        let mut back = next + 1;
        let mut fours = fresh.chunks_exact(4);
        for four in &mut fours {
            let row = |i: usize| rows.padded(four[i] as usize);
            let keys = options.key4(query, [row(0), row(1), row(2), row(3)]);
            for (key, link) in keys.into_iter().zip(four) {
                back = back.min(scratch.offer(key, *link, ef));
            }
        }
        for link in fours.remainder() {
            let key = options.key(query, rows.padded(*link as usize));
            back = back.min(scratch.offer(key, *link, ef));
        }
        scratch.fresh = fresh;
        next = back;
    }
}
