//! Ways tried by questions: what each finds, and how long it takes.

use super::Options;
use super::found::{COMPARED_AGAIN, Wanted};
use super::part::Part;
use super::plan::{Step, Way};
use super::sample::{For, is_among};
use super::stopwatch::Stopwatch;
use super::walk::{Exact, Keys};
use crate::domain::Metric;
use crate::simd::{self, AlignedRows};
use rayon::prelude::*;
use std::ops::Range;
use std::time::Duration;

/// By one of so many questions, and once, all ways are tried first.
const FEW_OF: usize = 8;
/// A way that finds all by few questions finds all by all in so many times the time at most.
const BY_ALL: u32 = 4;
/// Questions that a thread asks at a time.
const AT_A_TIME: usize = 16;
/// Answers expected of each.
pub(super) const K: usize = 10;
/// A way that finds so much is thorough enough: those beyond are not tried.
pub(super) const THOROUGH: f32 = 0.9995;
/// Rows whose distances from all questions are taken together.
const CHUNK: usize = 512;
/// Products are rounded otherwise than distances are: of so many times the nearest by them, those
/// are chosen that are nearest exactly.
const ROOM: usize = 2;

/// Questions to a part, and the rows that answer them.
pub(super) struct Trial<'a, T> {
    options: &'a Options,
    part: &'a Part<T>,
    questions: &'a [u32],
    /// Of the rows, this share counts.
    share: f32,
    answers: Vec<Vec<u32>>,
}

impl<'a, T: Sync> Trial<'a, T> {
    pub(super) fn new(
        options: &'a Options,
        part: &'a Part<T>,
        questions: &'a [u32],
        share: f32,
    ) -> Self {
        let mut trial = Self {
            options,
            part,
            questions,
            share,
            answers: Vec::new(),
        };
        trial.answers = trial.answered();
        trial
    }

    /// The rows nearest to each question.
    fn answered(&self) -> Vec<Vec<u32>> {
        let mut asked = AlignedRows::with_capacity(self.part.rows.dim(), self.questions.len());
        let questions = self.questions.iter().map(|q| self.vector(*q));
        questions.for_each(|vector| asked.push(vector));
        let chunks = (0..self.part.len()).into_par_iter().step_by(CHUNK);
        let near: Vec<Vec<Vec<(f32, u32)>>> = chunks
            .map(|from| self.nearest_in(&asked, from..(from + CHUNK).min(self.part.len())))
            .collect();
        let answer = |(at, question): (usize, &u32)| {
            let all = near.iter().flat_map(|chunk| chunk[at].iter().copied());
            let rows: Vec<u32> = first(all.collect(), ROOM * K)
                .into_iter()
                .map(|(_, row)| row)
                .collect();
            let nearest = self.nearest(*question, &rows).into_iter();
            nearest.map(|(_, row)| row).collect()
        };
        self.questions.par_iter().enumerate().map(answer).collect()
    }

    /// Of a chunk's rows that count, those about nearest to each question: some more than wanted.
    fn nearest_in(&self, asked: &AlignedRows, chunk: Range<usize>) -> Vec<Vec<(f32, u32)>> {
        let rows = &self.part.rows;
        let dots = simd::dots_of_rows((asked, 0..asked.len()), (rows, chunk.clone()));
        let square = |row: usize| match self.options.metric {
            Metric::Euclidean => simd::dot(rows.padded(row), rows.padded(row)),
            Metric::Cosine | Metric::Dot => 0.0,
        };
        // A row's number fits: a part has fewer than 2^31.
        let number = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        let counting = chunk.clone().filter(|row| self.counts(number(*row)));
        let counting: Vec<(usize, f32)> = counting.map(|row| (row, square(row))).collect();
        let of_one = dots.chunks_exact(chunk.len().max(1)).map(|dots| {
            let key = |(row, square): &(usize, f32)| {
                (square - 2.0 * dots[row - chunk.start], number(*row))
            };
            first(counting.iter().map(key).collect(), ROOM * K)
        });
        of_one.collect()
    }

    /// Questions do not answer one another.
    fn counts(&self, row: u32) -> bool {
        let let_through = self.share >= 1.0 || is_among(row, f64::from(self.share), For::Filters);
        let_through && self.questions.binary_search(&row).is_err()
    }

    /// Tries the ways of each ladder until one takes longer than `most` nanoseconds, or far longer
    /// than another that finds all: by few questions first, and then those worth it by all.
    pub(super) fn climb(&self, ladders: Vec<Vec<Way>>, most: u32) -> Vec<Step> {
        let mut ladders: Vec<_> = ladders.into_iter().map(Vec::into_iter).collect();
        let (mut tried, mut enough): (Vec<Step>, u32) = (Vec::new(), most);
        for ladder in &mut ladders {
            while let Some(way) = ladder.next() {
                let step = self.ask(way, FEW_OF);
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
        let by_all = |way| self.ask(way, 1);
        let mut steps: Vec<Step> = Vec::new();
        for step in tried
            .iter()
            .filter(|step| step.is_promising() && !step.is_beaten(&tried))
        {
            let step = by_all(step.way);
            steps.push(step);
            if step.recall >= THOROUGH {
                return steps;
            }
        }
        // Some questions are harder than those few were.
        for ladder in ladders {
            for way in ladder {
                let step = self.ask(way, FEW_OF);
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
    pub(super) fn row_nanos(&self) -> f32 {
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
        first(keys.into_iter().zip(rows.iter().copied()).collect(), K)
    }

    /// What a way achieves with one in so many questions.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(super) fn ask(&self, way: Way, one_in: usize) -> Step {
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
        let some = questions.par_chunks(AT_A_TIME).map(|some| {
            let begun = Stopwatch::start();
            let right: usize = some.iter().map(right).sum();
            (right, begun.elapsed())
        });
        let all = some.reduce(Default::default, |a, b| (a.0 + b.0, a.1 + b.1));
        let (found, took): (usize, Duration) = all;
        let wanted: usize = questions.iter().map(|(_, answers)| answers.len()).sum();
        let nanos = took.as_nanos() / questions.len().max(1) as u128;
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

/// The nearest, at most so many, the nearest first.
fn first(mut all: Vec<(f32, u32)>, most: usize) -> Vec<(f32, u32)> {
    let nearer = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if all.len() > most {
        all.select_nth_unstable_by(most, nearer);
        all.truncate(most);
    }
    all.sort_unstable_by(nearer);
    all
}
