//! The best rows of all parts so far.

use super::snapshot::Query;

/// The best rows so far, sorted by distance and sequence number.
pub(super) struct Best<'a, T> {
    k: usize,
    bound: f32,
    pub(super) hits: Vec<(f32, u64, &'a T)>,
    /// Keys of the nearest rows that walks met, ascending.
    met: Vec<f32>,
    /// The rows that the walk found that others are found by.
    pub(super) walked: Option<Vec<u32>>,
}

/// So many keys of rows met are remembered.
const MOST_MET: usize = 512;

impl<'a, T> Best<'a, T> {
    pub(super) fn new(query: &Query<'_>) -> Self {
        Self {
            k: query.k,
            bound: query.max_distance.unwrap_or(f32::INFINITY),
            hits: Vec::with_capacity(query.k.min(1_024)),
            met: Vec::new(),
            walked: None,
        }
    }

    /// How many are wanted.
    pub(super) fn wanted(&self) -> usize {
        self.k
    }

    /// No row farther away would be kept.
    pub(super) fn limit(&self) -> f32 {
        match self.hits.last() {
            Some(worst) if self.hits.len() == self.k => worst.0.min(self.bound),
            _ => self.bound,
        }
    }

    /// A walk by `ef` candidates can end beyond this key: walks of other parts met more within.
    pub(super) fn beyond(&self, ef: usize) -> f32 {
        let last = ef.saturating_add(ef / 2).max(1) - 1;
        self.met.get(last).copied().unwrap_or(f32::INFINITY)
    }

    /// Remembers keys of rows that a walk met.
    pub(super) fn meet(&mut self, keys: &[f32]) {
        self.met.extend(keys);
        self.met.sort_unstable_by(f32::total_cmp);
        self.met.truncate(MOST_MET);
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
