//! Work in the background: from parts to a segment, and the segment into their place.

use super::build::Build;
use super::inverted::Inverted;
use super::part::Part;
use super::plan::Plan;
use super::{Options, Parts, build, codec, plan};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Segments are not merged beyond so many rows.
const MAX_MERGED: usize = 1_000_000;
/// Segments of about one size that become one.
const FAN_IN: usize = 4;

/// Held while a job is under way; there is one at a time.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(super) fn new(busy: &Arc<AtomicBool>) -> Self {
        busy.store(true, Ordering::Release);
        Self(Arc::clone(busy))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Segments worth rewriting: one that is a fifth dead, or several of about one size.
pub(super) fn to_rewrite<T>(sealed: &[Arc<Part<T>>], seal_at: usize) -> Option<Vec<Arc<Part<T>>>> {
    if let Some(rotten) = sealed.iter().find(|p| p.dead() * 5 > p.len()) {
        return Some(vec![Arc::clone(rotten)]);
    }
    let tier = |part: &Arc<Part<T>>| (part.live() / seal_at.max(1)).max(1).ilog(FAN_IN);
    for part in sealed {
        let alike = sealed.iter().filter(|p| tier(p) == tier(part)).take(FAN_IN);
        let alike: Vec<_> = alike.cloned().collect();
        let rows: usize = alike.iter().map(|p| p.live()).sum();
        if alike.len() == FAN_IN && rows <= MAX_MERGED {
            return Some(alike);
        }
    }
    None
}

/// Parts to be made one segment.
#[derive(Debug)]
pub struct Job<T> {
    options: Options,
    sources: Vec<Arc<Part<T>>>,
    forgotten: Vec<u64>,
    busy: Busy,
}

impl<T: Clone + Send + Sync> Job<T> {
    pub(super) fn new(
        options: Options,
        sources: Vec<Arc<Part<T>>>,
        forgotten: Vec<u64>,
        busy: Busy,
    ) -> Self {
        Self {
            options,
            sources,
            forgotten,
            busy,
        }
    }

    /// Rows to be gone through.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sources.iter().map(|p| p.len()).sum()
    }

    /// Builds segment `id`; `progress` hears of rows done. `None` if cancelled.
    #[must_use]
    pub fn build(
        self,
        id: u64,
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Option<Built<T>> {
        let Self {
            options,
            sources,
            forgotten,
            busy,
        } = self;
        let (mut part, dead) = Part::merged(options.dim, &sources);
        let (forgot, mut dropped) = (forgotten.len(), forgotten);
        dropped.extend(dead);
        part.sealed = Some((id, None));
        if part.len() >= options.graph_at {
            link(&options, &mut part, cancel, progress)?;
        }
        Some(Built {
            id,
            part,
            sources,
            dropped,
            forgot,
            busy,
        })
    }
}

/// Gives a sealed part what it is searched by; `None` if cancelled.
fn link<T: Clone + Send + Sync>(
    options: &Options,
    part: &mut Part<T>,
    cancel: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Option<()> {
    part.encode(options);
    part.file(Inverted::of(options.metric, &part.rows, cancel));
    let layers = part
        .inverted()
        .map(|lists| build::layers(part.len(), lists));
    let questions = plan::questions(part.len(), layers.as_deref().unwrap_or_default());
    let build = Build {
        options,
        rows: &part.rows,
        codes: part.codes(),
        lists: part.inverted(),
        layers: layers.as_deref(),
        left_out: &questions,
    };
    // A panic in the library costs the graph, not the rows: they are searched without.
    let built = catch_unwind(AssertUnwindSafe(|| build.run(cancel, progress)));
    let graph = match built {
        Err(_) => {
            tracing::error!("building a graph failed: a segment is searched without");
            None
        }
        Ok(graphs) => {
            let graphs = graphs?;
            part.lead(Some(graphs.trial));
            Some(graphs.graph)
        }
    };
    let plan = Plan::learnt(options, part, &questions);
    // A graph that is never walked is not kept.
    part.lead(graph.filter(|_| plan.walks()));
    part.follow(plan);
    (!cancel.load(Ordering::Relaxed)).then_some(())
}

/// A segment that is not part of the index yet.
#[derive(Debug)]
pub struct Built<T> {
    id: u64,
    part: Part<T>,
    sources: Vec<Arc<Part<T>>>,
    dropped: Vec<u64>,
    /// How many of them the index had forgotten before.
    forgot: usize,
    busy: Busy,
}

/// What came of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The segment added, unless no row was left for it.
    pub added: Option<u64>,
    /// Segments that it replaces.
    pub removed: Vec<u64>,
    /// Dead rows whose stored vectors nothing needs any more.
    pub dropped: Vec<u64>,
}

impl<T: Clone> Built<T> {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether no row was left for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.len() == 0
    }

    /// The numbers of the segments that it replaces.
    #[must_use]
    pub fn replaces(&self) -> Vec<u64> {
        let sealed = self.sources.iter().filter_map(|s| s.sealed.as_ref());
        sealed.map(|(id, _)| *id).collect()
    }

    /// Dead rows whose stored vectors nothing needs once it is installed.
    #[must_use]
    pub fn will_drop(&self) -> &[u64] {
        &self.dropped
    }

    /// Sequence numbers, and what the rows are searched by, with a checksum; vectors and tags live
    /// elsewhere.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.part)
    }

    /// Takes the place of its sources; rows that died meanwhile are dead in it too.
    pub(super) fn settle(self, parts: &mut Parts<T>) -> Installed {
        for source in &self.sources {
            for (row, seq) in source.seqs.iter().enumerate() {
                if let Some(at) = source.death(row)
                    && let Some(place) = self.part.place(*seq)
                {
                    self.part.kill(place, at);
                }
            }
        }
        let installed = Installed {
            added: (!self.is_empty()).then_some(self.id),
            removed: self.replaces(),
            dropped: self.dropped,
        };
        let mine = |part: &Arc<Part<T>>| self.sources.iter().any(|s| Arc::ptr_eq(s, part));
        parts.sealed.retain(|p| !mine(p));
        parts.frozen.retain(|p| !mine(p));
        parts.forgotten.drain(..self.forgot);
        if installed.added.is_some() {
            parts.sealed.push(Arc::new(self.part));
        }
        drop(self.busy);
        installed
    }
}
