//! Which way of deciding is best here: nearest example, vote or prototype.
//!
//! All classes are the gallery, with a number of examples each, drawn anew in every repetition;
//! the other images (at most [`PROBES`] a class) are the probes, the same for every method. What
//! is compared are classes, not probes: those of one class fail together.

use super::{Embedded, EvalError, parameter};
use crate::domain::calibration::student;
use crate::domain::{Embedding, Example, ItemId, Label, Metric, Rule, rank};
use crate::training::random::Random;
use rayon::prelude::*;

/// The ways, in the order of [`Methods::accuracy`].
pub const METHODS: [&str; 3] = ["nearest", "vote", "prototype"];
/// Most probes of a class in a repetition.
pub const PROBES: usize = 5;
/// Most classes: the time grows with their square.
const MAX_CLASSES: usize = 2_000;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Examples of each class, 1 to 100.
    pub shots: usize,
    /// Examples that vote, 1 to 1,000.
    pub votes: usize,
    /// Repetitions, 1 to 1,000.
    pub repetitions: u64,
    /// Seed of the draws.
    pub seed: u64,
}

/// A mean over classes, and its 95 % confidence interval over draws of classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half the interval's width.
    pub reach: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Methods {
    /// Share of probes named right, by method.
    pub accuracy: [Mean; 3],
    /// The place of the best in [`METHODS`].
    pub best: usize,
    /// By how much the best is better than each, class by class on the same probes.
    pub lead: [Mean; 3],
    /// Classes.
    pub classes: usize,
    /// Probes in all repetitions together.
    pub probes: u64,
}

impl Methods {
    /// Whether the best is better than another beyond chance (95 %).
    #[must_use]
    pub fn proven(&self, other: usize) -> bool {
        self.lead[other].mean > self.lead[other].reach
    }
}

/// Measures.
///
/// # Errors
/// A parameter out of range, or fewer than two classes of more images than `shots`.
pub fn run(
    classes: &[Embedded],
    task: &Task,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Methods, EvalError> {
    let within = |field, was: u64, most: u64| {
        let allowed = format!("1 to {most} are allowed");
        (1..=most)
            .contains(&was)
            .then_some(())
            .ok_or_else(|| parameter(field, was.to_string(), allowed))
    };
    within("shots", task.shots as u64, 100)?;
    within("votes", task.votes as u64, 1_000)?;
    within("repetitions", task.repetitions, 1_000)?;
    let classes: Vec<&Embedded> = classes
        .iter()
        .filter(|c| c.vectors.len() > task.shots)
        .collect();
    if !(2..=MAX_CLASSES).contains(&classes.len()) {
        let was = format!(
            "{} classes of more than {} images",
            classes.len(),
            task.shots
        );
        return Err(parameter(
            "data",
            was,
            format!("2 to {MAX_CLASSES} are allowed"),
        ));
    }
    let right = (0..task.repetitions).into_par_iter().map(|nth| {
        let right = repetition(&classes, task, nth);
        progress(1);
        right
    });
    let mut sums = vec![([0_u32; 3], 0_u32); classes.len()];
    for repetition in right.collect::<Vec<_>>() {
        for (sum, (right, probes)) in sums.iter_mut().zip(repetition) {
            sum.0.iter_mut().zip(right).for_each(|(s, r)| *s += r);
            sum.1 += probes;
        }
    }
    let shares = |of: &dyn Fn(&[f64; 3]) -> f64| -> Vec<f64> {
        let each = sums
            .iter()
            .map(|(right, probes)| of(&right.map(|r| f64::from(r) / f64::from((*probes).max(1)))));
        each.collect()
    };
    let accuracy = [0, 1, 2].map(|m| Mean::of(&shares(&|share| share[m])));
    let best = (0..3).fold(0, |best, m| {
        if accuracy[m].mean > accuracy[best].mean {
            m
        } else {
            best
        }
    });
    Ok(Methods {
        accuracy,
        best,
        lead: [0, 1, 2].map(|m| Mean::of(&shares(&|share| share[best] - share[m]))),
        classes: classes.len(),
        probes: sums.iter().map(|(_, probes)| u64::from(*probes)).sum(),
    })
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self {
            mean,
            reach: student(n - 1.0) * (variance / n).sqrt(),
        }
    }
}

/// Probes named right by each method, and probes, of each class.
fn repetition(classes: &[&Embedded], task: &Task, nth: u64) -> Vec<([u32; 3], u32)> {
    let mut random = Random::new(task.seed, nth);
    let drawn: Vec<Vec<usize>> = classes
        .iter()
        .map(|c| random.distinct(c.vectors.len(), task.shots + PROBES))
        .collect();
    let gallery: Vec<Vec<&Embedding>> = classes
        .iter()
        .zip(&drawn)
        .map(|(c, drawn)| drawn[..task.shots].iter().map(|i| &c.vectors[*i]).collect())
        .collect();
    let means: Vec<Option<Embedding>> = gallery.iter().map(|g| mean(g)).collect();
    let one = |(class, drawn): (usize, &Vec<usize>)| {
        let probes = &drawn[task.shots..];
        let mut right = [0; 3];
        for probe in probes {
            let probe = &classes[class].vectors[*probe];
            let named = named(probe, class, &gallery, &means, task.votes);
            right
                .iter_mut()
                .zip(named)
                .for_each(|(r, n)| *r += u32::from(n));
        }
        (right, u32::try_from(probes.len()).unwrap_or(u32::MAX))
    };
    drawn.iter().enumerate().map(one).collect()
}

fn mean(examples: &[&Embedding]) -> Option<Embedding> {
    let dim = examples.first()?.as_slice().len();
    let mut sum = vec![0.0; dim];
    for example in examples {
        let each = sum.iter_mut().zip(example.as_slice());
        each.for_each(|(s, x)| *s += x);
    }
    Embedding::new(sum, dim, Metric::Cosine).ok()
}

/// Whether each method names the probe's class; a tie does not.
fn named(
    probe: &Embedding,
    own: usize,
    gallery: &[Vec<&Embedding>],
    means: &[Option<Embedding>],
    votes: usize,
) -> [bool; 3] {
    let between = |other: &Embedding| Metric::Cosine.between(probe, other);
    let mut all: Vec<(f32, usize)> = Vec::with_capacity(gallery.len());
    for (class, examples) in gallery.iter().enumerate() {
        all.extend(examples.iter().map(|e| (between(e), class)));
    }
    // Among equals those of other classes come first.
    let order = |a: &(f32, usize), b: &(f32, usize)| {
        a.0.total_cmp(&b.0).then((a.1 == own).cmp(&(b.1 == own)))
    };
    let votes = votes.min(all.len());
    if votes < all.len() {
        all.select_nth_unstable_by(votes, order);
        all.truncate(votes);
    }
    all.sort_unstable_by(order);
    let by_mean = means.iter().map(|m| m.as_ref().map_or(f32::MAX, between));
    let by_mean: Vec<f32> = by_mean.collect();
    let others = by_mean
        .iter()
        .enumerate()
        .filter(|(class, _)| *class != own);
    let prototype = others.fold(f32::MAX, |least, (_, d)| least.min(*d)) > by_mean[own];
    [
        all.first().is_some_and(|(_, class)| *class == own),
        voted(&all) == Some(own),
        prototype,
    ]
}

/// The class that the nearest vote for, by the very rule that a collection decides by.
fn voted(nearest: &[(f32, usize)]) -> Option<usize> {
    let examples = nearest.iter().filter_map(|(distance, class)| {
        Some(Example {
            id: ItemId::new(class.to_string()).ok()?,
            label: Label::new(class.to_string()).ok()?,
            distance: *distance,
        })
    });
    let examples: Vec<Example> = examples.collect();
    let first = rank(Rule::Vote, &examples).into_iter().next()?;
    first.label.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes around the circle, whose examples scatter by so many degrees.
    fn circle(scatter: f32) -> Vec<Embedded> {
        let mut random = Random::new(1, 0);
        let class = |n: u8| {
            let vectors = (0..20).map(|_| {
                let degrees = 30.0 * f32::from(n) + scatter * random.normal();
                let (y, x) = degrees.to_radians().sin_cos();
                Embedding::new(vec![x, y], 2, Metric::Cosine).unwrap()
            });
            Embedded {
                parent: String::new(),
                vectors: vectors.collect(),
            }
        };
        (0..12).map(class).collect()
    }

    #[test]
    fn means_are_best_where_examples_scatter() {
        let task = Task {
            shots: 10,
            votes: 5,
            repetitions: 20,
            seed: 1,
        };
        let clear = run(&circle(1.0), &task, &|_| {}).unwrap();
        assert!(clear.accuracy.iter().all(|m| m.mean > 0.999));
        assert!(!clear.proven(0) && !clear.proven(1), "all are perfect");
        let noisy = run(&circle(14.0), &task, &|_| {}).unwrap();
        assert_eq!(METHODS[noisy.best], "prototype", "{noisy:?}");
        assert!(noisy.proven(0), "{noisy:?}");
        assert_eq!((noisy.classes, noisy.probes), (12, 12 * 5 * 20));
        for (bad, field) in [
            (Task { shots: 0, ..task }, "shots: 0; 1 to 100 are"),
            (
                Task { shots: 20, ..task },
                "data: 0 classes of more than 20",
            ),
            (Task { votes: 0, ..task }, "votes: 0; "),
            (
                Task {
                    repetitions: 0,
                    ..task
                },
                "repetitions: 0; ",
            ),
        ] {
            let told = run(&circle(1.0), &bad, &|_| {}).unwrap_err().to_string();
            assert!(told.starts_with(field), "{told}");
        }
    }
}
