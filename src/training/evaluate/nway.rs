//! N-way K-shot classification by the nearest example.
//!
//! A trial draws N classes, K examples of each, and one probe of the first class that is
//! none of the examples. It fails unless the nearest example is of the probe's class; a tie
//! fails.

use super::pairs::Place;
use super::stats::Rate;
use super::tally::{NOBODY, Outcome, Tally};
use super::{Embedded, EvalError, cosine, parameter};
use crate::training::random::Random;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What a trial is.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Classes, 2 to 100,000.
    pub ways: usize,
    /// Examples of each, 1 to 100,000.
    pub shots: usize,
    /// Trials, 1 to 10 million.
    pub trials: u64,
    /// Whether the classes of a trial come from one parent folder, each equally likely.
    pub within_parent: bool,
    /// Seed of the draws.
    pub seed: u64,
}

impl Task {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A parameter out of range.
    pub fn check(&self) -> Result<(), EvalError> {
        within("ways", self.ways as u64, 2..=100_000)?;
        within("shots", self.shots as u64, 1..=100_000)?;
        within("trials", self.trials, 1..=10_000_000)
    }
}

/// Trials that can be run, each by its number and in any order.
#[derive(Debug)]
pub struct Trials<'a> {
    classes: &'a [Embedded],
    /// Classes that a trial may draw together.
    groups: Vec<Vec<usize>>,
    task: Task,
}

impl<'a> Trials<'a> {
    /// Prepares the trials. What they draw follows from the seed and the sizes of the
    /// classes: two encoders see the same trials.
    ///
    /// # Errors
    /// A parameter out of range, or too few classes or images for it.
    pub fn new(classes: &'a [Embedded], task: &Task) -> Result<Self, EvalError> {
        task.check()?;
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (nth, class) in classes.iter().enumerate() {
            let group = if task.within_parent {
                class.parent.as_str()
            } else {
                ""
            };
            if class.vectors.len() > task.shots {
                groups.entry(group).or_default().push(nth);
            }
        }
        let most = groups.values().map(Vec::len).max().unwrap_or(0);
        let groups: Vec<_> = groups
            .into_values()
            .filter(|g| g.len() >= task.ways)
            .collect();
        if groups.is_empty() {
            let place = if task.within_parent {
                "one parent folder"
            } else {
                "the data"
            };
            let needed = task.shots + 1;
            let allowed = format!("{place} has at most {most} classes of {needed} images or more");
            return Err(parameter("ways", task.ways.to_string(), allowed));
        }
        Ok(Self {
            classes,
            groups,
            task: *task,
        })
    }

    /// Runs one trial.
    #[must_use]
    pub fn outcome(&self, trial: u64) -> Outcome {
        let random = &mut Random::new(self.task.seed, trial);
        let vectors = |class: usize| &self.classes[class].vectors;
        let group = &self.groups[random.below(self.groups.len())];
        let chosen = random.distinct(group.len(), self.task.ways);
        let own = group[chosen[0]];
        let drawn = random.distinct(vectors(own).len(), self.task.shots + 1);
        let probe = &vectors(own)[drawn[0]];
        let nearest = |class: usize, images: &[usize]| {
            let scored = images
                .iter()
                .map(|i| (Place::new(class, *i), cosine(probe, &vectors(class)[*i])));
            scored.fold(NOBODY, |best, one| if one.1 > best.1 { one } else { best })
        };
        let right = nearest(own, &drawn[1..]);
        let rival = chosen[1..].iter().fold(NOBODY, |best, other| {
            let class = group[*other];
            let drawn = random.distinct(vectors(class).len(), self.task.shots);
            let one = nearest(class, &drawn);
            if one.1 > best.1 { one } else { best }
        });
        Outcome {
            probe: Place::new(own, drawn[0]),
            right,
            rival,
        }
    }

    /// Runs all of them; `progress` hears of trials done.
    #[must_use]
    pub fn tally(&self, progress: &(dyn Fn(u64) + Sync)) -> Tally {
        const AT_ONCE: u64 = 1_024;
        let some = |nth: u64| {
            let last = self.task.trials.min((nth + 1) * AT_ONCE);
            let mut tally = Tally::new(self.classes.len());
            for trial in nth * AT_ONCE..last {
                tally.add(&self.outcome(trial));
            }
            progress(last - nth * AT_ONCE);
            tally
        };
        let chunks = (0..self.task.trials.div_ceil(AT_ONCE)).into_par_iter();
        let empty = || Tally::new(self.classes.len());
        chunks.map(some).reduce(empty, Tally::merge)
    }
}

/// Runs the trials.
///
/// # Errors
/// As [`Trials::new`].
pub fn run(classes: &[Embedded], task: &Task) -> Result<Rate, EvalError> {
    Ok(Trials::new(classes, task)?.tally(&|_| {}).total)
}

fn within(field: &'static str, was: u64, allowed: RangeInclusive<u64>) -> Result<(), EvalError> {
    if allowed.contains(&was) {
        return Ok(());
    }
    let allowed = format!("{} to {} are allowed", allowed.start(), allowed.end());
    Err(parameter(field, was.to_string(), allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Embedding, Metric};

    fn classes(vectors: &[[f32; 2]]) -> Vec<Embedded> {
        let class = |v: &[f32; 2]| Embedded {
            parent: "p".into(),
            vectors: vec![Embedding::new(v.to_vec(), 2, Metric::Cosine).unwrap(); 3],
        };
        vectors.iter().map(class).collect()
    }

    #[test]
    fn perfect_and_hopeless_classes() {
        let task = Task {
            ways: 2,
            shots: 2,
            trials: 50,
            within_parent: true,
            seed: 1,
        };
        let apart = classes(&[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]);
        assert_eq!(run(&apart, &task).unwrap().errors, 0);
        let alike = classes(&[[1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(run(&alike, &task).unwrap().errors, 50);
        let most = usize::MAX;
        for (bad, field) in [
            (Task { ways: 4, ..task }, "ways: 4; "),
            (Task { shots: 3, ..task }, "ways: 2; "),
            (Task { ways: 1, ..task }, "ways: 1; 2 to 100000 are"),
            (Task { ways: most, ..task }, "ways: 18446744073709551615; "),
            (Task { shots: 0, ..task }, "shots: 0; 1 to 100000 are"),
            (
                Task {
                    shots: most,
                    ..task
                },
                "shots: 18446744073709551615; ",
            ),
            (Task { trials: 0, ..task }, "trials: 0; 1 to 10000000 are"),
        ] {
            let told = run(&apart, &bad).unwrap_err().to_string();
            assert!(told.starts_with(field), "{told}");
        }
    }
}
