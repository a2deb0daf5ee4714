//! The best rows of all parts so far.

use super::snapshot::Query;

/// The best rows so far, sorted by distance and sequence number.
pub(super) struct Best<'a, T> {
    k: usize,
    pub(super) bound: f32,
    pub(super) hits: Vec<(f32, u64, &'a T)>,
}

impl<'a, T> Best<'a, T> {
    pub(super) fn new(query: &Query<'_>) -> Self {
        Self {
            k: query.k,
            bound: query.max_distance.unwrap_or(f32::INFINITY),
            hits: Vec::with_capacity(query.k.min(1_024)),
        }
    }

    /// Whether a row so far away would be kept.
    pub(super) fn wants(&self, distance: f32, seq: u64) -> bool {
        let among = match self.hits.last() {
            Some(worst) if self.hits.len() == self.k => (distance, seq) < (worst.0, worst.1),
            _ => self.k > 0,
        };
        among && distance <= self.bound
    }

    pub(super) fn offer(&mut self, (distance, seq, tag): (f32, u64, &'a T)) {
        if !self.wants(distance, seq) {
            return;
        }
        let at = self.hits.partition_point(|h| (h.0, h.1) < (distance, seq));
        if self.hits.len() == self.k {
            self.hits.pop();
        }
        self.hits.insert(at, (distance, seq, tag));
    }
}
