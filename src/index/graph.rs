//! An HNSW graph laid out flat: links of fixed stride, no pointers.

use crate::simd;

/// No link.
pub(super) const NONE: u32 = u32::MAX;

/// Links of every node, by row number. The bottom layer holds all nodes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    /// Links of a node at the bottom, padded with [`NONE`].
    pub(super) stride: usize,
    pub(super) bottom: Vec<u32>,
    pub(super) entry: u32,
    /// The layers above the bottom, the lowest first.
    pub(super) upper: Vec<Layer>,
}

/// A layer above the bottom: few nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Layer {
    /// Its nodes, ascending.
    pub(super) nodes: Vec<u32>,
    /// Where each node's links begin, and at last where all end.
    pub(super) starts: Vec<u32>,
    /// Places among the nodes.
    pub(super) links: Vec<u32>,
}

impl Layer {
    /// Of nodes and the nodes they link to, in any order; those that are not here are left out.
    pub(super) fn of(mut linked: Vec<(u32, Vec<u32>)>) -> Self {
        linked.sort_unstable();
        let mut layer = Self {
            nodes: linked.iter().map(|(node, _)| *node).collect(),
            starts: vec![0],
            links: Vec::new(),
        };
        for (_, links) in linked {
            let places = links.into_iter().filter_map(|node| layer.place(node));
            let places: Vec<u32> = places.collect();
            layer.links.extend(places);
            let end = u32::try_from(layer.links.len()).unwrap_or(NONE);
            layer.starts.push(end);
        }
        layer
    }

    /// The same without some nodes.
    fn without(&self, left_out: impl Fn(u32) -> bool) -> Self {
        let places = self.nodes.iter().zip(0..);
        let kept = places.filter(|(node, _)| !left_out(**node));
        let linked = kept.map(|(node, place)| {
            let links = self.links(place).iter();
            (
                *node,
                links.map(|link| self.nodes[*link as usize]).collect(),
            )
        });
        Self::of(linked.collect())
    }

    /// Where a node is.
    pub(super) fn place(&self, node: u32) -> Option<u32> {
        let place = self.nodes.binary_search(&node).ok()?;
        u32::try_from(place).ok()
    }

    /// The places that a place links to.
    #[inline]
    pub(super) fn links(&self, place: u32) -> &[u32] {
        let place = place as usize;
        &self.links[self.starts[place] as usize..self.starts[place + 1] as usize]
    }
}

/// Slots without links.
pub(super) fn unlinked(slots: usize) -> Vec<u32> {
    let mut bottom = simd::roomy(slots);
    bottom.resize(slots, NONE);
    bottom
}

impl Graph {
    pub(super) fn new(nodes: usize, stride: usize) -> Self {
        Self {
            stride,
            bottom: unlinked(nodes * stride),
            entry: 0,
            upper: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bottom.len() / self.stride
    }

    /// Leaves some nodes out of the layers above the bottom, and begins at another if it is one.
    pub(super) fn begin_without(&mut self, left_out: impl Fn(u32) -> bool) {
        for layer in &mut self.upper {
            *layer = layer.without(&left_out);
        }
        if left_out(self.entry) {
            let top = self.upper.iter().rev().flat_map(|layer| &layer.nodes);
            let bottom = 0..u32::try_from(self.len()).unwrap_or(NONE);
            let others = top.copied().chain(bottom);
            self.entry = others.into_iter().find(|n| !left_out(*n)).unwrap_or(0);
        }
    }

    /// All slots of a node at the bottom.
    #[inline]
    pub(super) fn slots(&self, node: u32) -> &[u32] {
        let from = node as usize * self.stride;
        &self.bottom[from..from + self.stride]
    }

    pub(super) fn slots_mut(&mut self, node: u32) -> &mut [u32] {
        let from = node as usize * self.stride;
        &mut self.bottom[from..from + self.stride]
    }

    /// Links of a node at the bottom.
    pub(super) fn links(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        self.slots(node)
            .iter()
            .copied()
            .take_while(|link| *link != NONE)
    }

    /// Adds a link where there is a free slot; answers whether the link is there.
    pub(super) fn link(&mut self, from: u32, to: u32) -> bool {
        for slot in self.slots_mut(from) {
            if *slot == to {
                return true;
            }
            if *slot == NONE {
                *slot = to;
                return true;
            }
        }
        false
    }

    /// Whether every link leads to a node, and layers are well formed.
    pub(super) fn is_sound(&self, nodes: usize) -> bool {
        let known = |node: &u32| (*node as usize) < nodes;
        let layer_is_sound = |layer: &Layer| {
            let ascending = |v: &[u32]| v.windows(2).all(|w| w[0] < w[1]);
            layer.starts.len() == layer.nodes.len() + 1
                && ascending(&layer.nodes)
                && layer.starts.windows(2).all(|w| w[0] <= w[1])
                && layer
                    .starts
                    .last()
                    .is_some_and(|end| *end as usize == layer.links.len())
                && layer.nodes.iter().all(known)
                && layer
                    .links
                    .iter()
                    .all(|at| (*at as usize) < layer.nodes.len())
        };
        self.stride > 0
            && self.len() == nodes
            && known(&self.entry)
            && self.bottom.iter().all(|link| *link == NONE || known(link))
            && self.upper.iter().all(layer_is_sound)
    }

    pub(super) fn bytes(&self) -> usize {
        let upper = self.upper.iter();
        let upper: usize = upper
            .map(|l| l.nodes.len() + l.starts.len() + l.links.len())
            .sum();
        4 * (self.bottom.len() + upper)
    }
}
