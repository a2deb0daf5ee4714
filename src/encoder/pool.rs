//! Embeds for many callers on a few threads of its own, never on an async one.
//!
//! One bounded queue for all encoders; a thread that is free takes what waits, up to a batch, without
//! waiting for more. A caller that goes away takes its job with it. A panic is contained.

use super::queue::{Job, Queue};
use super::{Encoder, ImageError, Prepared};
use crate::domain::{Embedding, Views};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

/// The pool's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Threads; by default one a core. At least 1.
    pub threads: usize,
    /// Most images that wait, each counted as often as it has views. At least 1.
    pub queue: usize,
    /// Most images that pass through the tower together, counted likewise; one of more views
    /// passes alone. At least 1.
    pub max_batch: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            threads: thread::available_parallelism().map_or(1, usize::from),
            queue: 1024,
            max_batch: 64,
        }
    }
}

/// An image file, PNG, JPEG or PNM, and which of its views are embedded.
#[derive(Debug, Clone)]
pub struct Viewed {
    /// The file.
    pub image: Bytes,
    /// The views.
    pub views: Views,
}

impl From<Bytes> for Viewed {
    /// The image itself.
    fn from(image: Bytes) -> Self {
        let views = Views::ONE;
        Self { image, views }
    }
}

/// Why the pool gave no embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The image was refused.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// No room in the queue.
    #[error("encoder busy: {queue} images wait, which is the most allowed")]
    Busy {
        /// The queue's length.
        queue: usize,
    },
    /// The pool is shutting down.
    #[error("encoder closed")]
    Closed,
    /// The encoder failed; not the caller's fault.
    #[error("encoder failed: {0}")]
    Failed(String),
}

/// Threads that embed, with whichever encoders. Dropping it finishes what waits and joins them.
#[derive(Debug)]
pub struct Pool {
    queue: Arc<Queue>,
    places: Arc<Semaphore>,
    length: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads. Should the system refuse some, the pool does with fewer; with
    /// none at all it is closed from the start.
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        let length = options.queue.clamp(1, Semaphore::MAX_PERMITS);
        let queue = Arc::new(Queue::default());
        let batch = options.max_batch.max(1);
        let threads: Vec<_> = (0..options.threads.max(1))
            .filter_map(|i| {
                let queue = Arc::clone(&queue);
                thread::Builder::new()
                    .name(format!("encoder-{i}"))
                    .spawn(move || {
                        while let Some(jobs) = queue.take(batch) {
                            for jobs in by_encoder(jobs) {
                                work(jobs);
                            }
                        }
                    })
                    .ok()
            })
            .collect();
        if threads.is_empty() {
            queue.close();
        }
        Self {
            queue,
            places: Arc::new(Semaphore::new(length)),
            length,
            threads,
        }
    }

    /// Embeds an image file; waits while the queue is full.
    ///
    /// # Errors
    /// The image was refused, the pool is closed, or the encoder failed.
    pub async fn embed(
        &self,
        encoder: Arc<Encoder>,
        image: impl Into<Viewed>,
    ) -> Result<Embedding, PoolError> {
        let image = image.into();
        let place = Arc::clone(&self.places)
            .acquire_many_owned(self.places_of(&image))
            .await
            .map_err(|_| PoolError::Closed)?;
        self.enqueue(encoder, image, place).await
    }

    /// Embeds an image file; does not wait for room.
    ///
    /// # Errors
    /// As [`Pool::embed`], and [`PoolError::Busy`] when the queue is full.
    pub async fn try_embed(
        &self,
        encoder: Arc<Encoder>,
        image: impl Into<Viewed>,
    ) -> Result<Embedding, PoolError> {
        let image = image.into();
        let place = Arc::clone(&self.places)
            .try_acquire_many_owned(self.places_of(&image))
            .map_err(|e| match e {
                TryAcquireError::Closed => PoolError::Closed,
                TryAcquireError::NoPermits => PoolError::Busy { queue: self.length },
            })?;
        self.enqueue(encoder, image, place).await
    }

    /// As [`Pool::embed`], for a thread that may block. Not for use in async code.
    ///
    /// # Errors
    /// As [`Pool::embed`].
    pub fn embed_blocking(
        &self,
        encoder: Arc<Encoder>,
        image: impl Into<Viewed>,
    ) -> Result<Embedding, PoolError> {
        block_on(self.embed(encoder, image))
    }

    /// Images that wait now, each counted as often as it has views.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Refuses new images from now on; those that wait are still embedded.
    pub fn close(&self) {
        self.places.close();
        self.queue.close();
    }

    /// One a view; a queue that is shorter than that takes the image when it is empty.
    fn places_of(&self, image: &Viewed) -> u32 {
        let places = image.views.count().min(self.length);
        u32::try_from(places).unwrap_or(u32::MAX)
    }

    async fn enqueue(
        &self,
        encoder: Arc<Encoder>,
        image: Viewed,
        place: OwnedSemaphorePermit,
    ) -> Result<Embedding, PoolError> {
        let (answer, answered) = oneshot::channel();
        self.queue.push(Job {
            image,
            encoder,
            answer,
            place,
        });
        answered.await.unwrap_or(Err(PoolError::Closed))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // Panics are contained in `work`; there is nothing to learn from one here.
            let _ = thread.join();
        }
    }
}

/// The jobs of each encoder, in the order of its first; a tower takes its own at once.
fn by_encoder(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut groups: Vec<Vec<Job>> = Vec::new();
    for job in jobs {
        let of_it = |group: &&mut Vec<Job>| Arc::ptr_eq(&group[0].encoder, &job.encoder);
        match groups.iter_mut().find(of_it) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

/// Decodes and embeds a batch of one encoder, and answers each job.
fn work(jobs: Vec<Job>) {
    let Some(encoder) = jobs.first().map(|job| Arc::clone(&job.encoder)) else {
        return;
    };
    let (waiting, images): (Vec<Job>, Vec<Vec<Prepared>>) = decode(jobs).into_iter().unzip();
    let failed = match catch_unwind(AssertUnwindSafe(|| encoder.embed_views(images))) {
        Ok(Ok(embeddings)) => {
            for (job, embedding) in waiting.into_iter().zip(embeddings) {
                job.done(Ok(embedding));
            }
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    for job in waiting {
        job.done(Err(PoolError::Failed(failed.clone())));
    }
}

/// Decodes what someone still waits for; who is refused is answered, who is gone is left out.
fn decode(jobs: Vec<Job>) -> Vec<(Job, Vec<Prepared>)> {
    let mut ready = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        // The queue has room again as soon as the job is no longer in it.
        drop(job.place.split(job.place.num_permits()));
        if job.answer.is_closed() {
            continue;
        }
        let Viewed { image, views } = &job.image;
        match job.encoder.prepare_views(image, *views) {
            Ok(views) => ready.push((job, views)),
            Err(error) => job.done(Err(error.into())),
        }
    }
    // Large images take seconds; callers went away meanwhile.
    ready.retain(|(job, _)| !job.answer.is_closed());
    ready
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that needs no runtime, on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gone_after_its_job_was_taken_costs_nothing() {
        let places = Arc::new(Semaphore::new(3));
        let mut png = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(8, 8)
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let image = Bytes::from(png.into_inner());
        let (jobs, mut answers): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (answer, answered) = oneshot::channel();
                let place = Arc::clone(&places).try_acquire_owned().unwrap();
                let image = Viewed::from(image.clone());
                let job = Job {
                    image,
                    encoder: Encoder::bundled().unwrap(),
                    answer,
                    place,
                };
                (job, answered)
            })
            .unzip();
        drop(answers.remove(1));
        let ready = decode(jobs);
        assert_eq!((ready.len(), places.available_permits()), (2, 3));
    }
}
