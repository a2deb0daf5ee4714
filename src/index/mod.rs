//! The vectors of a collection, searchable: sealed HNSW segments, and a tail that is scanned.
//!
//! ```text
//! apply -> tail (small immutable parts, found by way of the largest segment, or scanned by codes)
//!            | next_job, build (in the background: the largest segment mended, or a new one made:
//!            |                  hnsw_rs, exported flat, refined)
//!            v
//!          sealed parts (a graph or lists, or both, and a plan) -- install swaps one atomic pointer
//! ```
//!
//! A row is visible in a [`Snapshot`] taken at sequence number S if it was born by then and
//! had not died. Rows are never changed; a death is one atomic store. The walk is best-first
//! search of Malkov and Yashunin 2016 (HNSW), algorithm 2, with a bounded sorted pool.
//!
//! It goes by rows of four bits a number (`codes`); the best are compared again, exactly. Lists
//! (`inverted`) are scanned by sums of table look-ups; a `plan` picks the way for a recall.
//!
//! A segment that most rows of a new one come from is mended (`former`). Rows outside the largest segment
//! are kept with those of it that are nearest (`annex`), and found by way of them (`behind`).
//!
//! Filters are answered from `columns`. The few rows that one lets through are compared one by one;
//! where there are many, a walk goes on until it has followed enough of them, or lists show those
//! only (`filtered`); those of a filter that is asked often have lists of their own (`often`).

mod annex;
mod answers;
mod behind;
mod best;
mod build;
mod climb;
mod codec;
mod codes;
mod columns;
mod compared;
mod each;
mod filtered;
mod former;
mod found;
mod fresh;
mod graph;
mod inverted;
mod job;
mod keep;
mod load;
mod nearest;
mod often;
mod options;
mod part;
mod plan;
mod refine;
mod relearn;
mod sample;
mod seal;
mod search;
mod snapshot;
mod stopwatch;
mod tabulate;
mod together;
mod trial;
mod walk;

pub use job::{Built, Installed, Job};
pub use load::{Loaded, Stored};
pub use options::Options;
pub use relearn::Relearnt;
pub use snapshot::{Hit, Query, Snapshot, Stats};

use crate::domain::{Embedding, Facets};
use annex::Annex;
use arc_swap::ArcSwap;
use inverted::Space;
use part::Part;
use snapshot::View;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts of the tail are merged to no more rows than these: a commit does not wait for long.
const MERGED_TO: usize = 8_192;

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
    /// Those that a job is putting into a segment that it mends.
    along: Vec<Arc<Part<T>>>,
    /// What was forgotten of those.
    leaving: Vec<u64>,
    /// Each larger than the next, like the digits of a binary counter, but for the largest.
    tail: Vec<Arc<Part<T>>>,
    /// Dead rows left out of the tail, whose stored vectors nothing needs; in the order they
    /// came, until an installed job has dropped them.
    forgotten: Vec<u64>,
    /// What rows outside the largest segment are found by.
    annex: Option<Arc<Annex>>,
}

/// An index over rows with tags `T`. One writer; any number of readers, which never wait.
#[derive(Debug)]
pub struct Index<T> {
    options: Options,
    parts: Mutex<Parts<T>>,
    view: ArcSwap<View<T>>,
    /// Whether a job that seals is under way, and whether one that rewrites is.
    sealing: Arc<AtomicBool>,
    rewriting: Arc<AtomicBool>,
}

impl<T: Clone + Send + Sync + 'static> Index<T> {
    /// An empty index.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::of(options, 0, Vec::new(), Vec::new())
    }

    fn of(options: Options, at: u64, sealed: Vec<Arc<Part<T>>>, tail: Vec<Arc<Part<T>>>) -> Self {
        let mut parts = Parts {
            at,
            sealed,
            frozen: Vec::new(),
            along: Vec::new(),
            leaving: Vec::new(),
            tail,
            forgotten: Vec::new(),
            annex: None,
        };
        parts.keep_by_largest(&options, &[]);
        Self {
            view: ArcSwap::from_pointee(parts.view(&options)),
            options,
            parts: Mutex::new(parts),
            sealing: Arc::default(),
            rewriting: Arc::default(),
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

    /// The next work for the background, if there is any: [`Index::next_seal`] or
    /// [`Index::next_rewrite`].
    #[must_use]
    pub fn next_job(&self) -> Option<Job<T>> {
        self.next_seal(false).or_else(|| self.next_rewrite(false))
    }

    /// Work that makes a segment of a tail that is long enough; none while such work is under way.
    /// In quiet times a tail is that already where a graph pays.
    #[must_use]
    pub fn next_seal(&self, quiet: bool) -> Option<Job<T>> {
        self.sealing(|parts, options| {
            let long = if quiet {
                options.graph_at.min(options.seal_at)
            } else {
                parts.long_from(options)
            };
            if parts.frozen.is_empty() && parts.tail_rows() < long {
                return false;
            }
            parts.freeze();
            true
        })
    }

    /// Work that seals what the tail holds now, however little.
    #[must_use]
    pub fn seal_job(&self) -> Option<Job<T>> {
        self.sealing(|parts, _| {
            parts.freeze();
            !parts.frozen.is_empty()
        })
    }

    /// Work that makes one segment of several, or of one with too many dead rows; none while such
    /// work is under way. In quiet times less is reason enough. Beside it the tail can be sealed, or what
    /// it holds goes along.
    #[must_use]
    pub fn next_rewrite(&self, quiet: bool) -> Option<Job<T>> {
        let mut parts = self.parts();
        if self.rewriting.load(Ordering::Acquire) {
            return None;
        }
        parts.give_back();
        let (tail, seal_at) = (parts.goes_along(&self.options), self.options.seal_at);
        let (mut sources, takes_along) =
            job::to_rewrite(&parts.sealed, tail, seal_at, quiet, job::MAX_MERGED)?;
        if takes_along {
            parts.along = std::mem::take(&mut parts.tail);
            parts.leaving = std::mem::take(&mut parts.forgotten);
            sources.extend(parts.along.iter().cloned());
        }
        let busy = job::Busy::new(&self.rewriting);
        let job = Job::new(self.options.clone(), sources, parts.leaving.clone(), busy);
        Some(job.thorough(quiet).taking_along(takes_along))
    }

    fn sealing(&self, freeze: impl FnOnce(&mut Parts<T>, &Options) -> bool) -> Option<Job<T>> {
        let mut parts = self.parts();
        if self.sealing.load(Ordering::Acquire) {
            return None;
        }
        if !self.rewriting.load(Ordering::Acquire) {
            parts.give_back();
        }
        if !freeze(&mut parts, &self.options) {
            return None;
        }
        let (sources, forgotten) = (parts.frozen.clone(), parts.forgotten.clone());
        let busy = job::Busy::new(&self.sealing);
        Some(Job::new(self.options.clone(), sources, forgotten, busy))
    }

    /// Puts a built segment in the place of its sources. The caller has persisted it.
    pub fn install(&self, built: Built<T>) -> Installed {
        let mut parts = self.parts();
        let installed = built.settle(&self.options, &mut parts);
        self.view.store(Arc::new(parts.view(&self.options)));
        installed
    }
}

impl<T: Clone + Sync> Parts<T> {
    fn unsealed(&self) -> impl Iterator<Item = &Arc<Part<T>>> {
        self.frozen.iter().chain(&self.along).chain(&self.tail)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Part<T>>> {
        self.sealed.iter().chain(self.unsealed())
    }

    /// The largest sealed parts first: what they hold near a query spares the smaller ones work.
    fn view(&self, options: &Options) -> View<T> {
        let mut sealed = self.sealed.clone();
        sealed.sort_by_key(|part| Reverse(part.len()));
        sealed.extend(self.unsealed().cloned());
        View::new(self.at, options.clone(), sealed, self.annex.clone())
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
        let joins = |part: &Part<T>, len| part.len() <= len && part.len() + len <= MERGED_TO;
        while let Some(last) = self.tail.pop_if(|last| joins(last, len)) {
            len += last.len();
            merged.push(last);
        }
        merged.reverse();
        let (mut part, dead) = Part::merged(options.dim, &merged);
        self.forgotten.extend(dead);
        let space = self.space();
        part.encode_fresh(options, space.as_ref(), &merged);
        self.keep(options, &part, &merged);
        if part.len() > 0 {
            self.tail.push(Arc::new(part));
        }
    }

    /// That of the largest sealed part: fresh rows are coded by it too.
    fn space(&self) -> Option<Arc<Space>> {
        let largest = self.sealed.iter().max_by_key(|part| part.len())?;
        Some(Arc::clone(largest.inverted()?.space()))
    }

    fn tail_rows(&self) -> usize {
        self.tail.iter().map(|part| part.len()).sum()
    }

    /// What a job that was given up had taken along.
    fn give_back(&mut self) {
        self.tail.splice(0..0, self.along.drain(..));
        self.forgotten.append(&mut self.leaving);
    }

    fn freeze(&mut self) {
        self.frozen.append(&mut self.tail);
    }
}
