//! Best-first search over a flat graph.

use super::Options;
use super::graph::{Graph, NONE};
use crate::simd::{self, AlignedRows, Pool};
use std::cell::{Cell, RefCell};
use std::ops::Range;

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

/// Candidates whose links are followed at once: their rows come from memory together.
const BEAM: usize = 3;
/// Where only some nodes count, the pool has room for so many times as many as there should be.
const ROOM: usize = 2;
/// And at most so many.
const MOST: usize = 2_048;
/// Where not even one in so many counts that should, the walk ends.
const FEW: usize = 4;
/// The links of so many next candidates are fetched ahead.
const AHEAD: usize = 2;
/// The links of so many of the nearest are followed, wherever a walk is to end.
const SURE: usize = 8;

/// What a walk needs, kept from one to the next.
#[derive(Default)]
struct Scratch {
    /// A bit a node, and one beyond all, which is always set.
    seen: Vec<u64>,
    /// Nodes met, each once: their bits are set.
    met: Vec<u32>,
    /// Candidates, nearest first; closed once their links were followed.
    pool: Pool,
    /// Nodes that a node of a layer is linked to.
    linked: Vec<u32>,
    /// Of nodes to be offered, their keys.
    keys: Vec<f32>,
    /// And those that are near enough.
    near: Vec<u64>,
}

impl Scratch {
    /// Forgets the walk before.
    fn clear(&mut self, nodes: usize, ef: usize) {
        let words = nodes / 64 + 1;
        if self.seen.len() == words && self.met.len() < words {
            for node in &self.met {
                self.seen[*node as usize / 64] = 0;
            }
        } else {
            self.seen.clear();
            self.seen.resize(words, 0);
        }
        self.met.clear();
        self.pool.clear(ef);
        self.seen[nodes / 64] |= 1 << (nodes % 64);
    }

    /// Meets nodes linked from another; answers those that are new.
    fn meet(&mut self, links: &[u32], nodes: u32) -> &[u32] {
        let before = self.met.len();
        let mut met = before;
        self.met.resize(met + links.len(), 0);
        for link in links {
            // No link is as a node beyond all, which was met.
            let node = (*link).min(nodes);
            let (word, bit) = (&mut self.seen[node as usize / 64], node % 64);
            self.met[met] = node;
            met += usize::from(*word >> bit & 1 == 0);
            *word |= 1 << bit;
        }
        self.met.truncate(met);
        &self.met[before..]
    }

    /// Offers some of the nodes met to the pool.
    fn offer(&mut self, keys: &impl Keys, which: Range<usize>) {
        let Self {
            met,
            pool,
            keys: found,
            near,
            ..
        } = self;
        let nodes = &met[which];
        keys.keys(nodes, found);
        let limit = pool.limit();
        near.resize(nodes.len().max(near.len()), 0);
        let mut below = 0;
        for (key, node) in found.iter().zip(nodes) {
            let candidate = candidate(*key, *node);
            near[below] = candidate;
            below += usize::from(candidate < limit);
        }
        pool.offer(&near[..below]);
    }
}

/// A node and its key as a number: ordered as keys are, then as nodes are.
pub(super) fn candidate(key: f32, node: u32) -> u64 {
    let bits = key.to_bits();
    let flipped = (bits.cast_signed() >> 31).cast_unsigned() | 1 << 31;
    u64::from(bits ^ flipped) << 32 | u64::from(node) << 1
}

/// The node of a candidate.
pub(super) fn node_of(candidate: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    let low = candidate as u32;
    low >> 1
}

/// The key of a candidate.
pub(super) fn key_of(candidate: u64) -> f32 {
    let high = (candidate >> 32) as u32;
    let flipped = !(high.cast_signed() >> 31).cast_unsigned() | 1 << 31;
    f32::from_bits(high ^ flipped)
}

/// The `ef` nearest nodes that the walk finds, as keys and nodes, nearest first. The links of nodes
/// `beyond` a key are followed only of the very nearest.
pub(super) fn nearest(graph: &Graph, keys: &impl Keys, ef: usize, beyond: f32) -> Vec<(f32, u32)> {
    SCRATCH.with_borrow_mut(|scratch| {
        let start = descend(graph, keys, scratch);
        let until = (ef, beyond);
        walk(graph, keys, until, start, scratch, |_, _, _| false)
    })
}

/// Nodes of which only some count, and about which share of all do.
pub(super) struct Among<'a> {
    pub(super) counts: &'a dyn Fn(u32) -> bool,
    pub(super) share: f64,
}

/// As [`nearest`], until the links of the nearest nodes were followed of which `ef` count, or of so
/// many that far more should: then nothing is found. The others lead on, and are found too.
pub(super) fn among(
    graph: &Graph,
    keys: &impl Keys,
    ef: usize,
    among: &Among<'_>,
) -> Vec<(f32, u32)> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a number of nodes"
    )]
    let nodes = |counting: usize| (counting as f64 / among.share.max(1e-3)) as usize;
    let most = nodes(ROOM * ef).clamp(ef, MOST.max(ef));
    let expected = nodes(ef);
    // Nodes on the way there count too, until a look at the nearest tells how many there are.
    let (mut met, mut enough_met) = (0, ef);
    let gave_up = Cell::new(false);
    let enough = |pool: &Pool, followed: usize, beam: &[u32]| {
        met += beam.iter().filter(|node| (among.counts)(**node)).count();
        if met < enough_met {
            // What is near the query does not count: this is not the way to what does.
            gave_up.set(followed > expected && FEW * met < ef);
            return gave_up.get();
        }
        let nearest = pool.iter().take(followed);
        let count = nearest.filter(|c| (among.counts)(node_of(*c))).count();
        enough_met = met + ef.saturating_sub(count);
        count >= ef
    };
    SCRATCH.with_borrow_mut(|scratch| {
        let start = descend(graph, keys, scratch);
        let found = walk(graph, keys, (most, f32::INFINITY), start, scratch, enough);
        if gave_up.get() { Vec::new() } else { found }
    })
}

/// As [`nearest`], on the bottom layer only, from a node on.
pub(super) fn around(graph: &Graph, keys: &impl Keys, node: u32, ef: usize) -> Vec<(f32, u32)> {
    SCRATCH.with_borrow_mut(|scratch| {
        keys.keys(&[node], &mut scratch.keys);
        let (until, start) = ((ef, f32::INFINITY), (scratch.keys[0], node));
        walk(graph, keys, until, start, scratch, |_, _, _| false)
    })
}

/// Greedily down the layers to a good place to start at the bottom.
fn descend(graph: &Graph, keys: &impl Keys, scratch: &mut Scratch) -> (f32, u32) {
    let Scratch {
        linked, keys: near, ..
    } = scratch;
    keys.keys(&[graph.entry], near);
    let mut best = (near[0], graph.entry);
    for layer in graph.upper.iter().rev() {
        let Some(mut place) = layer.place(best.1) else {
            continue;
        };
        loop {
            let links = layer.links(place);
            linked.clear();
            linked.extend(links.iter().map(|link| layer.nodes[*link as usize]));
            for node in linked.iter() {
                keys.prefetch(*node);
            }
            keys.keys(linked, near);
            let nearest = near.iter().enumerate();
            match nearest.min_by(|a, b| a.1.total_cmp(b.1)) {
                Some((at, key)) if *key < best.0 => {
                    (best, place) = ((*key, linked[at]), links[at]);
                }
                _ => break,
            }
        }
    }
    best
}

/// Walks on until there is nothing left to follow, or `enough`: it is told how many of the nearest
/// nodes were followed, and which are next.
fn walk(
    graph: &Graph,
    keys: &impl Keys,
    (ef, beyond): (usize, f32),
    start: (f32, u32),
    scratch: &mut Scratch,
    mut enough: impl FnMut(&Pool, usize, &[u32]) -> bool,
) -> Vec<(f32, u32)> {
    let nodes = u32::try_from(graph.len()).unwrap_or(NONE);
    let beyond = candidate(beyond, NONE >> 1);
    scratch.clear(graph.len(), ef);
    scratch.meet(&[start.1], nodes);
    scratch.pool.offer(&[candidate(start.0, start.1)]);

    // The rows of the nodes met last come from memory while those before are offered.
    let mut offered = scratch.met.len();
    loop {
        let met = scratch.met.len();
        let mut open = scratch.pool.open();
        let (mut beam, mut wide, mut followed) = ([0; BEAM], 0, None);
        for (node, place) in beam.iter_mut().zip(open.by_ref().take(BEAM)) {
            if place >= SURE && scratch.pool.at(place) > beyond {
                break;
            }
            *node = node_of(scratch.pool.close(place));
            simd::prefetch_links(graph.slots(*node));
            wide += 1;
            followed.get_or_insert(place);
        }
        if wide == 0 && met == offered {
            break;
        }
        if let Some(followed) = followed
            && enough(&scratch.pool, followed, &beam[..wide])
        {
            scratch.offer(keys, offered..met);
            break;
        }
        for place in open.take(AHEAD) {
            simd::prefetch_links(graph.slots(node_of(scratch.pool.at(place))));
        }
        for node in &beam[..wide] {
            for new in scratch.meet(graph.slots(*node), nodes) {
                keys.prefetch(*new);
            }
        }
        scratch.offer(keys, offered..met);
        offered = met;
    }
    let found = scratch.pool.iter();
    found.map(|c| (key_of(c), node_of(c))).collect()
}
