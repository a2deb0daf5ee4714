//! How a sealed part is best searched for a recall: learnt when it is sealed, by asking it
//! questions whose answers an exact scan knows.

use super::Options;
use super::part::Part;
use super::sample::{For, sample};
use super::search::{COMPARED_AGAIN, Wanted};
use super::walk::{Exact, Keys};
use crate::domain::Recall;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Questions asked.
const QUESTIONS: usize = 400;
/// Answers expected of each.
const K: usize = 10;
/// The faster of so many rounds counts.
const ROUNDS: usize = 2;
/// Candidates that walks keep.
const EF: [usize; 26] = [
    12, 14, 16, 18, 20, 22, 25, 28, 32, 36, 40, 45, 50, 56, 64, 72, 80, 90, 100, 113, 128, 160,
    220, 270, 320, 500,
];
/// Lists that are looked at, as parts of all.
const PARTS_OF_LISTS: [usize; 11] = [60, 40, 26, 18, 12, 9, 7, 5, 4, 3, 2];
/// Rows compared by their codes, and then exactly, as times the rows wanted.
const AGAIN: [(usize, usize); 4] = [(8, 2), (12, 4), (40, 4), (120, 6)];
/// Nobody can ask for less: `domain::Recall`.
const USEFUL: f32 = 0.5;
/// A way that finds so much is thorough enough: those beyond are not tried.
const THOROUGH: f32 = 0.9995;
/// Rows whose distances from all questions are taken together.
const CHUNK: usize = 512;
/// Recall is learnt from questions, and theirs is not that of others: so much of what a target
/// allows to be missing is kept in reserve.
const RESERVE: f32 = 0.1;

/// A way to search a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Compare every row.
    Scan,
    /// Walk the graph, keeping so many candidates.
    Walk {
        /// How many.
        ef: usize,
    },
    /// Look at the nearest lists.
    Lists {
        /// How many.
        probes: usize,
        /// Compare so many times `k` rows by their codes.
        rough: usize,
        /// And so many times `k` exactly.
        again: usize,
    },
}

impl Way {
    /// As thorough for `k` as it is for the ten that it was tried with.
    pub(super) fn thorough(self, k: usize) -> Self {
        match self {
            Self::Scan => self,
            Self::Walk { ef } => Self::Walk {
                ef: ef.saturating_add(2 * k.saturating_sub(K)).max(k),
            },
            Self::Lists {
                probes,
                rough,
                again,
            } => Self::Lists {
                probes: probes.saturating_mul((k / K).isqrt().max(1)),
                rough,
                again,
            },
        }
    }
}

/// What a way achieves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) way: Way,
    /// Mean part of the ten nearest that it found.
    pub(super) recall: f32,
    /// Of a query, in nanoseconds, where the part was sealed.
    pub(super) nanos: u32,
}

/// The ways worth going: each slower than the one before, and finding more.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// The fastest way to a recall; without one that was found to reach it, a scan.
    pub(super) fn way(&self, recall: Recall) -> Way {
        if recall == Recall::ALL {
            return Way::Scan;
        }
        let recall = recall.get();
        let wanted = recall + RESERVE * (1.0 - recall);
        let enough = self.steps.iter().find(|step| step.recall >= wanted);
        enough.map_or(Way::Scan, |step| step.way)
    }

    /// Whether any way worth going is a walk.
    pub(super) fn walks(&self) -> bool {
        let mut ways = self.steps.iter().map(|step| step.way);
        ways.any(|way| matches!(way, Way::Walk { .. }))
    }

    fn of(mut steps: Vec<Step>) -> Self {
        steps.retain(|step| step.recall >= USEFUL);
        steps.sort_by_key(|step| step.nanos);
        let mut most = -1.0;
        steps.retain(|step| {
            let more = step.recall > most;
            most = if more { step.recall } else { most };
            more
        });
        Self { steps }
    }

    /// Tries the ways that a part has, by questions: rows that its graph does not lead to.
    pub(super) fn learnt<T: Sync>(options: &Options, part: &Part<T>, questions: &[u32]) -> Self {
        let trial = Trial::new(options, part, questions);
        let mut steps = vec![trial.ask(Way::Scan)];
        for ways in ladders(part) {
            for way in ways {
                let step = trial.ask(way);
                steps.push(step);
                if step.recall >= THOROUGH {
                    break;
                }
            }
        }
        Self::of(steps)
    }
}

/// Rows to ask for, none of which a graph may lead to: those of its layers are left out.
pub(super) fn questions(rows: usize, layers: &[u32]) -> Vec<u32> {
    let some = sample(rows, QUESTIONS.min(rows / 2), For::Questions);
    let strangers = some.into_iter();
    strangers
        .filter(|row| layers.binary_search(row).is_err())
        .collect()
}

/// The ways a part has, by kind, more thorough from one to the next.
fn ladders<T>(part: &Part<T>) -> Vec<Vec<Way>> {
    let mut ladders = Vec::new();
    if part.graph().is_some() {
        ladders.push(EF.map(|ef| Way::Walk { ef }).into());
    }
    if let Some(inverted) = part.inverted() {
        let lists = inverted.lists();
        let mut probes: Vec<usize> = PARTS_OF_LISTS.map(|p| lists.div_ceil(p)).into();
        probes.push(lists);
        probes.dedup();
        for (rough, again) in AGAIN {
            let ways = probes.iter().map(|probes| Way::Lists {
                probes: *probes,
                rough,
                again,
            });
            ladders.push(ways.collect());
        }
    }
    ladders
}

/// Questions to a part, and the rows that answer them.
struct Trial<'a, T> {
    options: &'a Options,
    part: &'a Part<T>,
    questions: &'a [u32],
    answers: Vec<Vec<u32>>,
}

impl<'a, T: Sync> Trial<'a, T> {
    fn new(options: &'a Options, part: &'a Part<T>, questions: &'a [u32]) -> Self {
        let mut trial = Self {
            options,
            part,
            questions,
            answers: Vec::new(),
        };
        let near: Vec<Vec<Vec<(f32, u32)>>> = trial
            .rows()
            .par_chunks(CHUNK)
            .map(|rows| questions.iter().map(|q| trial.nearest(*q, rows)).collect())
            .collect();
        let answer = |question: usize| {
            let all = near
                .iter()
                .flat_map(|chunk| chunk[question].iter().copied());
            let nearest = first(all.collect());
            nearest.into_iter().map(|(_, row)| row).collect()
        };
        trial.answers = (0..questions.len()).map(answer).collect();
        trial
    }

    /// Questions do not answer one another.
    fn counts(&self, row: u32) -> bool {
        self.questions.binary_search(&row).is_err()
    }

    fn rows(&self) -> Vec<u32> {
        let all = 0..u32::try_from(self.part.len()).unwrap_or(u32::MAX);
        all.filter(|row| self.counts(*row)).collect()
    }

    fn vector(&self, question: u32) -> &[f32] {
        self.part.rows.padded(question as usize)
    }

    /// Of some rows, the nearest to a question.
    fn nearest(&self, question: u32, rows: &[u32]) -> Vec<(f32, u32)> {
        let exact = Exact {
            options: self.options,
            rows: &self.part.rows,
            query: self.vector(question),
        };
        let mut keys = Vec::with_capacity(rows.len());
        exact.keys(rows, &mut keys);
        first(keys.into_iter().zip(rows.iter().copied()).collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn ask(&self, way: Way) -> Step {
        // A scan finds all; how long it takes, a few questions tell.
        let few = way == Way::Scan;
        let asked = if few { K } else { self.questions.len() };
        let questions = || self.questions.iter().zip(&self.answers).take(asked);
        let (mut fastest, mut found) = (Duration::MAX, 0);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let right = questions().map(|(question, answers)| {
                let near = self.found_by(way, *question);
                near.iter().filter(|(_, row)| answers.contains(row)).count()
            });
            found = right.sum();
            fastest = fastest.min(begun.elapsed());
        }
        let wanted: usize = questions().map(|(_, answers)| answers.len()).sum();
        let nanos = fastest.as_nanos() / asked.max(1) as u128;
        Step {
            way,
            recall: found as f32 / wanted.max(1) as f32,
            nanos: u32::try_from(nanos).unwrap_or(u32::MAX),
        }
    }

    fn found_by(&self, way: Way, question: u32) -> Vec<(f32, u32)> {
        let wanted = Wanted {
            options: self.options,
            query: self.vector(question),
            k: K,
            again: COMPARED_AGAIN,
            counts: &|row| self.counts(row),
            // A walk does not find those that do not.
            all_count: matches!(way, Way::Walk { .. }),
        };
        match wanted.nearest(self.part, way) {
            Some(near) => near.rows.into_iter().take(K).collect(),
            None => self.nearest(question, &self.rows()),
        }
    }
}

/// The nearest, the nearest first.
fn first(mut all: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
    let nearer = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if all.len() > K {
        all.select_nth_unstable_by(K, nearer);
        all.truncate(K);
    }
    all.sort_unstable_by(nearer);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_way_that_is_good_enough_is_taken() {
        let step = |ef, recall, nanos| Step {
            way: Way::Walk { ef },
            recall,
            nanos,
        };
        let plan = Plan::of(vec![
            step(64, 0.99, 300),
            step(16, 0.90, 100),
            step(24, 0.89, 200),
            step(500, 0.9999, 900),
        ]);
        assert_eq!(plan.steps.len(), 3);
        let way = |recall| plan.way(Recall::new("recall", recall).unwrap());
        assert_eq!(way(0.5), Way::Walk { ef: 16 });
        assert_eq!(way(0.98), Way::Walk { ef: 64 });
        assert_eq!(way(0.99), Way::Walk { ef: 500 });
        assert_eq!(way(1.0), Way::Scan);
        assert_eq!(Plan::default().way(Recall::default()), Way::Scan);
    }
}
