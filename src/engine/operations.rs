//! Work that takes long: asked for, waited for in a line, done one at a time, and told of.
//!
//! Each is on disk from when it is accepted. What a server that stops leaves undone is told
//! as aborted by the next: nothing goes on by itself.

use super::error::{Error, Resource};
use super::operation::{Cause, End, Entry, Operation, read};
use super::requests::{Outcome, RequestKey};
use super::training::{self, Progress, Task};
use super::writer::Op;
use super::{Engine, Inner, lock, now_ms};
use crate::store::{Batch, Store};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the names of operations begin with.
const PREFIX: &str = "operations/";

#[derive(Debug, Default)]
struct State {
    /// By name, which is by time.
    all: BTreeMap<String, Arc<Entry>>,
    waiting: VecDeque<Arc<Entry>>,
    running: Option<Arc<Entry>>,
    stopped: bool,
}

/// All operations of a server.
#[derive(Debug, Default)]
pub(super) struct Operations {
    state: Mutex<State>,
    bell: Condvar,
    /// Held while one is accepted: a request sent twice at once is accepted once.
    accepting: Mutex<()>,
}

impl Operations {
    /// Reads what earlier servers were asked for; what they did not end, ends now.
    pub(super) fn open(store: &Store) -> Result<Self, Error> {
        let mut state = State::default();
        let mut batch = Batch::new();
        for record in store.operations() {
            let operation = match record.map_err(Error::from).and_then(read) {
                Ok(operation) => operation,
                Err(error) => {
                    tracing::error!(%error, "an operation's record cannot be read");
                    continue;
                }
            };
            let undone = operation.end.is_none();
            let name = operation.name.clone();
            let entry = Entry::new(operation);
            if undone {
                let why = "the server stopped before it was done; ask for it again";
                entry.end(End::Failed(Cause::Aborted, why.into()), now_ms());
                batch.put_operation(&entry.read().record()?);
            }
            state.all.insert(name, entry);
        }
        if store.failed().is_none() {
            store.clear_scratch()?;
            store.commit(batch)?;
        }
        Ok(Self {
            state: Mutex::new(state),
            ..Self::default()
        })
    }

    /// Waits for the next; `None` once the server stops.
    fn next(&self) -> Option<Arc<Entry>> {
        let mut state = lock(&self.state);
        state.running = None;
        loop {
            if state.stopped {
                return None;
            }
            if let Some(next) = state.waiting.pop_front() {
                state.running = Some(Arc::clone(&next));
                return Some(next);
            }
            let waited = self.bell.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends what runs; begins nothing any more.
    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        if let Some(running) = &state.running {
            running.stop();
        }
        self.bell.notify_all();
    }

    fn get(&self, name: &str) -> Result<Arc<Entry>, Error> {
        let found = lock(&self.state).all.get(name).cloned();
        found.ok_or_else(|| Error::not_found(Resource::Operation, name))
    }
}

/// Does what is asked for, one after the other, until the server stops.
pub(super) fn run(inner: &Inner, queue: &mpsc::WeakSender<Op>) {
    give_way();
    while let Some(entry) = inner.operations.next() {
        // Somebody who waited in the line was cancelled: that is told already.
        if entry.read().end.is_some() {
            continue;
        }
        entry.begin();
        let Operation { name, task, .. } = entry.read();
        tracing::info!(name, ?task, "an operation begins");
        let done = catch_unwind(AssertUnwindSafe(|| {
            training::run(inner, queue, &name, &task, &entry)
        }));
        let outcome = done.unwrap_or_else(|_| End::Failed(Cause::Internal, "it panicked".into()));
        let outcome = match outcome {
            End::Failed(Cause::Cancelled, _) if inner.stop.load(Ordering::Acquire) => End::Failed(
                Cause::Aborted,
                "the server was stopped; ask for it again".into(),
            ),
            outcome => outcome,
        };
        tracing::info!(name, ?outcome, "an operation has ended");
        if let Err(error) = inner.finish(&entry, outcome) {
            tracing::error!(name, %error, "how an operation ended could not be written");
        }
    }
}

/// Lets all other threads go first, where the system can do that for one thread; the threads
/// that it starts inherit it.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::warn!(%error, "long work runs at the priority of all else");
    }
}

impl Inner {
    /// Writes and then tells how an operation ended; forgets the oldest beyond the limit.
    fn finish(&self, entry: &Entry, how: End) -> Result<(), Error> {
        let mut operation = entry.read();
        operation.end = Some(how.clone());
        let ended_ms = now_ms();
        operation.ended_ms = Some(ended_ms);
        let mut batch = Batch::new();
        batch.put_operation(&operation.record()?);
        let forgotten: Vec<String> = {
            let state = lock(&self.operations.state);
            let ended = state.all.iter();
            let ended = ended.filter(|(_, entry)| entry.read().end.is_some());
            let ended: Vec<_> = ended.map(|(name, _)| name.clone()).collect();
            let beyond = (ended.len() + 1).saturating_sub(self.limits.max_operations);
            ended.into_iter().take(beyond).collect()
        };
        for name in &forgotten {
            batch.delete_operation(name);
        }
        let committed = self.store.commit(batch);
        // Told also where it could not be written: nobody is to wait for ever.
        let mut state = lock(&self.operations.state);
        for name in &forgotten {
            state.all.remove(name);
        }
        entry.end(how, ended_ms);
        Ok(committed?)
    }

    /// Takes an operation into the line, once it is on disk. Blocks.
    fn accept(&self, task: Task, request: Option<&RequestKey>) -> Result<Operation, Error> {
        let _accepting = lock(&self.operations.accepting);
        if let Some(key) = request
            && let Some((_, bytes)) = self.store.request(key.as_bytes())?
            && let Outcome::Accepted(name) = Outcome::decode(&bytes)?
        {
            return Ok(self.operations.get(&name)?.read());
        }
        {
            let state = lock(&self.operations.state);
            if state.stopped {
                return Err(Error::Closed);
            }
            if state.waiting.len() >= self.limits.max_waiting_operations {
                return Err(Error::Busy {
                    queue: "the line of operations",
                });
            }
        }
        let name = format!("{PREFIX}{}", uuid::Uuid::now_v7());
        let operation = Operation {
            name: name.clone(),
            task,
            progress: Progress::default(),
            begun: false,
            created_ms: now_ms(),
            ended_ms: None,
            end: None,
        };
        let entry = Entry::new(operation.clone());
        let mut batch = Batch::new();
        batch.put_operation(&entry.read().record()?);
        if let Some(key) = request {
            let outcome = Outcome::Accepted(name.clone()).encode()?;
            batch.put_request(key.as_bytes(), now_ms(), &outcome);
        }
        self.store.commit(batch)?;
        let mut state = lock(&self.operations.state);
        state.all.insert(name, Arc::clone(&entry));
        state.waiting.push_back(entry);
        self.operations.bell.notify_one();
        Ok(operation)
    }
}

impl Engine {
    /// Accepts work that takes long.
    pub(super) async fn accept(
        &self,
        task: Task,
        request: Option<RequestKey>,
    ) -> Result<Operation, Error> {
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        blocking(move || inner.accept(task, request.as_ref())).await
    }

    /// An operation as it stands.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn operation(&self, name: &str) -> Result<Operation, Error> {
        Ok(self.inner.operations.get(name)?.read())
    }

    /// Up to `limit` operations after `after`, the oldest first.
    #[must_use]
    pub fn operations(&self, after: Option<&str>, limit: usize) -> Vec<Operation> {
        let state = lock(&self.inner.operations.state);
        let all = state.all.iter();
        let rest = all.filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
        rest.take(limit).map(|(_, entry)| entry.read()).collect()
    }

    /// Waits until an operation has ended, at most so long; answers how it stands then.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn wait_operation(&self, name: &str, most: Duration) -> Result<Operation, Error> {
        let entry = self.inner.operations.get(name)?;
        let mut ended = entry.ended();
        // Whether it ended or the time did is seen in what is answered.
        let _ = tokio::time::timeout(most, ended.wait_for(|ended| *ended)).await;
        Ok(entry.read())
    }

    /// Asks an operation to end; one that has ended stays as it is.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn cancel_operation(&self, name: &str) -> Result<(), Error> {
        let entry = self.inner.operations.get(name)?;
        entry.stop();
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        blocking(move || {
            {
                let mut state = lock(&inner.operations.state);
                let waiting = state.waiting.iter();
                let mut waiting = waiting.enumerate();
                let at = waiting.find(|(_, waits)| Arc::ptr_eq(waits, &entry));
                let Some((at, _)) = at else {
                    return Ok(());
                };
                state.waiting.remove(at);
            }
            let why = "cancelled before it began";
            inner.finish(&entry, End::Failed(Cause::Cancelled, why.into()))
        })
        .await
    }

    /// Forgets an operation that has ended; what it made stays.
    ///
    /// # Errors
    /// There is none of this name; it is under way.
    pub async fn delete_operation(&self, name: &str) -> Result<(), Error> {
        let entry = self.inner.operations.get(name)?;
        if entry.read().end.is_none() {
            return Err(Error::UnderWay {
                operation: name.to_owned(),
            });
        }
        let (inner, name): (Arc<Inner>, _) = (Arc::clone(&self.inner), name.to_owned());
        blocking(move || {
            let mut batch = Batch::new();
            batch.delete_operation(&name);
            inner.store.commit(batch)?;
            lock(&inner.operations.state).all.remove(&name);
            Ok(())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::Internal(format!("it failed: {e}")))?
}
