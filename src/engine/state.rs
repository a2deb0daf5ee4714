//! One consistent state of a collection, for as long as a query reads it.

use super::Inner;
use super::collection::{Collection, RowTag};
use super::error::Error;
use super::limits::Limits;
use super::search::Nearest;
use crate::index::Snapshot;
use crate::store::{ItemRecord, Tag};
use std::cell::{Cell, RefCell};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a query is tried beside a busy writer before the writer is made to wait.
const TRIES: usize = 2;

/// A snapshot of the index, and the records that belong to it.
pub(super) struct State<'a> {
    inner: &'a Inner,
    collection: &'a Collection,
    snapshot: Snapshot<RowTag>,
    given_up: &'a AtomicBool,
    moved: Cell<bool>,
    index_time: Cell<Duration>,
    failure: RefCell<Option<Error>>,
}

/// Runs a query on one state: again if records changed under it, at last with the writer waiting.
/// Once nobody waits for the answer any more, it may be anything.
pub(super) fn consistently<T>(
    inner: &Inner,
    collection: &Collection,
    given_up: &AtomicBool,
    read: impl Fn(&State<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..TRIES {
        let state = State::new(inner, collection, given_up);
        let answer = state.finish(&read);
        if !state.moved.get() || state.is_given_up() {
            return answer;
        }
    }
    let _gate = inner.gate.read().unwrap_or_else(PoisonError::into_inner);
    let state = State::new(inner, collection, given_up);
    state.finish(&read)
}

impl<'a> State<'a> {
    fn new(inner: &'a Inner, collection: &'a Collection, given_up: &'a AtomicBool) -> Self {
        Self {
            inner,
            collection,
            snapshot: collection.snapshot(),
            given_up,
            moved: Cell::new(false),
            index_time: Cell::default(),
            failure: RefCell::default(),
        }
    }

    fn finish<T>(&self, read: impl Fn(&Self) -> Result<T, Error>) -> Result<T, Error> {
        let answer = read(self)?;
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(super) fn collection(&self) -> &Collection {
        self.collection
    }

    pub(super) fn snapshot(&self) -> &Snapshot<RowTag> {
        &self.snapshot
    }

    /// Asks the index, and takes the time.
    pub(super) fn timed<'s, R>(&'s self, ask: impl FnOnce(&'s Snapshot<RowTag>) -> R) -> R {
        let began = Instant::now();
        let answer = ask(&self.snapshot);
        self.index_time.set(self.index_time.get() + began.elapsed());
        answer
    }

    /// What was found in this state.
    pub(super) fn nearest<T>(&self, found: Vec<T>) -> Nearest<T> {
        Nearest {
            found,
            model: self.collection.record().model.clone(),
            index_time: self.index_time.get(),
        }
    }

    /// The record of a row of this state; `None` if it has changed, and the query is in vain.
    pub(super) fn record(&self, seq: u64, tag: &Tag) -> Result<Option<ItemRecord>, Error> {
        let number = self.collection.record().number;
        let record = self.inner.store.item(number, &tag.id)?;
        let record = record.filter(|r| r.seq == seq);
        if record.is_none() {
            self.moved.set(true);
        }
        Ok(record)
    }

    /// The source image of a row of this state, if one is kept.
    pub(super) fn image(&self, record: &ItemRecord) -> Result<Option<Vec<u8>>, Error> {
        let Some(image) = record.image else {
            return Ok(None);
        };
        let number = self.collection.record().number;
        let bytes = self.inner.store.image(number, image)?;
        if bytes.is_none() {
            self.moved.set(true);
        }
        Ok(bytes)
    }

    /// The record of a row of this state, if it can be read. What goes wrong fails the query at its
    /// end.
    pub(super) fn readable(&self, seq: u64, tag: &Tag) -> Option<ItemRecord> {
        self.record(seq, tag).unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            None
        })
    }
}
