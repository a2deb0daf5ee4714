//! How a sealed part is best searched for a recall: learnt when it is sealed, by asking it
//! questions whose answers an exact scan knows.

use super::Options;
use super::found::{COMPARED_AGAIN, Wanted};
use super::part::Part;
use super::sample::{For, is_among, sample};
use super::stopwatch::Stopwatch;
use super::walk::{Exact, Keys};
use crate::domain::Recall;
use rayon::prelude::*;
use std::time::Duration;

/// Questions asked: one in so many rows, but at least and at most so many.
const QUESTIONS: (usize, usize, usize) = (50, 100, 400);
/// By one of so many questions, and once, all ways are tried first.
const FEW_OF: usize = 8;
/// Of those, ways are worth trying by all questions that no other beats so clearly: finding as much
/// in a time so many times shorter.
const CLEARLY: f32 = 1.5;
/// A way that finds all by few questions finds all by all in so many times the time at most.
const BY_ALL: u32 = 4;
/// Questions that a thread asks at a time.
const AT_A_TIME: usize = 16;
/// Answers expected of each.
const K: usize = 10;
/// Of them, so many are asked with filters.
const WITH_FILTERS: usize = 200;
/// The fastest of so many rounds counts.
const ROUNDS: usize = 2;
/// Candidates that walks keep.
const EF: [usize; 26] = [
    12, 14, 16, 18, 20, 22, 25, 28, 32, 36, 40, 45, 50, 56, 64, 72, 80, 90, 100, 113, 128, 160,
    220, 270, 320, 500,
];
/// Lists that are looked at, as parts of all.
const PARTS_OF_LISTS: [usize; 11] = [60, 40, 26, 18, 12, 9, 7, 5, 4, 3, 2];
/// Rows compared by their codes, and then exactly, as times the rows wanted.
const AGAIN: [(usize, usize); 8] = [
    (8, 2),
    (12, 4),
    (24, 4),
    (40, 4),
    (64, 5),
    (120, 6),
    (250, 10),
    (500, 16),
];
/// Where so many are compared, lists are looked at from this part of them on: few do not hold them.
const MANY_OF: (usize, usize) = (250, 9);
/// The shares of rows that filters let through when ways are tried: from the first on, each so many
/// times the one before, as long as more rows than these are left. Fewer are compared one by one.
const SHARES: (f32, f32, f32) = (0.5, 0.5, 2_000.0);
/// Shares are alike up to so many times one another.
const ALIKE: f64 = 1.1;
/// Of the rows that lists show, so many are compared by their codes, and then exactly, where a filter
/// lets only some through.
const AGAIN_WITH_FILTERS: [(usize, usize); 2] = [(40, 4), (120, 6)];
/// Nobody can ask for less: `domain::Recall`.
const USEFUL: f32 = 0.5;
/// A way that finds so much is thorough enough: those beyond are not tried.
const THOROUGH: f32 = 0.9995;
/// Rows whose distances from all questions are taken together.
const CHUNK: usize = 512;
/// Recall is learnt from questions, and theirs is not that of others: so much of what a target
/// allows to be missing is kept in reserve: more with filters, which are never like those tried.
const RESERVE: f32 = 0.1;
const RESERVE_WITH_FILTERS: f32 = 0.2;

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

impl Step {
    /// Whether another is clearly better; nothing tells of ways that find all which are.
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    fn is_beaten(&self, others: &[Self]) -> bool {
        let mut others = others.iter().filter(|_| self.recall < THOROUGH);
        others.any(|o| o.recall >= self.recall && CLEARLY * (o.nanos as f32) < self.nanos as f32)
    }

    /// A walk takes the longer, the fewer rows count.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time"
    )]
    fn among(self, let_through: f64, share: f64) -> Self {
        let times = match self.way {
            Way::Walk { .. } => let_through / share.max(1e-6),
            Way::Scan | Way::Lists { .. } => 1.0,
        };
        Self {
            nanos: (f64::from(self.nanos) * times) as u32,
            ..self
        }
    }
}

/// The ways worth going: each slower than the one before, and finding more.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Steps(pub(super) Vec<Step>);

/// How a part is best searched.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Without a filter.
    pub(super) steps: Steps,
    /// With filters that let such a share of the rows through, from the greatest on.
    pub(super) filtered: Vec<(f32, Steps)>,
    /// What one row takes that is compared by its code, in nanoseconds.
    pub(super) row_nanos: f32,
}

impl Steps {
    fn of(mut steps: Vec<Step>) -> Self {
        steps.retain(|step| step.recall >= USEFUL);
        steps.sort_by_key(|step| step.nanos);
        let mut most = -1.0;
        steps.retain(|step| {
            let more = step.recall > most;
            most = if more { step.recall } else { most };
            more
        });
        Self(steps)
    }

    /// The fastest way that was found to reach a recall.
    fn to(&self, recall: Recall, reserve: f32) -> Option<Step> {
        if recall == Recall::ALL {
            return None;
        }
        let recall = recall.get();
        let wanted = recall + reserve * (1.0 - recall);
        let mut steps = self.0.iter().copied();
        steps.find(|step| step.recall >= wanted)
    }
}

impl Plan {
    /// The fastest way to a recall; without one that was found to reach it, a scan.
    pub(super) fn way(&self, recall: Recall) -> Way {
        let step = self.steps.to(recall, RESERVE);
        step.map_or(Way::Scan, |step| step.way)
    }

    /// The same where only a share of the rows counts: as it was with the next greater share, or
    /// with a smaller one that is as good as the same.
    pub(super) fn filtered(&self, recall: Recall, share: f64) -> Option<Step> {
        let about = |(let_through, _): &&(f32, Steps)| ALIKE * f64::from(*let_through) >= share;
        let tried = self.filtered.iter().take_while(about).last();
        let (let_through, steps) = tried.map_or((1.0, &self.steps), |(s, steps)| (*s, steps));
        let step = steps.to(recall, RESERVE_WITH_FILTERS)?;
        Some(step.among(f64::from(let_through), share))
    }

    /// Whether a recall was reached by comparing codes first: among fewer rows they do no worse.
    pub(super) fn is_reached_by_codes(&self, recall: Recall) -> bool {
        let step = self.steps.to(recall, RESERVE);
        step.is_some_and(|step| step.way != Way::Scan)
    }

    /// Whether a walk is the way to the default recall, or else what comes nearest to it.
    pub(super) fn prefers_walks(&self) -> bool {
        let mut others = self.steps.0.iter().filter(|step| step.way != Way::Scan);
        let way = match self.way(Recall::default()) {
            Way::Scan => others.next_back().map(|step| step.way),
            way => Some(way),
        };
        matches!(way, Some(Way::Walk { .. }))
    }

    /// Whether any way worth going is a walk.
    pub(super) fn walks(&self) -> bool {
        let filtered = self.filtered.iter().map(|(_, steps)| steps);
        let mut all = filtered.chain([&self.steps]).flat_map(|steps| &steps.0);
        all.any(|step| matches!(step.way, Way::Walk { .. }))
    }

    /// Tries the ways that a part has, by questions: rows that its graph does not lead to.
    pub(super) fn learnt<T: Sync>(options: &Options, part: &Part<T>, questions: &[u32]) -> Self {
        let trial = Trial::new(options, part, questions, 1.0);
        let scan = trial.ask(Way::Scan, 1, 1);
        let mut steps = trial.climb(ladders(part), scan.nanos);
        steps.push(scan);
        let mut plan = Self {
            steps: Steps::of(steps),
            ..Self::default()
        };
        let (mut share, times, least) = SHARES;
        let few = &questions[..questions.len().min(WITH_FILTERS)];
        #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
        while share * part.len() as f32 > least {
            let trial = Trial::new(options, part, few, share);
            plan.row_nanos = plan.row_nanos.max(trial.row_nanos());
            // Then the rows are better compared one by one.
            let limit = share * part.len() as f32 * plan.row_nanos;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time"
            )]
            let steps = trial.climb(ladders_with_filters(part), limit as u32);
            plan.filtered.push((share, Steps::of(steps)));
            share *= times;
        }
        plan
    }
}

/// Rows to ask for, none of which a graph may lead to: those of its layers are left out.
pub(super) fn questions(rows: usize, layers: &[u32]) -> Vec<u32> {
    let (one_in, least, most) = QUESTIONS;
    let questions = (rows / one_in).clamp(least, most).min(rows / 2);
    let some = sample(rows, questions, For::Questions);
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
            let least = if rough >= MANY_OF.0 {
                lists / MANY_OF.1
            } else {
                0
            };
            let enough = probes.iter().filter(|probes| **probes >= least);
            let ways = enough.map(|probes| Way::Lists {
                probes: *probes,
                rough,
                again,
            });
            ladders.push(ways.collect());
        }
    }
    ladders
}

/// The ways worth trying where a share of the rows counts.
fn ladders_with_filters<T>(part: &Part<T>) -> Vec<Vec<Way>> {
    let mut ladders = ladders(part);
    ladders.retain(|ladder| match ladder.first() {
        Some(Way::Lists { rough, again, .. }) => AGAIN_WITH_FILTERS.contains(&(*rough, *again)),
        _ => true,
    });
    ladders
}

/// Questions to a part, and the rows that answer them.
struct Trial<'a, T> {
    options: &'a Options,
    part: &'a Part<T>,
    questions: &'a [u32],
    /// Of the rows, this share counts.
    share: f32,
    answers: Vec<Vec<u32>>,
}

impl<'a, T: Sync> Trial<'a, T> {
    fn new(options: &'a Options, part: &'a Part<T>, questions: &'a [u32], share: f32) -> Self {
        let mut trial = Self {
            options,
            part,
            questions,
            share,
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
        let let_through = self.share >= 1.0 || is_among(row, f64::from(self.share), For::Filters);
        let_through && self.questions.binary_search(&row).is_err()
    }

    /// Tries the ways of each ladder until one takes longer than `most` nanoseconds, or far longer
    /// than another that finds all: by few questions first, and then those worth it by all.
    fn climb(&self, ladders: Vec<Vec<Way>>, most: u32) -> Vec<Step> {
        let mut ladders: Vec<_> = ladders.into_iter().map(Vec::into_iter).collect();
        let (mut tried, mut enough): (Vec<Step>, u32) = (Vec::new(), most);
        for ladder in &mut ladders {
            while let Some(way) = ladder.next() {
                let step = self.ask(way, FEW_OF, 1);
                tried.push(step);
                if step.recall >= THOROUGH {
                    enough = enough.min(step.nanos.saturating_mul(BY_ALL));
                }
                if step.nanos > most {
                    *ladder = Vec::new().into_iter();
                } else if step.nanos > enough {
                    break;
                }
            }
        }
        tried.sort_by_key(|step| step.nanos);
        let by_all = |way| self.ask(way, 1, ROUNDS);
        let mut steps: Vec<Step> = Vec::new();
        for step in tried.iter().filter(|step| !step.is_beaten(&tried)) {
            let step = by_all(step.way);
            steps.push(step);
            if step.recall >= THOROUGH {
                return steps;
            }
        }
        // Some questions are harder than those few were.
        for ladder in ladders {
            for way in ladder {
                let step = self.ask(way, FEW_OF, 1);
                if step.nanos > most {
                    break;
                }
                if step.is_beaten(&steps) {
                    continue;
                }
                let step = by_all(way);
                steps.push(step);
                if step.recall >= THOROUGH {
                    return steps;
                }
            }
        }
        steps
    }

    /// What it takes to compare a row by its code.
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    fn row_nanos(&self) -> f32 {
        let rows = self.rows();
        let begun = Stopwatch::start();
        for question in self.questions.iter().take(K) {
            let wanted = self.wanted(*question, &|_| true);
            std::hint::black_box(wanted.compared(self.part, &rows));
        }
        begun.elapsed().as_secs_f32() * 1e9 / (K * rows.len().max(1)) as f32
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

    /// What a way achieves with one in so many questions, in the fastest of some rounds.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn ask(&self, way: Way, one_in: usize, rounds: usize) -> Step {
        let questions = self.questions.iter().zip(&self.answers).step_by(one_in);
        let mut questions: Vec<_> = questions.collect();
        if way == Way::Scan {
            // It finds all; how long it takes, a few tell.
            questions.truncate(K);
        }
        let right = |(question, answers): &(&u32, &Vec<u32>)| {
            let near = self.found_by(way, **question);
            near.iter().filter(|(_, row)| answers.contains(row)).count()
        };
        let (mut fastest, mut found) = (Duration::MAX, 0);
        for _ in 0..rounds {
            let some = questions.par_chunks(AT_A_TIME).map(|some| {
                let begun = Stopwatch::start();
                let right: usize = some.iter().map(right).sum();
                (right, begun.elapsed())
            });
            let round = some.reduce(Default::default, |a, b| (a.0 + b.0, a.1 + b.1));
            found = round.0;
            fastest = fastest.min(round.1);
        }
        let wanted: usize = questions.iter().map(|(_, answers)| answers.len()).sum();
        let nanos = fastest.as_nanos() / questions.len().max(1) as u128;
        Step {
            way,
            recall: found as f32 / wanted.max(1) as f32,
            nanos: u32::try_from(nanos).unwrap_or(u32::MAX),
        }
    }

    fn wanted<'w>(&'w self, question: u32, counts: &'w dyn Fn(u32) -> bool) -> Wanted<'w> {
        Wanted {
            options: self.options,
            query: self.vector(question),
            k: K,
            again: COMPARED_AGAIN,
            counts,
            filtered: self.share < 1.0,
            share: f64::from(self.share),
            all_count: false,
            alone: true,
            beyond: f32::INFINITY,
            limit: f32::INFINITY,
        }
    }

    fn found_by(&self, way: Way, question: u32) -> Vec<(f32, u32)> {
        let counts = |row| self.counts(row);
        let mut wanted = self.wanted(question, &counts);
        // A walk without a filter does not find those that do not.
        wanted.all_count = self.share >= 1.0 && matches!(way, Way::Walk { .. });
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
        let steps = Steps::of(vec![
            step(64, 0.99, 300),
            step(16, 0.90, 100),
            step(24, 0.89, 200),
            step(500, 0.9999, 900),
        ]);
        assert_eq!(steps.0.len(), 3);
        let plan = Plan {
            steps,
            ..Plan::default()
        };
        let way = |recall| plan.way(Recall::new("recall", recall).unwrap());
        assert_eq!(way(0.5), Way::Walk { ef: 16 });
        assert_eq!(way(0.98), Way::Walk { ef: 64 });
        assert_eq!(way(0.99), Way::Walk { ef: 500 });
        assert_eq!(way(1.0), Way::Scan);
        assert_eq!(Plan::default().way(Recall::default()), Way::Scan);
    }
}
