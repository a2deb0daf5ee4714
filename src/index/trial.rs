//! Ways tried by questions: what each finds, and how long it takes.

use super::Options;
use super::answers::Among;
use super::climb::Ask;
use super::found::{COMPARED_AGAIN, Others, Wanted};
use super::inverted::Inverted;
use super::part::Part;
use super::plan::{Step, Way};
use super::sample::{For, is_among};
use super::stopwatch::Stopwatch;
use crate::simd::AlignedRows;
use rayon::prelude::*;
use std::time::Duration;

/// Questions that a thread asks at a time.
const AT_A_TIME: usize = 16;
/// Answers expected of each.
pub(super) const K: usize = 10;

/// A mean is hardly so many of its standard errors from that of all questions of the kind.
pub(super) const ERRORS: f32 = 2.0;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Questions<'a> {
    /// Rows of the part, ascending, that its graph does not lead to. They do not answer one another.
    Rows(&'a [u32]),
    /// Vectors from elsewhere.
    Strangers(&'a AlignedRows),
}

impl Questions<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Strangers(vectors) => vectors.len(),
        }
    }

    fn is_one(&self, row: u32) -> bool {
        matches!(self, Self::Rows(rows) if rows.binary_search(&row).is_ok())
    }
}

/// Questions to a part, and the rows that answer them.
pub(super) struct Trial<'a, T> {
    options: &'a Options,
    part: &'a Part<T>,
    questions: Questions<'a>,
    /// Of the rows, this share counts.
    share: f32,
    /// Where that are some, they in lists of their own.
    own: Option<Inverted>,
    /// Whether each row may answer.
    counting: Vec<bool>,
    /// Whether all that a walk meets may.
    all_count: bool,
    /// Of each question, with their exact keys, nearest first.
    answers: Vec<Vec<(f32, u32)>>,
}

/// What a way found of what each question has, and how long all took.
struct Found {
    shares: Vec<f32>,
    took: Duration,
}

impl Found {
    fn of(mut parts: Vec<Self>) -> Self {
        let took = parts.iter().map(|part| part.took).sum();
        let shares = parts.iter_mut().flat_map(|part| part.shares.drain(..));
        Self {
            shares: shares.collect(),
            took,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn mean(&self) -> f32 {
        self.shares.iter().sum::<f32>() / self.shares.len().max(1) as f32
    }

    /// The standard error of the mean.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn error(&self) -> f32 {
        let (n, mean) = (self.shares.len() as f32, self.mean());
        let squares = self.shares.iter().map(|share| (share - mean).powi(2));
        (squares.sum::<f32>() / (n - 1.0).max(1.0) / n.max(1.0)).sqrt()
    }
}

impl<'a, T: Sync> Trial<'a, T> {
    pub(super) fn new(
        options: &'a Options,
        part: &'a Part<T>,
        questions: Questions<'a>,
        share: f32,
    ) -> Self {
        let let_through = |row: u32| share >= 1.0 || is_among(row, f64::from(share), For::Filters);
        let counts = |row: u32| {
            let_through(row) && part.death(row as usize).is_none() && !questions.is_one(row)
        };
        // A row's number fits: a part has fewer than 2^31.
        let rows = 0..u32::try_from(part.len()).unwrap_or(u32::MAX);
        let lists = part.inverted().filter(|_| share < 1.0);
        let mut trial = Self {
            own: lists.map(|lists| lists.only(let_through)),
            options,
            part,
            questions,
            share,
            counting: rows.map(counts).collect(),
            all_count: share >= 1.0 && part.dead() == 0,
            answers: Vec::new(),
        };
        let mut asked = AlignedRows::with_capacity(part.rows.dim(), questions.len());
        (0..questions.len()).for_each(|question| asked.push(trial.vector(question)));
        trial.answers = trial.among().nearest(&asked, K);
        trial
    }

    fn among(&self) -> Among<'_> {
        Among {
            options: self.options,
            rows: &self.part.rows,
            counting: &self.counting,
        }
    }

    fn rows(&self) -> Vec<u32> {
        let counting = self.counting.iter().zip(0..);
        let rows = counting.filter_map(|(counts, row)| counts.then_some(row));
        rows.collect()
    }

    fn vector(&self, question: usize) -> &[f32] {
        match self.questions {
            Questions::Rows(rows) => self.part.rows.padded(rows[question] as usize),
            Questions::Strangers(vectors) => vectors.padded(question),
        }
    }

    /// The mean recall of a way, and that mean's standard error; `None` where nothing can be found.
    pub(super) fn recall(&self, way: Way) -> Option<(f32, f32)> {
        let found = self.found(way, 1);
        let known = !found.shares.is_empty();
        known.then(|| (found.mean(), found.error()))
    }

    /// What a way achieves where the questions are few of their kind: a recall that others of it
    /// will hardly fall short of.
    pub(super) fn ask_with_care(&self, way: Way, one_in: usize) -> Step {
        let found = self.found(way, one_in);
        let step = Self::step(way, &found);
        Step {
            recall: step.recall - ERRORS * found.error(),
            ..step
        }
    }

    fn step(way: Way, found: &Found) -> Step {
        let nanos = found.took.as_nanos() / found.shares.len().max(1) as u128;
        Step {
            way,
            recall: found.mean(),
            nanos: u32::try_from(nanos).unwrap_or(u32::MAX),
        }
    }

    fn found(&self, way: Way, one_in: usize) -> Found {
        let mut questions: Vec<usize> = (0..self.questions.len()).step_by(one_in).collect();
        questions.retain(|question| !self.answers[*question].is_empty());
        if way == Way::Scan {
            // It finds all; how long it takes, a few tell.
            questions.truncate(K);
        }
        let some = questions.par_chunks(AT_A_TIME).map(|some| {
            let begun = Stopwatch::start();
            let shares = some.iter().map(|question| self.share_found(way, *question));
            Found {
                shares: shares.collect(),
                took: begun.elapsed(),
            }
        });
        Found::of(some.collect())
    }

    /// The part of a question's answers that a way finds. A row as near as the last of them is as
    /// good.
    #[expect(clippy::cast_precision_loss, reason = "at most ten")]
    fn share_found(&self, way: Way, question: usize) -> f32 {
        let answers = &self.answers[question];
        let farthest = answers.last().map_or(f32::NEG_INFINITY, |(key, _)| *key);
        let is_right = |(key, row): &&(f32, u32)| {
            *key <= farthest || answers.iter().any(|(_, answer)| answer == row)
        };
        let found = self.found_by(way, question);
        let right = found.iter().filter(is_right).count();
        right as f32 / answers.len().max(1) as f32
    }

    fn found_by(&self, way: Way, question: usize) -> Vec<(f32, u32)> {
        let counts = |row: u32| self.counting[row as usize];
        let mut wanted = self.wanted(question, &counts);
        wanted.all_count = self.all_count && matches!(way, Way::Walk { .. });
        let way = if self.share < 1.0 {
            way
        } else {
            way.past_the_dead(self.part)
        };
        match wanted.nearest(self.part, way) {
            Some(near) => near.rows.into_iter().take(K).collect(),
            None => self
                .among()
                .compared(self.vector(question), &self.rows(), K),
        }
    }

    fn wanted<'w>(&'w self, question: usize, counts: &'w dyn Fn(u32) -> bool) -> Wanted<'w> {
        Wanted {
            options: self.options,
            query: self.vector(question),
            k: K,
            own: self.own.as_ref(),
            again: COMPARED_AGAIN,
            counts,
            filtered: self.share < 1.0,
            share: f64::from(self.share),
            all_count: false,
            others: Others::None,
            beyond: f32::INFINITY,
            limit: f32::INFINITY,
        }
    }
}

impl<T: Sync> Ask for Trial<'_, T> {
    fn ask(&self, way: Way, one_in: usize) -> Step {
        Self::step(way, &self.found(way, one_in))
    }

    fn questions(&self) -> usize {
        self.questions.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "a time")]
    fn row_nanos(&self) -> f32 {
        let (rows, questions) = (self.rows(), self.questions.len().min(K));
        let begun = Stopwatch::start();
        for question in 0..questions {
            let wanted = self.wanted(question, &|_| true);
            std::hint::black_box(wanted.compared(self.part, &rows));
        }
        begun.elapsed().as_secs_f32() * 1e9 / (questions * rows.len()).max(1) as f32
    }
}
