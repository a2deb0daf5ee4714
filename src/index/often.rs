//! Filters that are asked of a part again and again: the rows that each lets through are put in lists
//! of their own, so that those that it keeps out cost nothing (as search engines cache the answers to
//! such filters, Lucene's `LRUQueryCache` for one; here the rows' codes lie together too).
//!
//! A row's label and payload never change: what is kept stays right for as long as the part lives.

use super::inverted::Inverted;
use crate::domain::Filter;
use arc_swap::ArcSwap;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A filter is asked often that was so many times among so many of late.
const TIMES: usize = 4;
const OF_LATE: usize = 32;
/// Filters that are kept.
const KEPT: usize = 16;
/// Longer ones would take longer to recognise than they save.
const LONGEST: usize = 100;

/// A filter and the rows that it lets through.
#[derive(Debug)]
struct Known {
    filter: Filter,
    /// `None` where they would take too much room.
    lists: Option<Arc<Inverted>>,
    /// When it was last asked.
    asked: AtomicU64,
}

impl Known {
    fn bytes(&self) -> usize {
        self.lists.as_ref().map_or(0, |lists| lists.own_bytes())
    }
}

/// What is asked of a part often.
#[derive(Debug, Default)]
pub(super) struct Often {
    of_late: Mutex<VecDeque<Filter>>,
    known: ArcSwap<Vec<Arc<Known>>>,
    asked: AtomicU64,
}

impl Often {
    /// The lists of a filter that is asked often, made now if it is for the first time. All that is
    /// kept takes `room` bytes at most.
    pub(super) fn lists(
        &self,
        filter: &Filter,
        room: usize,
        make: impl FnOnce() -> Inverted,
    ) -> Option<Arc<Inverted>> {
        let now = self.asked.fetch_add(1, Ordering::Relaxed);
        let known = self.known.load();
        if let Some(known) = known.iter().find(|known| known.filter == *filter) {
            known.asked.store(now, Ordering::Relaxed);
            return known.lists.clone();
        }
        let short = filter.conditions() + filter.values() <= LONGEST;
        if !short || !self.is_often(filter) {
            return None;
        }
        let lists = Some(Arc::new(make())).filter(|lists| lists.own_bytes() <= room);
        let known = Arc::new(Known {
            filter: filter.clone(),
            lists: lists.clone(),
            asked: now.into(),
        });
        self.keep(&known, room);
        lists
    }

    /// Whether a filter was asked often enough; then it begins anew. Nobody waits to be counted.
    fn is_often(&self, filter: &Filter) -> bool {
        let Ok(mut of_late) = self.of_late.try_lock() else {
            return false;
        };
        let times = 1 + of_late.iter().filter(|f| *f == filter).count();
        if times >= TIMES {
            of_late.retain(|f| f != filter);
            return true;
        }
        of_late.push_back(filter.clone());
        if of_late.len() > OF_LATE {
            of_late.pop_front();
        }
        false
    }

    /// Keeps one more, and of the others those asked last, as far as there is room.
    fn keep(&self, one: &Arc<Known>, room: usize) {
        self.known.rcu(|known| {
            let mut kept = vec![Arc::clone(one)];
            let others = known.iter().filter(|known| known.filter != one.filter);
            kept.extend(others.cloned());
            kept[1..].sort_by_cached_key(|known| Reverse(known.asked.load(Ordering::Relaxed)));
            let mut bytes = 0;
            let fits = kept.iter().take_while(|known| {
                bytes += known.bytes();
                bytes <= room
            });
            let fits = fits.count();
            kept.truncate(fits.min(KEPT));
            kept
        });
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let known = self.known.load();
        known.iter().map(|known| known.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Metric;
    use crate::simd::AlignedRows;
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;

    fn lists() -> Inverted {
        let mut rows = AlignedRows::with_capacity(32, 300);
        for row in 0..300_u16 {
            let numbers = (0..32_u16).map(|i| f32::from(row * (i + 3) % 101));
            rows.push(&numbers.collect::<Vec<_>>());
        }
        Inverted::of(Metric::Euclidean, &rows, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn what_is_asked_often_is_kept_and_what_was_asked_last() {
        let (often, all) = (Often::default(), lists());
        let some = all.only(|row| row < 100);
        let room = 3 * some.own_bytes();
        let filter = |name: usize| Filter::Exists(name.to_string());
        let ask = |name| often.lists(&filter(name), room, || all.only(|row| row < 100));
        for _ in 1..TIMES {
            assert!(ask(0).is_none());
        }
        assert_eq!(ask(0).unwrap().order().len(), 100);
        assert_eq!(often.bytes(), some.own_bytes());
        // Many that are each asked once are not.
        assert!((1..1_000).all(|name| ask(name).is_none()));
        for name in [1, 2] {
            assert_eq!((1..=TIMES).filter(|_| ask(name).is_some()).count(), 1);
        }
        assert!(ask(0).is_some());
        assert_eq!((1..=TIMES).filter(|_| ask(3).is_some()).count(), 1);
        assert_eq!(often.bytes(), room);
        assert!(ask(0).is_some() && ask(2).is_some() && ask(3).is_some());
        assert!(ask(1).is_none(), "the one that was not asked for longest");
        let long = Filter::And(vec![Filter::HasLabel; LONGEST + 1]);
        assert!((0..9).all(|_| often.lists(&long, room, lists).is_none()));
        let made = Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            lists()
        };
        assert!((0..30).all(|_| often.lists(&filter(9), 0, make).is_none()));
        assert_eq!(made.get(), 1, "what takes too much room is made once");
        assert_eq!(often.bytes(), 0, "there is no room");
    }
}
