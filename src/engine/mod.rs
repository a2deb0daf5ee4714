//! The whole product as a Rust API.
//!
//! ```text
//! write:  check, embed (the encoder's pool) -> queue -> the writer: one durable commit -> index -> answer
//! search: embed the probe -> one snapshot of the index -> records from the store -> hits
//! ```
//!
//! An [`Engine`] needs a tokio runtime; nothing here blocks its threads for long.

mod bell;
mod calibrate;
mod classify;
mod collection;
mod collections;
mod compare;
mod decide;
mod drift;
mod embed;
mod error;
mod groups;
mod housekeeper;
mod importing;
mod inspect;
mod item;
mod items;
mod limits;
mod matching;
mod models;
mod one_to_one;
mod operation;
mod operations;
mod payload_index;
mod plan;
mod probe;
mod queries;
mod questions;
mod recall;
mod recent;
mod registry;
mod requests;
mod search;
mod size;
mod state;
mod training;
mod verify;
mod writer;

pub use crate::encoder::ImageError;
pub use crate::store::{CollectionRecord, PayloadIndex};
pub use calibrate::Calibrate;
pub use classify::{Answer, Classify, LabelScore, Method};
pub use collections::{NewCollection, Source, Stats};
pub use compare::Compared;
pub use decide::{Decide, OperatingPoint};
pub use error::{Error, Resource};
pub use groups::Group;
pub use importing::Import;
pub use item::{Change, Content, GivenImage, GivenVector, NewItem, Stored, Upserted};
pub use items::{Reserved, Staged, Ticket};
pub use limits::{Limits, count};
pub use one_to_one::ClassifyBatch;
pub use operation::{Cause, End, Operation};
pub use probe::Probe;
pub use queries::{Found, View};
pub use recall::{MeasureRecall, MeasuredRecall};
pub use registry::{Model, Shown, Transfer};
pub use search::{Hit, Nearest, Search};
pub use training::{Progress, Task, Train, Trained};

use crate::domain::CollectionName;
use crate::encoder::{Encoder, Pool, PoolOptions};
use crate::store::{self, Store};
use bell::Bell;
use collection::Collection;
use models::Models;
use operations::Operations;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, mpsc, oneshot};
use writer::{Op, Write};

/// How an engine is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The store's.
    pub store: store::Options,
    /// The encoder pool's.
    pub pool: PoolOptions,
    /// Limits on requests.
    pub limits: Limits,
}

/// What readers, the writer and the background share.
struct Inner {
    store: Store,
    models: Models,
    operations: Operations,
    limits: Limits,
    collections: RwLock<BTreeMap<CollectionName, Arc<Collection>>>,
    /// Held for writing from a commit until the index shows it.
    gate: RwLock<()>,
    sequence: AtomicU64,
    /// Set when work in the background is to stop.
    stop: AtomicBool,
    bells: Bells,
    /// The last number that a segment was given.
    last_segment: Mutex<u64>,
}

/// Of the threads that work in the background.
#[derive(Debug, Default)]
struct Bells {
    sealer: Bell,
    housekeeper: Bell,
}

/// A database, open.
#[derive(Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    pool: Pool,
    queue: Mutex<Option<mpsc::Sender<Op>>>,
    bytes: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Opens the database in `dir`, made if it is not there. Blocks while it loads. `encoder`:
    /// the model of new collections.
    ///
    /// # Errors
    /// The directory is in use, damaged, or of a newer version; see [`store::Error`].
    pub fn open(dir: &Path, encoder: Arc<Encoder>, options: &Options) -> Result<Self, Error> {
        let limits = options.limits.clone();
        let store = Store::open(dir, &options.store)?;
        let inner = Inner {
            sequence: AtomicU64::new(store.sequence()?),
            operations: Operations::open(&store)?,
            models: Models::open(&store, encoder, limits.max_loaded_bytes)?,
            store,
            collections: RwLock::default(),
            gate: RwLock::new(()),
            stop: AtomicBool::new(false),
            bells: Bells::default(),
            last_segment: Mutex::default(),
            limits: limits.clone(),
        };
        inner.load()?;
        inner.keep_pinned()?;
        let inner = Arc::new(inner);
        let (queue, writes) = mpsc::channel(limits.write_queue);
        let threads = vec![
            spawn("writer", Arc::clone(&inner), {
                move |inner| writer::run(inner, writes)
            })?,
            spawn("sealer", Arc::clone(&inner), {
                let queue = queue.downgrade();
                move |inner| housekeeper::seal_tails(inner, &queue)
            })?,
            spawn("housekeeper", Arc::clone(&inner), {
                let queue = queue.downgrade();
                move |inner| housekeeper::keep_house(inner, &queue)
            })?,
            spawn("operations", Arc::clone(&inner), {
                let queue = queue.downgrade();
                move |inner| operations::run(inner, &queue)
            })?,
        ];
        Ok(Self {
            inner,
            pool: Pool::new(options.pool),
            queue: Mutex::new(Some(queue)),
            bytes: Arc::new(Semaphore::new(limits.max_bytes_under_way)),
            scans: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(2, usize::from),
            )),
            transfers: Arc::new(Semaphore::new(limits.max_transfers)),
            threads: Mutex::new(threads),
        })
    }

    /// Finishes the writes that were accepted, then closes. Later writes are refused.
    pub async fn shutdown(&self) {
        let threads = self.close();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }

    fn close(&self) -> Vec<JoinHandle<()>> {
        drop(lock(&self.queue).take());
        self.inner.stop.store(true, Ordering::Release);
        self.inner.wake_background();
        self.inner.operations.stop();
        std::mem::take(&mut *lock(&self.threads))
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Why writes are refused, if they are: a write to disk failed.
    #[must_use]
    pub fn write_failure(&self) -> Option<String> {
        self.inner.store.failed()
    }

    fn sender(&self) -> Result<mpsc::Sender<Op>, Error> {
        lock(&self.queue).clone().ok_or(Error::Closed)
    }

    /// Hands a write to the writer if there is room, and waits until it is durable and visible.
    async fn write(
        &self,
        write: Write,
        request: Option<requests::RequestKey>,
    ) -> Result<requests::Outcome, Error> {
        let (answer, answered) = oneshot::channel();
        let op = Op {
            write,
            request,
            answer,
            bytes: None,
        };
        self.sender()?.try_send(op).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Error::Busy {
                queue: "the write queue",
            },
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Runs a long read off the async threads, at most one a core at a time. The work is told
    /// when nobody waits for it any more.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.scans).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let given_up = GivenUp(Arc::default());
        let flag = Arc::clone(&given_up.0);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&flag)
        });
        done.await
            .map_err(|e| Error::Internal(format!("a search failed: {e}")))?
    }
}

/// Sets its flag when it is dropped: when the caller went away, or has its answer.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for thread in self.close() {
            let _ = thread.join();
        }
    }
}

fn spawn(
    name: &str,
    inner: Arc<Inner>,
    run: impl FnOnce(&Inner) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(format!("twindex-{name}"))
        .spawn(move || run(&inner))
        .map_err(|e| Error::Internal(format!("starting the {name}: {e}")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Inner {
    /// Reads every collection back.
    fn load(&self) -> Result<(), Error> {
        for record in self.store.collections()? {
            let number = record.number;
            let (collection, mut unneeded) = Collection::load(&self.store, record)?;
            if self.store.failed().is_some() {
                unneeded.clear();
            }
            for dead in unneeded.chunks(10_000) {
                let mut batch = store::Batch::new();
                for seq in dead {
                    batch.delete_vector(number, *seq);
                }
                self.store.commit(batch)?;
            }
            self.add(collection);
        }
        Ok(())
    }

    fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    fn set_sequence(&self, at: u64) {
        self.sequence.store(at, Ordering::Release);
    }

    fn collection(&self, name: &CollectionName) -> Result<Arc<Collection>, Error> {
        let collections = self
            .collections
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        collections
            .get(name)
            .cloned()
            .ok_or_else(|| Error::not_found(Resource::Collection, name.as_str()))
    }

    fn all(&self) -> Vec<Arc<Collection>> {
        let collections = self
            .collections
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        collections.values().cloned().collect()
    }

    fn add(&self, collection: Collection) {
        let mut collections = self
            .collections
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        collections.insert(collection.record().name.clone(), Arc::new(collection));
    }

    fn remove(&self, collection: &Collection) {
        let mut collections = self
            .collections
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        collections.remove(&collection.record().name);
        collection.mark_dropped();
    }

    fn check_room_for_collection(&self) -> Result<(), Error> {
        let limit = self.limits.max_collections;
        if self.all().len() < limit {
            return Ok(());
        }
        Err(Error::Full {
            what: "collections",
            limit,
        })
    }

    /// A number for a segment, never given again: several are built at a time.
    fn new_segment(&self) -> Result<u64, Error> {
        let mut last = lock(&self.last_segment);
        *last = self.store.next_segment()?.max(*last + 1);
        Ok(*last)
    }

    /// Tells the background that there may be something to do.
    fn wake_background(&self) {
        self.bells.sealer.ring();
        self.bells.housekeeper.ring();
    }
}
