//! Building a graph: `hnsw_rs` links the rows, we lay the result out flat and mend it.
//!
//! `hnsw_rs` 0.3.5 panics on NaN, unequal dimensions and unnormalised cosine, and exits the
//! process on more than 256 links: our rows are embeddings of one dimension, our distance
//! takes any, and `m` is at most 128. What panics all the same is caught by the caller.

use super::Options;
use super::codes::Codes;
use super::former::Left;
use super::graph::{Graph, Layer, NONE};
use super::inverted::Inverted;
use super::options::MAX_M;
use super::refine::{Refine, both_ways};
use super::sample::{For, sample};
use super::walk::{self, Exact};
use crate::domain::Metric;
use crate::simd::{self, AlignedRows};
use hnsw_rs::prelude::{Distance, Hnsw};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows inserted between two looks at `cancel`.
const STEP: usize = 256;
/// Of rows in lists, one of so many is in the layers above the bottom.
const SPARSE: usize = 64;
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

impl Apart {
    /// As [`Apart::eval`], for four rows at once.
    pub(super) fn eval4(&self, a: &[f32], four: [&[f32]; 4]) -> [f32; 4] {
        match self.top {
            Some(top) => simd::dot4(a, four).map(|dot| (top - dot).max(0.0)),
            None => simd::squared_l2_4(a, four),
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

/// A graph, and one to try it by.
pub(super) struct Graphs {
    pub(super) graph: Graph,
    /// The same without the rows that were left out, which can be asked for as strangers can.
    pub(super) trial: Graph,
}

/// What a graph is built from.
pub(super) struct Build<'a> {
    pub(super) options: &'a Options,
    pub(super) rows: &'a AlignedRows,
    pub(super) codes: Option<&'a Codes>,
    pub(super) lists: Option<&'a Inverted>,
    /// Where rows are in lists, those of the layers above the bottom; of all rows otherwise.
    pub(super) layers: Option<&'a [u32]>,
    /// What is left of the graph that most rows were in.
    pub(super) left: Option<Left<'a>>,
    /// Rows that the trial lacks, ascending.
    pub(super) left_out: &'a [u32],
}

impl Build<'_> {
    /// Builds a graph; `None` if cancelled.
    ///
    /// Where rows are in lists, `hnsw_rs` links one in [`SPARSE`] of them: what it makes are the
    /// layers above the bottom, which hold a few rows in HNSW too; the bottom's links are chosen
    /// among what lists hold near each row.
    pub(super) fn run(
        &self,
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Option<Graphs> {
        let mut graph = self.linked(cancel, progress)?;
        if let Some(layers) = self.layers {
            graph = raised(graph, layers, self.rows.len());
        }
        let refine = Refine {
            options: self.options,
            rows: self.rows,
            codes: self.codes,
            lists: self.lists,
            apart: &Apart::new(self.options.metric, self.rows),
        };
        let kept = match self.left {
            Some(left) => refine.kept_of(left, &graph, cancel)?,
            None => refine.kept(&graph, cancel)?,
        };
        let all = both_ways(kept);
        graph.bottom = refine.linked(graph.stride, &all);
        let left_out = |node: u32| self.left_out.binary_search(&node).is_ok();
        let mut trial = graph.clone();
        trial.bottom = refine.without(left_out, &graph.bottom, &all);
        trial.begin_without(left_out);
        mend(&mut trial, self.options, self.rows, left_out);
        mend(&mut graph, self.options, self.rows, |_| false);
        progress(self.rows.len());
        Some(Graphs { graph, trial })
    }

    /// The rows of the layers, or all, as `hnsw_rs` links them.
    fn linked(&self, cancel: &AtomicBool, progress: &(dyn Fn(usize) + Sync)) -> Option<Graph> {
        let (options, rows) = (self.options, self.rows);
        let m = options.m.clamp(2, MAX_M);
        let apart = Apart::new(options.metric, rows);
        let nodes = self.layers.map_or(rows.len(), <[u32]>::len);
        let row = |node: usize| self.layers.map_or(node, |layers| layers[node] as usize);
        let hnsw = Hnsw::<f32, Apart>::new(m, nodes, LAYERS, options.ef_construction, apart);
        for node in 0..nodes {
            if node % STEP == 0 {
                if cancel.load(Ordering::Relaxed) {
                    return None;
                }
                progress(node);
            }
            hnsw.insert_slice((rows.padded(row(node)), node));
        }
        Some(export(&hnsw, nodes, 2 * m))
    }
}

/// The rows that the layers above the bottom hold: some of all, and one of each list, so that no
/// cluster, far from all others, is without.
pub(super) fn layers(rows: usize, lists: &Inverted) -> Vec<u32> {
    let mut layers = sample(rows, rows.div_ceil(SPARSE), For::Layers);
    layers.extend(lists.one_of_each());
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// A graph of some rows as the layers above a bottom of all of them, without links yet.
fn raised(graph: Graph, layers: &[u32], nodes: usize) -> Graph {
    let number = |node: u32| layers[node as usize];
    let mut raised = Graph::new(nodes, graph.stride);
    raised.entry = number(graph.entry);
    let nodes = 0..u32::try_from(graph.len()).unwrap_or(NONE);
    let linked = nodes.map(|node| (node, graph.links(node).collect()));
    raised.upper.push(Layer::of(linked.collect()));
    raised.upper.extend(graph.upper);
    for layer in &mut raised.upper {
        layer
            .nodes
            .iter_mut()
            .for_each(|node| *node = number(*node));
    }
    raised
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
    graph.upper = upper.into_iter().map(Layer::of).collect();
    graph
}

/// Makes every node reachable from the entry: `hnsw_rs` drops the farthest link of a full
/// list, so that about 2 % of the nodes of clustered data have no way in.
fn mend(graph: &mut Graph, options: &Options, rows: &AlignedRows, left_out: impl Fn(u32) -> bool) {
    let nodes = u32::try_from(graph.len()).unwrap_or(NONE);
    let mut reached = vec![false; graph.len()];
    spread(graph, graph.entry, &mut reached);
    for lost in 0..nodes {
        if reached[lost as usize] || left_out(lost) {
            continue;
        }
        // Those it leads to are near it. Equals by the thousand lead to the same few: no walk among
        // them finds more.
        let own = graph.links(lost).filter(|node| reached[*node as usize]);
        let mut near: Vec<u32> = own.collect();
        if near.is_empty() {
            let exact = Exact {
                options,
                rows,
                query: rows.padded(lost as usize),
            };
            // From the entry on, as reached nodes are: the layers above may lead to one that is not.
            // Everything found was reached, and so are those they lead to.
            let found = walk::around(graph, &exact, graph.entry, MEND_EF);
            near.extend(found.into_iter().map(|(_, node)| node));
        }
        let free = near.iter().find(|node| graph.link(**node, lost));
        if free.is_none() {
            let host = near.first().copied().unwrap_or(graph.entry);
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
        let build = Build {
            options: &options,
            rows: &rows,
            codes: None,
            lists: None,
            layers: None,
            left: None,
            left_out: &[17, 2_000],
        };
        assert!(build.run(&AtomicBool::new(true), &|_| {}).is_none());
        let graphs = build.run(&AtomicBool::new(false), &|_| {}).unwrap();
        for (graph, left_out) in [(graphs.graph, &[][..]), (graphs.trial, build.left_out)] {
            assert!(graph.is_sound(3_000));
            let mut reached = vec![false; 3_000];
            spread(&graph, graph.entry, &mut reached);
            for (node, reached) in (0..).zip(reached) {
                assert_eq!(reached, !left_out.contains(&node), "{node}");
            }
            let mut above = graph.upper.iter().flat_map(|layer| &layer.nodes);
            assert!(above.all(|node| !left_out.contains(node)));
        }
    }
}
