//! Building a graph: `hnsw_rs` links the rows, we lay the result out flat and mend it.
//!
//! `hnsw_rs` 0.3.5 panics on NaN, unequal dimensions and unnormalised cosine, and exits the
//! process on more than 256 links: our rows are embeddings of one dimension, our distance
//! takes any, and `m` is at most 128. What panics all the same is caught by the caller.

use super::Options;
use super::codes::Codes;
use super::graph::{Graph, Layer, NONE};
use super::options::MAX_M;
use super::refine::Refine;
use super::walk::{self, Exact};
use crate::domain::Metric;
use crate::simd::{self, AlignedRows};
use hnsw_rs::prelude::{Distance, Hnsw};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows inserted between two looks at `cancel`.
const STEP: usize = 256;
/// Layers that `hnsw_rs` may use.
const LAYERS: usize = 16;
/// Candidates for the links of a node that nothing led to.
const MEND_EF: usize = 128;

/// How far apart padded rows are, never below zero, as `hnsw_rs` asks.
pub(super) struct Apart {
    /// For inner products, the largest of a row with itself: none is above it. Links by the
    /// product itself (Morozov and Babenko 2018, ip-NSW) keep their recall whatever the rows'
    /// lengths; those by Euclidean distance, once all are lifted to one length, do not.
    top: Option<f32>,
}

impl Apart {
    fn new(metric: Metric, rows: &AlignedRows) -> Self {
        let norm = |row| simd::dot(rows.padded(row), rows.padded(row));
        let top = || (0..rows.len()).map(norm).fold(0.0, f32::max);
        Self {
            top: (metric == Metric::Dot).then(top),
        }
    }
}

impl Distance<f32> for Apart {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        match self.top {
            Some(top) => (top - simd::dot(a, b)).max(0.0),
            // Of unit vectors this orders as the cosine does.
            None => simd::squared_l2(a, b),
        }
    }
}

/// Builds a graph over `rows`; `None` if cancelled.
pub(super) fn build(
    options: &Options,
    rows: &AlignedRows,
    codes: Option<&Codes>,
    cancel: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Option<Graph> {
    let m = options.m.clamp(2, MAX_M);
    let apart = || Apart::new(options.metric, rows);
    let hnsw = Hnsw::<f32, Apart>::new(m, rows.len(), LAYERS, options.ef_construction, apart());
    for row in 0..rows.len() {
        if row % STEP == 0 {
            if cancel.load(Ordering::Relaxed) {
                return None;
            }
            progress(row);
        }
        hnsw.insert_slice((rows.padded(row), row));
    }
    let mut graph = export(&hnsw, rows.len(), 2 * m);
    let refine = Refine {
        options,
        rows,
        codes,
        apart: &apart(),
    };
    graph.bottom = refine.run(&graph, cancel)?;
    mend(&mut graph, options, rows);
    progress(rows.len());
    Some(graph)
}

fn export(hnsw: &Hnsw<'_, f32, Apart>, nodes: usize, stride: usize) -> Graph {
    let points = hnsw.get_point_indexation();
    let top = usize::from(points.get_max_level_observed());
    let mut graph = Graph::new(nodes, stride);
    // By layer: nodes and their links.
    let mut upper: Vec<Vec<(u32, Vec<u32>)>> = vec![Vec::new(); top];
    let number = |id: usize| u32::try_from(id).unwrap_or(NONE);
    for layer in 0..=top {
        for point in points.get_layer_iterator(layer) {
            let node = number(point.get_origin_id());
            if layer == top {
                graph.entry = node;
            }
            let neighbours = point.get_neighborhood_id();
            for (level, links) in neighbours.iter().enumerate().take(layer + 1) {
                // A neighbour filed below this layer has no links here.
                let here = links.iter().filter(|n| usize::from(n.p_id.0) >= level);
                let here = here.map(|n| number(n.d_id)).filter(|n| *n != node);
                if level == 0 {
                    let free = graph.slots_mut(node).iter_mut();
                    free.zip(here).for_each(|(slot, link)| *slot = link);
                } else {
                    upper[level - 1].push((node, here.collect()));
                }
            }
        }
    }
    graph.upper = upper.into_iter().map(layer).collect();
    graph
}

fn layer(mut nodes: Vec<(u32, Vec<u32>)>) -> Layer {
    nodes.sort_unstable();
    let mut layer = Layer::default();
    for (node, links) in nodes {
        layer.push(node, &links);
    }
    layer
}

/// Makes every node reachable from the entry: `hnsw_rs` drops the farthest link of a full
/// list, so that about 2 % of the nodes of clustered data have no way in.
fn mend(graph: &mut Graph, options: &Options, rows: &AlignedRows) {
    let nodes = u32::try_from(graph.len()).unwrap_or(NONE);
    let mut reached = vec![false; graph.len()];
    spread(graph, graph.entry, &mut reached);
    for lost in 0..nodes {
        if reached[lost as usize] {
            continue;
        }
        let query = rows.padded(lost as usize);
        let exact = Exact {
            options,
            rows,
            query,
        };
        // From the entry on, as reached nodes are: the layers above may lead to one that is not.
        // Everything found was reached, and so are those they lead to.
        let near = walk::around(graph, &exact, graph.entry, MEND_EF);
        let free = near.iter().find(|(_, node)| graph.link(*node, lost));
        if free.is_none() {
            let host = near.first().map_or(graph.entry, |(_, node)| *node);
            // The host's last link goes by way of the lost node from now on.
            let last = graph.stride - 1;
            let moved = std::mem::replace(&mut graph.slots_mut(host)[last], lost);
            if !graph.link(lost, moved) {
                graph.slots_mut(lost)[last] = moved;
            }
        }
        spread(graph, lost, &mut reached);
    }
}

/// Marks all that can be reached from a node.
fn spread(graph: &Graph, from: u32, reached: &mut [bool]) {
    let mut next = vec![from];
    reached[from as usize] = true;
    while let Some(node) = next.pop() {
        for link in graph.links(node) {
            if !std::mem::replace(&mut reached[link as usize], true) {
                next.push(link);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_can_be_reached_even_among_equals() {
        let options = Options::new(3, Metric::Euclidean);
        let mut rows = AlignedRows::with_capacity(3, 3_000);
        for row in 0..3_000_u16 {
            // Half of them equal, the rest in tight clusters far apart.
            let x = if row % 2 == 0 {
                0.0
            } else {
                f32::from(row % 7) * 100.0
            };
            rows.push(&[x, f32::from(row % 2) * f32::from(row) * 1e-3, 0.0]);
        }
        let graph = build(&options, &rows, None, &AtomicBool::new(false), &|_| {}).unwrap();
        assert!(graph.is_sound(3_000));
        let mut reached = vec![false; 3_000];
        spread(&graph, graph.entry, &mut reached);
        assert!(reached.iter().all(|r| *r));
        assert!(build(&options, &rows, None, &AtomicBool::new(true), &|_| {}).is_none());
    }
}
