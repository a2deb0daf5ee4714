//! The vectors of a collection, searchable: sealed HNSW segments, and an exact tail.
//!
//! ```text
//! apply -> tail (small immutable parts, scanned exactly)
//!            | next_job, build (in the background: hnsw_rs, exported flat, mended)
//!            v
//!          sealed parts (a graph and lists each, and a plan) -- install swaps one atomic pointer
//! ```
//!
//! A row is visible in a [`Snapshot`] taken at sequence number S if it was born by then and
//! had not died. Rows are never changed; a death is one atomic store. The walk is best-first
//! search of Malkov and Yashunin 2016 (HNSW), algorithm 2, with a bounded sorted pool.
//!
//! It goes by rows of four bits a number (`codes`); the best are compared again, exactly. Lists
//! (`inverted`) are scanned by sums of table look-ups; a `plan` picks the way for a recall.
//!
//! Filters are answered from `columns`. The few rows that one lets through are compared one by one;
//! where there are many, a walk goes on until it has followed enough of them, or lists show those
//! only (`filtered`).

mod best;
mod build;
mod codec;
mod codes;
mod columns;
mod each;
mod filtered;
mod graph;
mod inverted;
mod job;
mod load;
mod nearest;
mod options;
mod part;
mod plan;
mod refine;
mod sample;
mod search;
mod snapshot;
mod stopwatch;
mod tabulate;
mod walk;

pub use job::{Built, Installed, Job};
pub use load::{Loaded, Stored};
pub use options::Options;
pub use snapshot::{Hit, Query, Snapshot, Stats};

use crate::domain::{Embedding, Facets};
use arc_swap::ArcSwap;
use part::Part;
use snapshot::View;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A row: a vector, its sequence number, and what the caller keeps with it.
#[derive(Debug, Clone)]
pub struct Row<T> {
    /// When it was born; greater than that of every row before.
    pub seq: u64,
    /// The vector, of the index's dimension and metric.
    pub vector: Embedding,
    /// The caller's.
    pub tag: T,
    /// What filters may be answered from.
    pub facets: Facets,
}

/// The writer's side of the parts.
#[derive(Debug)]
struct Parts<T> {
    at: u64,
    sealed: Vec<Arc<Part<T>>>,
    /// Tail parts that a job is turning into a segment: no longer merged.
    frozen: Vec<Arc<Part<T>>>,
    /// Each larger than the next, like the digits of a binary counter.
    tail: Vec<Arc<Part<T>>>,
    /// Dead rows left out of the tail, whose stored vectors nothing needs; in the order they
    /// came, until an installed job has dropped them.
    forgotten: Vec<u64>,
}

/// An index over rows with tags `T`. One writer; any number of readers, which never wait.
#[derive(Debug)]
pub struct Index<T> {
    options: Options,
    parts: Mutex<Parts<T>>,
    view: ArcSwap<View<T>>,
    busy: Arc<AtomicBool>,
}

impl<T: Clone + Send + Sync + 'static> Index<T> {
    /// An empty index.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::of(options, 0, Vec::new(), Vec::new())
    }

    fn of(options: Options, at: u64, sealed: Vec<Arc<Part<T>>>, tail: Vec<Arc<Part<T>>>) -> Self {
        let parts = Parts {
            at,
            sealed,
            frozen: Vec::new(),
            tail,
            forgotten: Vec::new(),
        };
        Self {
            view: ArcSwap::from_pointee(parts.view(&options)),
            options,
            parts: Mutex::new(parts),
            busy: Arc::default(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts<T>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One commit at sequence number `at`: rows born, ascending, and rows that died. Visible
    /// at once and as a whole to snapshots taken from now on.
    pub fn apply(&self, at: u64, born: Vec<Row<T>>, died: &[u64]) {
        let mut parts = self.parts();
        if !born.is_empty() {
            parts.add(&self.options, born);
        }
        for seq in died {
            parts.kill(*seq, at);
        }
        parts.at = parts.at.max(at);
        self.view.store(Arc::new(parts.view(&self.options)));
    }

    /// The state of now, for as long as it is held.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        Snapshot::new(self.view.load_full())
    }

    /// The next work for the background, if there is any and none is under way: a tail that
    /// is long enough, a segment with too many dead rows, segments that should be one.
    #[must_use]
    pub fn next_job(&self) -> Option<Job<T>> {
        self.job(|parts, options| {
            let tail: usize = parts.tail.iter().map(|p| p.len()).sum();
            if !parts.frozen.is_empty() || tail >= options.seal_at {
                parts.freeze();
                return Some(parts.frozen.clone());
            }
            job::to_rewrite(&parts.sealed, options.seal_at)
        })
    }

    /// Work that seals what the tail holds now, however little.
    #[must_use]
    pub fn seal_job(&self) -> Option<Job<T>> {
        self.job(|parts, _| {
            parts.freeze();
            (!parts.frozen.is_empty()).then(|| parts.frozen.clone())
        })
    }

    fn job(
        &self,
        choose: impl FnOnce(&mut Parts<T>, &Options) -> Option<Vec<Arc<Part<T>>>>,
    ) -> Option<Job<T>> {
        let mut parts = self.parts();
        if self.busy.load(Ordering::Acquire) {
            return None;
        }
        let sources = choose(&mut parts, &self.options)?;
        let forgotten = parts.forgotten.clone();
        let guard = job::Busy::new(&self.busy);
        Some(Job::new(self.options.clone(), sources, forgotten, guard))
    }

    /// Puts a built segment in the place of its sources. The caller has persisted it.
    pub fn install(&self, built: Built<T>) -> Installed {
        let mut parts = self.parts();
        let installed = built.settle(&mut parts);
        self.view.store(Arc::new(parts.view(&self.options)));
        installed
    }
}

impl<T: Clone> Parts<T> {
    fn all(&self) -> impl Iterator<Item = &Arc<Part<T>>> {
        self.sealed.iter().chain(&self.frozen).chain(&self.tail)
    }

    fn view(&self, options: &Options) -> View<T> {
        View::new(self.at, options.clone(), self.all().cloned().collect())
    }

    fn kill(&self, seq: u64, at: u64) {
        for part in self.all() {
            if let Some(row) = part.place(seq) {
                part.kill(row, at);
                return;
            }
        }
    }

    /// Appends a part, and merges as a binary counter carries.
    fn add(&mut self, options: &Options, born: Vec<Row<T>>) {
        let mut merged = vec![Arc::new(Part::of_rows(options.dim, born))];
        let mut len = merged[0].len();
        while let Some(last) = self.tail.pop_if(|last| last.len() <= len) {
            len += last.len();
            merged.push(last);
        }
        merged.reverse();
        let part = if merged.len() == 1 {
            merged.swap_remove(0)
        } else {
            let (part, dead) = Part::merged(options.dim, &merged);
            self.forgotten.extend(dead);
            Arc::new(part)
        };
        if part.len() > 0 {
            self.tail.push(part);
        }
    }

    fn freeze(&mut self) {
        self.frozen.append(&mut self.tail);
    }
}
