//! Whether searches still find as much as they aim at, now that what is asked for may be unlike what
//! is stored: recent queries check it from time to time, and where they find too little the index
//! learns by them.

use super::collection::Collection;
use super::questions::spread;
use super::{Inner, lock};
use crate::domain::Embedding;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// So many queries since the last check are reason for the next.
const NEW: u64 = 100;
/// Of the queries since, so many check a segment, and by so many it is learnt again.
const ASKED: (usize, usize) = (64, 200);
/// Fewer that differ tell nothing.
const LEAST: usize = 32;
/// After a check there is none for so many times as long as it took: those of a collection
/// take a fiftieth of the time at most.
const REST: u32 = 50;

/// A collection's checks so far.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<Last>);

/// The last of them.
#[derive(Debug, Default)]
struct Last {
    /// The queries that had come by then.
    queries: u64,
    /// When the next may be.
    next: Option<Instant>,
}

impl Checks {
    /// How many queries came since the last check, of so many so far, if that is reason for one now.
    fn due(&self, queries: u64, now: Instant) -> Option<u64> {
        let last = lock(&self.0);
        let new = queries.saturating_sub(last.queries);
        (new >= NEW && last.next.is_none_or(|next| next <= now)).then_some(new)
    }

    fn done(&self, queries: u64, began: Instant, took: Duration) {
        *lock(&self.0) = Last {
            queries,
            next: Some(began + took * (REST + 1)),
        };
    }
}

/// Checks a collection's segments if that is due.
pub(super) fn check(inner: &Inner, collection: &Collection) {
    let began = Instant::now();
    let queries = collection.queries_so_far();
    let Some(new) = collection.checks().due(queries, began) else {
        return;
    };
    let checks_done = || collection.checks().done(queries, began, began.elapsed());
    let record = collection.record();
    let recent = collection.recent_queries();
    let new = recent.len().min(usize::try_from(new).unwrap_or(usize::MAX));
    let recent = different(&recent[recent.len() - new..]);
    if recent.len() < LEAST {
        checks_done();
        return;
    }
    let chosen = |most| -> Vec<Embedding> {
        let places = spread(recent.len(), most).into_iter();
        places.map(|place| recent[place].clone()).collect()
    };
    let go_on = || !collection.is_dropped() && !inner.stop.load(Ordering::Acquire);
    let (few, many) = (chosen(ASKED.0), chosen(ASKED.1));
    let snapshot = collection.snapshot();
    for learnt in snapshot.relearn(record.recall, &few, &many, go_on) {
        tracing::info!(collection = %record.name, segment = learnt.segment,
            before = learnt.before, after = learnt.after, target = record.recall.get(),
            "recent queries found too little: learnt how to search a segment for them");
    }
    checks_done();
}

/// Each vector once: what is asked again and again tells no more.
fn different(vectors: &[Embedding]) -> Vec<&Embedding> {
    let mut seen: HashSet<Vec<u32>> = HashSet::new();
    let bits = |vector: &Embedding| vector.as_slice().iter().map(|v| v.to_bits()).collect();
    let each = vectors.iter();
    each.filter(|vector| seen.insert(bits(vector))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_due_once_enough_came_and_the_last_one_is_long_over() {
        let (checks, began) = (Checks::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(checks.due(99, at(0)), None);
        assert_eq!(checks.due(100, at(0)), Some(100));
        checks.done(120, at(0), Duration::from_secs(2));
        assert_eq!(checks.due(220, at(101)), None, "too soon");
        assert_eq!(checks.due(219, at(102)), None, "too few");
        assert_eq!(checks.due(5_000, at(102)), Some(4_880));
    }
}
