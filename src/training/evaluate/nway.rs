//! N-way K-shot classification by the nearest example.
//!
//! A trial draws N classes, K examples of each, and one probe of the first class that is
//! none of the examples. It fails unless the nearest example is of the probe's class; a tie
//! fails.

use super::stats::Rate;
use super::{Embedded, EvalError, cosine, parameter};
use crate::training::random::Random;
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

/// Runs the trials.
///
/// # Errors
/// A parameter out of range, or too few classes or images for it.
pub fn run(classes: &[Embedded], task: &Task) -> Result<Rate, EvalError> {
    task.check()?;
    let mut groups: BTreeMap<&str, Vec<&Embedded>> = BTreeMap::new();
    for class in classes.iter().filter(|c| c.vectors.len() > task.shots) {
        let group = if task.within_parent {
            class.parent.as_str()
        } else {
            ""
        };
        groups.entry(group).or_default().push(class);
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
    let failed = |trial: &u64| fails(&groups, task, &mut Random::new(task.seed, *trial));
    Ok(Rate {
        errors: (0..task.trials).filter(failed).count() as u64,
        trials: task.trials,
    })
}

fn within(field: &'static str, was: u64, allowed: RangeInclusive<u64>) -> Result<(), EvalError> {
    if allowed.contains(&was) {
        return Ok(());
    }
    let allowed = format!("{} to {} are allowed", allowed.start(), allowed.end());
    Err(parameter(field, was.to_string(), allowed))
}

fn fails(groups: &[Vec<&Embedded>], task: &Task, random: &mut Random) -> bool {
    let group = &groups[random.below(groups.len())];
    let chosen = random.distinct(group.len(), task.ways);
    let own = &group[chosen[0]].vectors;
    let drawn = random.distinct(own.len(), task.shots + 1);
    let probe = &own[drawn[0]];
    let right = drawn[1..]
        .iter()
        .map(|i| cosine(probe, &own[*i]))
        .fold(f32::MIN, f32::max);
    chosen[1..].iter().any(|class| {
        let other = &group[*class].vectors;
        let drawn = random.distinct(other.len(), task.shots);
        drawn.iter().any(|i| cosine(probe, &other[*i]) >= right)
    })
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
