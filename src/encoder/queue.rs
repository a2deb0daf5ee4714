//! Jobs waiting for the pool's threads.

use super::{ImageError, PoolError};
use crate::domain::Embedding;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// An image, whom to answer, and the place in the queue it holds until it is taken.
pub(super) struct Job {
    pub image: Bytes,
    pub answer: oneshot::Sender<Result<Embedding, PoolError>>,
    pub place: OwnedSemaphorePermit,
}

impl Job {
    /// Answers; whether anyone still listens does not matter.
    pub fn done(self, result: Result<Embedding, PoolError>) {
        let _ = self.answer.send(result);
    }
}

impl From<ImageError> for PoolError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

/// First in, first out. Its bound is the semaphore whose permits the jobs hold.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    news: Condvar,
}

impl Queue {
    // No code that can panic runs under the lock, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job; a closed queue answers it at once.
    pub fn push(&self, job: Job) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            job.done(Err(PoolError::Closed));
        } else {
            state.jobs.push_back(job);
            drop(state);
            self.news.notify_one();
        }
    }

    pub fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// No more jobs; those that wait are still handed out.
    pub fn close(&self) {
        self.state().closed = true;
        self.news.notify_all();
    }

    /// Waits for jobs and takes this thread's fair share of them, at most `most`; jobs whose
    /// caller went away are dropped. None when closed and empty.
    pub fn take(&self, most: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        state.idle += 1;
        loop {
            let fair = state.jobs.len().div_ceil(state.idle).min(most);
            let mut batch = Vec::with_capacity(fair);
            while batch.len() < fair {
                match state.jobs.pop_front() {
                    Some(job) if job.answer.is_closed() => {}
                    Some(job) => batch.push(job),
                    None => break,
                }
            }
            if !batch.is_empty() {
                state.idle -= 1;
                return Some(batch);
            }
            if state.closed {
                state.idle -= 1;
                return None;
            }
            state = self
                .news
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
