//! What an index is made of.

use crate::domain::Metric;
use crate::simd;
use std::path::Path;
use std::sync::Arc;

/// The largest number of links a node may keep a layer.
pub(super) const MAX_M: usize = 128;

/// Parameters of an index.
#[derive(Debug, Clone)]
pub struct Options {
    /// Dimensions of a vector.
    pub dim: usize,
    /// How far apart two vectors are.
    pub metric: Metric,
    /// Links a node keeps a layer, 2 to 128; twice as many at the bottom.
    pub m: usize,
    /// Candidates considered for them, 8 to 4,096.
    pub ef_construction: usize,
    /// Rows of the tail that make a segment.
    pub seal_at: usize,
    /// Rows below which a scan beats a walk: a segment without a graph.
    pub graph_at: usize,
    /// Where sealed rows lie in files; in memory if not given. Codes and links of one kind stay in
    /// memory.
    pub rows_in: Option<Arc<Path>>,
}

impl Options {
    /// The defaults: m 16, `ef_construction` 200, segments from 10,000 rows on,
    /// with a graph where 1,000 of them live.
    #[must_use]
    pub fn new(dim: usize, metric: Metric) -> Self {
        Self {
            dim,
            metric,
            m: 16,
            ef_construction: 200,
            seal_at: 10_000,
            graph_at: 1_000,
            rows_in: None,
        }
    }

    /// Orders rows by nearness to a query, cheaply: smaller is nearer.
    pub(super) fn key(&self, query: &[f32], row: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => -simd::dot(query, row),
            Metric::Euclidean => simd::squared_l2(query, row),
        }
    }

    /// [`Options::key`] for four rows.
    pub(super) fn key4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        match self.metric {
            Metric::Cosine | Metric::Dot => simd::dot4(query, rows).map(|d| -d),
            Metric::Euclidean => simd::squared_l2_4(query, rows),
        }
    }

    /// The key of a distance.
    pub(super) fn key_of(&self, distance: f32) -> f32 {
        match self.metric {
            Metric::Cosine => distance - 1.0,
            Metric::Euclidean => distance * distance,
            Metric::Dot => distance,
        }
    }

    /// The distance that a key stands for.
    pub(super) fn distance(&self, key: f32) -> f32 {
        match self.metric {
            Metric::Cosine => (1.0 + key).max(0.0),
            Metric::Euclidean => key.max(0.0).sqrt(),
            Metric::Dot => key,
        }
    }
}
