//! Giving a sealed part what it is searched by: codes, lists, a graph where that helps, and a plan.

use super::Options;
use super::build::{self, Build, Graphs};
use super::inverted::Inverted;
use super::part::Part;
use super::plan::{self, Plan};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// `None` if cancelled.
pub(super) fn seal<T: Clone + Send + Sync>(
    options: &Options,
    part: &mut Part<T>,
    cancel: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Option<()> {
    part.encode(options);
    part.file(Inverted::of(options.metric, &part.rows, cancel));
    let lists = part.inverted();
    let layers = lists.map(|lists| build::layers(part.len(), lists));
    let questions = plan::questions(part.len(), layers.as_deref().unwrap_or_default());
    let mut graph = None;
    // Where no centroids gather the rows, a walk meets most of them before it has found the nearest.
    if lists.is_none_or(|lists| lists.lists() > 1) {
        let build = Build {
            options,
            rows: &part.rows,
            codes: part.codes(),
            lists,
            layers: layers.as_deref(),
            left_out: &questions,
        };
        if let Some(graphs) = caught(|| build.run(cancel, progress)) {
            let Graphs { graph: all, trial } = graphs?;
            part.lead(Some(trial));
            graph = Some(all);
        }
    }
    let mut plan = Plan::learnt(options, part, &questions);
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
