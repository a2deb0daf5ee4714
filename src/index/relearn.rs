//! What was learnt when a segment was sealed, checked by what is asked of it since, and learnt again
//! where that finds too little.
//!
//! What is asked for may lie elsewhere than the rows do. Then lists and links, which are the rows',
//! lead to fewer of the nearest than rows that were asked for had shown.

use super::Options;
use super::climb::Ask;
use super::part::Part;
use super::plan::{Plan, Step, Steps, Way, questions, some};
use super::snapshot::Snapshot;
use super::trial::{ERRORS, Questions, Trial};
use crate::domain::{Embedding, Recall};
use crate::simd::AlignedRows;

/// A segment whose searches found too little, and how it is searched was learnt again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relearnt {
    /// Its number.
    pub segment: u64,
    /// What its searches found of the ten nearest, as a mean over the questions that checked it.
    pub before: f32,
    /// What they find now.
    pub after: f32,
}

impl<T: Clone + Sync> Snapshot<T> {
    /// Checks by some questions, such as are asked of late, what each segment finds by the way to a
    /// recall. Where that is too little by more than chance, learns anew how it is searched, by
    /// `all` questions and by its rows, and searches go by it at once. Nothing is kept on disk.
    ///
    /// Takes a scan of all segments, and the time of a plan for each that is learnt again; `go_on`
    /// is asked before each.
    pub fn relearn(
        &self,
        recall: Recall,
        some: &[Embedding],
        all: &[Embedding],
        go_on: impl Fn() -> bool,
    ) -> Vec<Relearnt> {
        let options = &self.0.options;
        let (some, all) = (aligned(options, some), aligned(options, all));
        let parts = self.0.parts.iter().take_while(|_| go_on());
        let relearnt = parts.filter_map(|part| {
            let (segment, _) = part.sealed.as_ref()?;
            let (before, after) = relearn(options, part, recall, &some, &all)?;
            Some(Relearnt {
                segment: *segment,
                before,
                after,
            })
        });
        relearnt.collect()
    }
}

fn aligned(options: &Options, vectors: &[Embedding]) -> AlignedRows {
    let mut rows = AlignedRows::with_capacity(options.dim, vectors.len());
    for vector in vectors {
        rows.push(vector.as_slice());
    }
    rows
}

/// The recall of a part's way before and after; `None` where it is good enough.
fn relearn<T: Sync>(
    options: &Options,
    part: &Part<T>,
    recall: Recall,
    some_asked: &AlignedRows,
    asked: &AlignedRows,
) -> Option<(f32, f32)> {
    let (way, sealed) = (part.way(recall), part.sealed_plan());
    let is_learnt_again = **part.plan() != *sealed && sealed.way(recall) != Way::Scan;
    if way == Way::Scan && !is_learnt_again {
        return None;
    }
    let check = Trial::new(options, part, Questions::Strangers(some_asked), 1.0);
    // What made it more thorough may not be asked any more.
    if is_learnt_again && check.recall(sealed.way(recall))?.0 >= recall.get() {
        part.change_plan(sealed.clone());
        return None;
    }
    let (before, error) = check.recall(way)?;
    if before + ERRORS * error >= recall.get() {
        return None;
    }
    let rows = questions(part.len(), &[]);
    let plan = Plan::found_by(part, |share| Both {
        strangers: Trial::new(options, part, Questions::Strangers(asked), share),
        rows: part.inverted().map(|_| {
            let rows = Questions::Rows(some(&rows, share));
            Trial::new(options, part, rows, share)
        }),
        known: part.sealed_plan().among(share),
    });
    part.change_plan(plan);
    let (after, _) = check.recall(part.way(recall))?;
    Some((before, after))
}

/// Questions from elsewhere, and rows: a way is as good as it is for those it serves worse.
struct Both<'a, T> {
    strangers: Trial<'a, T>,
    /// For lists. The graph leads to these rows: of walks they tell too much.
    rows: Option<Trial<'a, T>>,
    /// Of walks, what rows told that another graph did not lead to, when the part was sealed.
    known: Option<&'a Steps>,
}

impl<T: Sync> Both<'_, T> {
    /// What a way finds for rows, at least.
    fn by_rows(&self, way: Way, one_in: usize) -> f32 {
        match way {
            Way::Scan => 1.0,
            Way::Walk { ef } => self.known.map_or(0.0, |known| by_walk(known, ef)),
            Way::Lists { .. } => {
                let rows = self.rows.as_ref();
                rows.map_or(0.0, |rows| rows.ask(way, one_in).recall)
            }
        }
    }
}

impl<T: Sync> Ask for Both<'_, T> {
    fn ask(&self, way: Way, one_in: usize) -> Step {
        let recall = self.by_rows(way, one_in);
        if recall <= 0.0 {
            return Step {
                way,
                recall,
                nanos: 0,
            };
        }
        let step = self.strangers.ask_with_care(way, one_in);
        Step {
            recall: step.recall.min(recall),
            ..step
        }
    }

    fn questions(&self) -> usize {
        self.strangers.questions()
    }

    fn row_nanos(&self) -> f32 {
        self.strangers.row_nanos()
    }
}

/// A walk by more candidates finds no less.
fn by_walk(known: &Steps, ef: usize) -> f32 {
    let within = known.0.iter().filter(|step| match step.way {
        Way::Walk { ef: tried } => tried <= ef,
        Way::Scan | Way::Lists { .. } => false,
    });
    within.map(|step| step.recall).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_what_shorter_ones_are_known_to_find() {
        let step = |way, recall| Step {
            way,
            recall,
            nanos: 1,
        };
        let lists = Way::Lists {
            probes: 1,
            rough: 8,
            again: 2,
            own: false,
        };
        let walk = |ef| Way::Walk { ef };
        let known = Steps(vec![
            step(walk(20), 0.8),
            step(lists, 0.85),
            step(walk(40), 0.9),
            step(Way::Scan, 1.0),
        ]);
        for (ef, recall) in [(12, 0.0), (20, 0.8), (39, 0.8), (40, 0.9), (500, 0.9)] {
            assert!((by_walk(&known, ef) - recall).abs() < 1e-6, "{ef}");
        }
    }
}
