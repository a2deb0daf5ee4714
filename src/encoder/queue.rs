//! Jobs waiting for the pool's threads.

use super::{Encoder, PoolError};
use crate::domain::Embedding;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// An image, who embeds it, whom to answer, and the place in the queue it holds until it is taken.
pub(super) struct Job {
    pub image: Bytes,
    pub encoder: Arc<Encoder>,
    pub answer: oneshot::Sender<Result<Embedding, PoolError>>,
    pub place: OwnedSemaphorePermit,
}

impl Job {
    /// Answers; whether anyone still listens does not matter.
    pub fn done(self, result: Result<Embedding, PoolError>) {
        let _ = self.answer.send(result);
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

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    type Answer = oneshot::Receiver<Result<Embedding, PoolError>>;

    fn job(name: u8, places: &Arc<Semaphore>) -> (Job, Answer) {
        let (answer, answered) = oneshot::channel();
        let place = Arc::clone(places).try_acquire_owned().unwrap();
        let image = Bytes::from(vec![name]);
        let job = Job {
            image,
            encoder: Encoder::bundled().unwrap(),
            answer,
            place,
        };
        (job, answered)
    }

    fn names(batch: &[Job]) -> Vec<u8> {
        batch.iter().map(|job| job.image[0]).collect()
    }

    #[test]
    fn first_in_first_out_without_those_who_left() {
        let (queue, places) = (Queue::default(), Arc::new(Semaphore::new(8)));
        let mut answers = Vec::new();
        for name in 0..6 {
            let (job, answer) = job(name, &places);
            queue.push(job);
            answers.push(answer);
        }
        drop(answers.remove(2));
        assert_eq!(places.available_permits(), 2);
        assert_eq!(names(&queue.take(3).unwrap()), [0, 1, 3]);
        // Taken or dropped, their places are free again.
        assert_eq!(places.available_permits(), 6);
        queue.close();
        assert_eq!(names(&queue.take(3).unwrap()), [4, 5]);
        assert!(queue.take(3).is_none());
        let (late, mut answer) = job(9, &places);
        queue.push(late);
        assert_eq!(answer.try_recv().unwrap(), Err(PoolError::Closed));
    }

    #[test]
    fn threads_that_wait_share() {
        let (queue, places) = (Queue::default(), Arc::new(Semaphore::new(8)));
        queue.state().idle = 1;
        let mut answers = Vec::new();
        for name in 0..5 {
            let (job, answer) = job(name, &places);
            queue.push(job);
            answers.push(answer);
        }
        assert_eq!(queue.take(64).unwrap().len(), 3);
    }
}
