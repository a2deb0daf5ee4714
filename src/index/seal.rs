//! Giving a sealed part what it is searched by: codes, lists, a graph where that helps, and a plan.

use super::Options;
use super::build::{self, Build, Graphs};
use super::former::Former;
use super::inverted::Inverted;
use super::part::Part;
use super::plan::{self, Plan};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What most rows come from is mended, unless they are to be worked through from nothing; `None` if
/// cancelled.
pub(super) fn seal<T: Clone + Send + Sync>(
    options: &Options,
    part: &mut Part<T>,
    sources: &[Arc<Part<T>>],
    thorough: bool,
    cancel: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Option<()> {
    part.encode(options);
    let former = Former::of(part, sources, thorough);
    let joined = former
        .as_ref()
        .and_then(|former| former.joined(part, sources));
    let former = former.filter(|_| joined.is_some());
    part.changed = former.as_ref().map_or(0, Former::changed);
    part.file(joined.or_else(|| Inverted::of(options.metric, &part.rows, cancel)));
    let lists = part.inverted();
    let layers = lists.map(|lists| build::layers(part.len(), lists));
    let questions = plan::questions(part.len(), layers.as_deref().unwrap_or_default());
    let mut graph = None;
    let left = former.as_ref().and_then(Former::left);
    let worth_linking = match &former {
        Some(_) => left.is_some(),
        // Where no centroids gather the rows, a walk meets most of them before it has found the nearest.
        None => lists.is_none_or(|lists| lists.lists() > 1),
    };
    if worth_linking {
        let build = Build {
            options,
            rows: &part.rows,
            codes: part.codes(),
            lists,
            layers: layers.as_deref(),
            left,
            left_out: &questions,
        };
        if let Some(graphs) = caught(|| build.run(cancel, progress)) {
            let Graphs { graph: all, trial } = graphs?;
            part.lead(Some(trial));
            graph = Some(all);
        }
    }
    let known = former.and_then(|former| former.plan().still(options, part, &questions));
    let mut plan = known.unwrap_or_else(|| Plan::learnt(options, part, &questions));
    if options.rows_in.is_some() && part.inverted().is_some() && part.graph().is_some() {
        // What is left has to reach every recall by itself.
        if plan.prefers_walks() {
            part.file(None);
        } else {
            part.lead(None);
        }
        plan = Plan::learnt(options, part, &questions);
    }
    // A graph that is never walked is not kept.
    part.lead(graph.filter(|_| plan.walks()));
    part.follow(plan);
    (!cancel.load(Ordering::Relaxed)).then_some(())
}

/// A panic in the library costs the graph, not the rows: they are searched without.
fn caught<R>(build: impl FnOnce() -> R) -> Option<R> {
    let built = catch_unwind(AssertUnwindSafe(build));
    if built.is_err() {
        tracing::error!("building a graph failed: a segment is searched without");
    }
    built.ok()
}
