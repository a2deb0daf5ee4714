//! Jobs waiting for the pool's threads.

use super::{Encoder, PoolError, Viewed};
use crate::domain::Embedding;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// An image, who embeds it, whom to answer, and the places in the queue, one a view, that it
/// holds until it is taken.
pub(super) struct Job {
    pub image: Viewed,
    pub encoder: Arc<Encoder>,
    pub answer: oneshot::Sender<Result<Embedding, PoolError>>,
    pub place: OwnedSemaphorePermit,
}

impl Job {
    /// Images that it passes through the tower.
    fn size(&self) -> usize {
        self.image.views.count()
    }

    /// Answers; whether anyone still listens does not matter.
    pub fn done(self, result: Result<Embedding, PoolError>) {
        let _ = self.answer.send(result);
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The size of all jobs.
    size: usize,
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
            state.size += job.size();
            state.jobs.push_back(job);
            drop(state);
            self.news.notify_one();
        }
    }

    /// Views that wait.
    pub fn len(&self) -> usize {
        self.state().size
    }

    /// No more jobs; those that wait are still handed out.
    pub fn close(&self) {
        self.state().closed = true;
        self.news.notify_all();
    }

    /// Waits for jobs and takes this thread's fair share of them, at most `most` views or one
    /// job; jobs whose caller went away are dropped. None when closed and empty.
    pub fn take(&self, most: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        state.idle += 1;
        loop {
            let fair = state.size.div_ceil(state.idle).min(most);
            let (mut batch, mut taken) = (Vec::new(), 0);
            while let Some(job) = state.jobs.pop_front() {
                let (size, gone) = (job.size(), job.answer.is_closed());
                if !gone && !batch.is_empty() && taken + size > fair {
                    state.jobs.push_front(job);
                    break;
                }
                state.size -= size;
                if !gone {
                    taken += size;
                    batch.push(job);
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
    use crate::domain::{ViewNumber, Views};
    use bytes::Bytes;
    use tokio::sync::Semaphore;

    type Answer = oneshot::Receiver<Result<Embedding, PoolError>>;

    fn job(name: u8, places: &Arc<Semaphore>) -> (Job, Answer) {
        viewed(name, 1, places)
    }

    fn viewed(name: u8, views: u32, places: &Arc<Semaphore>) -> (Job, Answer) {
        let (answer, answered) = oneshot::channel();
        let place = Arc::clone(places).try_acquire_many_owned(views).unwrap();
        let image = Viewed {
            image: Bytes::from(vec![name]),
            views: Views::Mean(ViewNumber::new("views", views).unwrap()),
        };
        let job = Job {
            image,
            encoder: Encoder::bundled().unwrap(),
            answer,
            place,
        };
        (job, answered)
    }

    fn names(batch: &[Job]) -> Vec<u8> {
        batch.iter().map(|job| job.image.image[0]).collect()
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
    fn a_batch_is_counted_in_views_and_holds_one_job_at_least() {
        let (queue, places) = (Queue::default(), Arc::new(Semaphore::new(64)));
        let mut answers = Vec::new();
        for (name, views) in [(0, 3), (1, 4), (2, 2), (3, 32), (4, 1)] {
            let (job, answer) = viewed(name, views, &places);
            queue.push(job);
            answers.push(answer);
        }
        assert_eq!((queue.len(), places.available_permits()), (42, 22));
        assert_eq!(names(&queue.take(8).unwrap()), [0, 1]);
        assert_eq!(names(&queue.take(8).unwrap()), [2]);
        assert_eq!(names(&queue.take(8).unwrap()), [3]);
        // Who left counts no longer.
        drop(answers.pop());
        queue.close();
        assert!(queue.take(8).is_none());
        assert_eq!((queue.len(), places.available_permits()), (0, 64));
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
