//! Work in the background: sealing segments at once, and, beside that, merging them, learning how they
//! are best searched for what is asked, indexing payload fields and removing what nothing needs.

use super::bell::Bell;
use super::collection::{Collection, RowTag};
use super::drift;
use super::error::Error;
use super::payload_index;
use super::writer::{Op, Write, hand_in};
use super::{Inner, now_ms};
use crate::index::Job;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often to look for chores that nobody announces.
const PERIOD: Duration = Duration::from_secs(60);
/// Records removed in one commit.
const STEP: usize = 1_000;

/// A thread's threads, of all cores one in so many: work of one kind does not wait for another's.
fn threads(one_in: usize) -> Option<ThreadPool> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = ThreadPoolBuilder::new().num_threads(cores.div_ceil(one_in));
    let pool = pool.thread_name(|n| format!("index-{n}"));
    // Without, the threads that all share do the work.
    pool.build().ok()
}

fn within<R: Send>(threads: Option<&ThreadPool>, work: impl FnOnce() -> R + Send) -> R {
    match threads {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// Works when the bell rings, until the engine closes. Work is told whether nothing was heard for a
/// whole period.
fn listen(inner: &Inner, bell: &Bell, mut work: impl FnMut(&mut bool) -> Result<(), Error>) {
    let mut quiet = false;
    while !inner.stop.load(Ordering::Acquire) {
        // What could not be written would only be done again, and again.
        let mut failed = false;
        if inner.store.failed().is_none()
            && let Err(error) = work(&mut quiet)
        {
            failed = true;
            tracing::error!(%error, "housekeeping failed; it is tried again in a minute");
            // What it rang meanwhile would only make it try at once.
            bell.wait(Duration::ZERO);
            if inner.stop.load(Ordering::Acquire) {
                return;
            }
        }
        quiet = !bell.wait(PERIOD) && !failed;
    }
}

/// Seals tails that are long enough.
pub(super) fn seal_tails(inner: &Inner, queue: &mpsc::WeakSender<Op>) {
    let threads = threads(1);
    listen(inner, &inner.bells.sealer, |quiet| {
        for collection in inner.all() {
            let next = |quiet| collection.index().next_seal(quiet);
            all_jobs(inner, queue, &collection, threads.as_ref(), quiet, next)?;
        }
        Ok(())
    });
}

/// Does all the rest, by half the cores.
pub(super) fn keep_house(inner: &Inner, queue: &mpsc::WeakSender<Op>) {
    let threads = threads(2);
    listen(inner, &inner.bells.housekeeper, |quiet| {
        chores(inner, queue, threads.as_ref(), quiet)
    });
}

fn chores(
    inner: &Inner,
    queue: &mpsc::WeakSender<Op>,
    threads: Option<&ThreadPool>,
    quiet: &mut bool,
) -> Result<(), Error> {
    for collection in inner.all() {
        let next = |quiet| collection.index().next_rewrite(quiet);
        all_jobs(inner, queue, &collection, threads, quiet, next)?;
        within(threads, || drift::check(inner, &collection));
        match payload_index::cover(inner, queue, &collection) {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                tracing::error!(collection = %collection.record().name, %error,
                    "indexing payload fields failed");
            }
        }
    }
    for number in inner.store.orphans()? {
        while inner.store.purge(number, STEP)? > 0 {
            if inner.stop.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }
    let before = now_ms().saturating_sub(inner.limits.request_memory_ms);
    while inner.store.forget_requests(before, STEP)? == STEP {}
    Ok(())
}

/// Does a collection's jobs until there is none. How long one takes, nobody knows: after it, it may not
/// be quiet any more.
fn all_jobs(
    inner: &Inner,
    queue: &mpsc::WeakSender<Op>,
    collection: &Arc<Collection>,
    threads: Option<&ThreadPool>,
    quiet: &mut bool,
    next: impl Fn(bool) -> Option<Job<RowTag>>,
) -> Result<(), Error> {
    while !collection.is_dropped()
        && !inner.stop.load(Ordering::Acquire)
        && let Some(job) = next(*quiet)
    {
        *quiet = false;
        within(threads, || seal(inner, queue, collection, job))?;
    }
    Ok(())
}

/// Builds a segment, puts its chunks on disk, and has the writer install it.
fn seal(
    inner: &Inner,
    queue: &mpsc::WeakSender<Op>,
    collection: &Arc<Collection>,
    job: Job<RowTag>,
) -> Result<(), Error> {
    let record = collection.record();
    let rows = job.rows();
    let began = std::time::Instant::now();
    tracing::info!(collection = %record.name, rows, "sealing a segment");
    let id = inner.new_segment()?;
    let Some(built) = job.build(id, &inner.stop, &|_| {}) else {
        return Ok(());
    };
    if collection.is_dropped() {
        return Ok(());
    }
    if !built.is_empty() {
        inner
            .store
            .put_segment(record.number, id, &built.encode())?;
    }
    let write = Write::Install(Arc::clone(collection), Box::new(built));
    match hand_in(queue, write) {
        Err(Error::Closed) => return Ok(()),
        done => done?,
    }
    tracing::info!(collection = %record.name, rows, seconds = began.elapsed().as_secs_f32(),
        "sealed a segment");
    Ok(())
}
