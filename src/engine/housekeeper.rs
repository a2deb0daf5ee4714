//! Work in the background: sealing and merging segments, and removing what nothing needs.

use super::collection::{Collection, RowTag};
use super::error::Error;
use super::payload_index;
use super::writer::{Op, Write, hand_in};
use super::{Inner, lock, now_ms};
use crate::index::Job;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often to look for chores that nobody announces.
const PERIOD: Duration = Duration::from_secs(60);
/// Records removed in one commit.
const STEP: usize = 1_000;

/// Runs until the engine closes.
pub(super) fn run(inner: &Inner, queue: &mpsc::WeakSender<Op>) {
    while !inner.stop.load(Ordering::Acquire) {
        if let Err(error) = chores(inner, queue) {
            tracing::error!(%error, "housekeeping failed; it is tried again in a minute");
            *lock(&inner.chores.0) = false;
        }
        wait(inner);
    }
}

fn wait(inner: &Inner) {
    let (announced, bell) = &inner.chores;
    let guard = lock(announced);
    let waited = bell.wait_timeout_while(guard, PERIOD, |announced| {
        !*announced && !inner.stop.load(Ordering::Acquire)
    });
    let (mut announced, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
    *announced = false;
}

fn chores(inner: &Inner, queue: &mpsc::WeakSender<Op>) -> Result<(), Error> {
    // What could not be written would only be done again, and again.
    if inner.store.failed().is_some() {
        return Ok(());
    }
    for collection in inner.all() {
        while !collection.is_dropped()
            && let Some(job) = collection.index().next_job()
        {
            if inner.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            seal(inner, queue, &collection, job)?;
        }
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
    let id = inner.store.next_segment()?;
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
