//! What was asked of a collection of late: the questions that measure it as it is used.

use crate::domain::Embedding;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most queries remembered of a collection.
const MOST: usize = 1_000;
/// Most bytes of them: fewer are remembered where vectors are long.
const MOST_BYTES: usize = 4 << 20;

/// The vectors of the latest queries, in memory only.
#[derive(Debug)]
pub(super) struct Recent {
    most: usize,
    queries: Mutex<Queries>,
}

#[derive(Debug, Default)]
struct Queries {
    /// The latest last.
    latest: VecDeque<Embedding>,
    /// How many came, with those that are forgotten.
    came: u64,
}

impl Recent {
    /// Of queries of a dimension.
    pub(super) fn new(dim: usize) -> Self {
        let fit = MOST_BYTES / (dim * size_of::<f32>()).max(1);
        Self {
            most: fit.clamp(1, MOST),
            queries: Mutex::default(),
        }
    }

    /// Remembers a query in the place of the oldest; not where that would have to wait.
    pub(super) fn remember(&self, query: &Embedding) {
        let Ok(mut queries) = self.queries.try_lock() else {
            return;
        };
        if queries.latest.len() == self.most {
            queries.latest.pop_front();
        }
        queries.latest.push_back(query.clone());
        queries.came += 1;
    }

    /// Those remembered, the latest last.
    pub(super) fn all(&self) -> Vec<Embedding> {
        self.lock().latest.iter().cloned().collect()
    }

    /// How many came so far.
    pub(super) fn came(&self) -> u64 {
        self.lock().came
    }

    fn lock(&self) -> MutexGuard<'_, Queries> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MAX_DIM, Metric};

    fn query(first: usize, dim: usize) -> Embedding {
        let mut values = vec![1.0; dim];
        values[0] = f32::from(u16::try_from(first).unwrap());
        Embedding::new(values, dim, Metric::Euclidean).unwrap()
    }

    #[test]
    fn the_latest_are_remembered_and_never_more_than_fit() {
        for (dim, most) in [(2, 1_000), (1_048, 1_000), (2_048, 512), (MAX_DIM, 256)] {
            let recent = Recent::new(dim);
            assert!(recent.all().is_empty());
            for n in 0..most + 3 {
                recent.remember(&query(n, dim));
            }
            let all = recent.all();
            assert_eq!(all.len(), most);
            assert_eq!(all[0], query(3, dim));
            assert_eq!(all[most - 1], query(most + 2, dim));
            assert_eq!(recent.came(), most as u64 + 3);
        }
    }

    #[test]
    fn a_search_does_not_wait_to_be_remembered() {
        let recent = Recent::new(2);
        let held = recent.queries.lock().unwrap();
        recent.remember(&query(1, 2));
        drop(held);
        assert!(recent.all().is_empty());
    }
}
