//! Labelled vectors to comparisons of known truth: what a calibration learns from.
//!
//! Everything is compared with everything, within limits: so many labels, examples and probes,
//! drawn with a seed where there are more.

use super::random::Random;
use crate::domain::calibration::{Comparison, Table};
use crate::domain::{Embedding, Metric};
use crate::simd::{AlignedRows, dot, squared_l2};
use std::ops::Range;
use xxhash_rust::xxh3::Xxh3;

/// Most labels that take part.
pub const MAX_LABELS: usize = 1_000;
/// Most examples that take part, of all labels together.
pub const MAX_EXAMPLES: usize = 20_000;
/// Most examples of one label.
pub const MAX_EXAMPLES_OF_LABEL: usize = 200;
/// Most examples that are compared with all others.
pub const MAX_PROBES: usize = 3_000;

/// The examples of a label.
#[derive(Debug, Clone)]
pub struct Labelled<'a> {
    /// The label.
    pub label: &'a str,
    /// Ids and vectors; of unit length where the metric is cosine.
    pub examples: Vec<(&'a str, &'a [f32])>,
}

/// Comparisons, and what they are of.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Single examples with one another: genuine, impostor.
    pub pairs: [Vec<Comparison>; 2],
    /// Probes with labels, by the nearest example that is not the probe itself.
    pub nearest: Table,
    /// Probes with labels, by the mean of the examples without the probe itself.
    pub prototype: Table,
    /// Examples that took part.
    pub items: u32,
    /// Of their ids, labels and vectors.
    pub fingerprint: String,
}

/// Compares. Labels of one example have nothing genuine, and take no part. The answer follows
/// from the data and the seed, not from the order of either.
///
/// `None` once `given_up` says so.
#[must_use]
pub fn compare(
    labelled: Vec<Labelled<'_>>,
    metric: Metric,
    dim: usize,
    seed: u64,
    given_up: &dyn Fn() -> bool,
) -> Option<Compared> {
    let sample = Sample::draw(labelled, metric, dim, seed);
    let mut nearest = sample.table();
    let mut prototype = sample.table();
    let mut pairs = [Vec::new(), Vec::new()];
    let means = sample.means();
    for (nth, probe) in sample.probes.iter().enumerate() {
        if given_up() {
            return None;
        }
        let row = sample.similarities(*probe);
        nearest.scores.extend(sample.nearest(&row, *probe));
        prototype.scores.extend(sample.to_means(&means, *probe));
        let own = sample.class_of[*probe];
        for other in &sample.probes[..nth] {
            let class = sample.class_of[*other];
            pairs[usize::from(class != own)].push(Comparison {
                similarity: row[*other],
                classes: [own, class],
            });
        }
    }
    Some(Compared {
        pairs,
        nearest,
        prototype,
        items: u32::try_from(sample.rows.len()).unwrap_or(u32::MAX),
        fingerprint: sample.fingerprint,
    })
}

/// What takes part.
struct Sample {
    metric: Metric,
    dim: usize,
    rows: AlignedRows,
    class_of: Vec<u16>,
    /// The rows of each class.
    classes: Vec<Range<usize>>,
    /// Rows compared with all others.
    probes: Vec<usize>,
    fingerprint: String,
}

impl Sample {
    fn draw(mut labelled: Vec<Labelled<'_>>, metric: Metric, dim: usize, seed: u64) -> Self {
        labelled.retain(|l| l.examples.len() > 1);
        labelled.sort_unstable_by_key(|l| l.label);
        let mut random = Random::new(seed, 0);
        let drawn = random.distinct(labelled.len(), MAX_LABELS);
        let share = |all: usize| all / drawn.len().max(1);
        let most = share(MAX_EXAMPLES).clamp(2, MAX_EXAMPLES_OF_LABEL);
        let probes_each = share(MAX_PROBES).max(2);
        let mut sample = Self {
            metric,
            dim,
            rows: AlignedRows::with_capacity(dim, 0),
            class_of: Vec::new(),
            classes: Vec::new(),
            probes: Vec::new(),
            fingerprint: String::new(),
        };
        let mut hash = Xxh3::new();
        for (class, place) in (0_u16..).zip(drawn) {
            let Labelled { label, examples } = &mut labelled[place];
            examples.sort_unstable_by_key(|(id, _)| *id);
            hash.update(label.as_bytes());
            let start = sample.rows.len();
            for nth in random.distinct(examples.len(), most) {
                let (id, vector) = examples[nth];
                hash.update(id.as_bytes());
                for x in vector {
                    hash.update(&x.to_le_bytes());
                }
                sample.rows.push(vector);
                sample.class_of.push(class);
            }
            let end = sample.rows.len();
            sample.probes.extend(start..end.min(start + probes_each));
            sample.classes.push(start..end);
        }
        sample.fingerprint = format!("{:016x}", hash.digest());
        sample
    }

    fn table(&self) -> Table {
        Table {
            labels: u16::try_from(self.classes.len()).unwrap_or(u16::MAX),
            probes: self.probes.iter().map(|p| self.class_of[*p]).collect(),
            scores: Vec::with_capacity(self.probes.len() * self.classes.len()),
        }
    }

    fn similarities(&self, probe: usize) -> Vec<f32> {
        let query = self.rows.padded(probe);
        let similarity = |row: usize| {
            let row = self.rows.padded(row);
            let distance = match self.metric {
                Metric::Cosine => (1.0 - dot(query, row)).max(0.0),
                Metric::Euclidean => squared_l2(query, row).max(0.0).sqrt(),
                Metric::Dot => -dot(query, row),
            };
            self.metric.similarity(distance)
        };
        (0..self.rows.len()).map(similarity).collect()
    }

    fn nearest<'a>(&'a self, row: &'a [f32], probe: usize) -> impl Iterator<Item = f32> + 'a {
        self.classes.iter().map(move |class| {
            let others = class.clone().filter(|other| *other != probe);
            others.map(|other| row[other]).fold(f32::NAN, f32::max)
        })
    }

    /// The mean of each class.
    fn means(&self) -> Vec<Option<Embedding>> {
        let classes = self.classes.iter();
        classes.map(|class| self.mean(class, None)).collect()
    }

    /// The mean of a class, without one of it; none where examples cancel out.
    fn mean(&self, class: &Range<usize>, without: Option<usize>) -> Option<Embedding> {
        let mut sum = vec![0.0; self.dim];
        let mut n = 0.0;
        for row in class.clone().filter(|row| Some(*row) != without) {
            let each = sum.iter_mut().zip(self.rows.row(row));
            each.for_each(|(s, x)| *s += x);
            n += 1.0;
        }
        for s in &mut sum {
            *s /= n;
        }
        Embedding::new(sum, self.dim, self.metric).ok()
    }

    fn to_means<'a>(
        &'a self,
        means: &'a [Option<Embedding>],
        probe: usize,
    ) -> impl Iterator<Item = f32> + 'a {
        let values = self.rows.row(probe).to_vec();
        let probe_vector = Embedding::new(values, self.dim, self.metric).ok();
        self.classes.iter().zip(means).map(move |(class, mean)| {
            let own = class.contains(&probe);
            let without = own.then(|| self.mean(class, Some(probe)));
            let mean = without.as_ref().unwrap_or(mean).as_ref();
            match (&probe_vector, mean) {
                (Some(a), Some(b)) => self.metric.similarity(self.metric.between(a, b)),
                _ => f32::NAN,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Examples = Vec<(String, [f32; 2])>;

    /// Labels on a circle, each with examples a few degrees apart, and one of a single example.
    fn circle() -> Vec<(String, Examples)> {
        let at = |degrees: f32| {
            let (y, x) = degrees.to_radians().sin_cos();
            [x, y]
        };
        let label = |n: u8| {
            let examples = (0..3_u8).map(move |k| {
                let degrees = 30.0 * f32::from(n) + 2.0 * f32::from(k);
                (format!("{n}/{k}"), at(degrees))
            });
            (
                format!("label {n}"),
                examples.take(if n == 11 { 1 } else { 3 }),
            )
        };
        (0..12)
            .map(label)
            .map(|(label, examples)| (label, examples.collect()))
            .collect()
    }

    fn labelled(circle: &[(String, Examples)]) -> Vec<Labelled<'_>> {
        circle
            .iter()
            .map(|(label, examples)| Labelled {
                label,
                examples: examples.iter().map(|(id, v)| (&**id, &v[..])).collect(),
            })
            .collect()
    }

    #[test]
    fn everything_is_compared_and_nothing_with_itself() {
        let circle = circle();
        let found = compare(labelled(&circle), Metric::Cosine, 2, 1, &|| false).unwrap();
        assert_eq!((found.items, found.nearest.labels), (33, 11));
        assert_eq!(
            (found.pairs[0].len(), found.pairs[1].len()),
            (33, 33 * 32 / 2 - 33)
        );
        let [genuine, impostor] = found.nearest.comparisons();
        assert_eq!((genuine.len(), impostor.len()), (33, 330));
        // Nearest of its own: 2 degrees away, never 0; of others: 26 at least.
        let cos = |degrees: f32| degrees.to_radians().cos();
        for c in &genuine {
            assert!((c.similarity - cos(2.0)).abs() < 1e-4, "{c:?}");
        }
        let best = impostor
            .iter()
            .map(|c| c.similarity)
            .fold(f32::MIN, f32::max);
        assert!((best - cos(26.0)).abs() < 1e-4);
        // From the mean of the two others: 3, 0 or 3 degrees.
        let [genuine, _] = found.prototype.comparisons();
        let apart = genuine
            .iter()
            .filter(|c| (c.similarity - cos(3.0)).abs() < 1e-4);
        assert_eq!(apart.count(), 22);
    }

    #[test]
    fn the_answer_follows_from_data_and_seed() {
        let circle = circle();
        let print = |all: Vec<Labelled<'_>>, seed| {
            compare(all, Metric::Euclidean, 2, seed, &|| false)
                .unwrap()
                .fingerprint
        };
        let mut turned = labelled(&circle);
        turned.reverse();
        for label in &mut turned {
            label.examples.reverse();
        }
        assert_eq!(print(labelled(&circle), 1), print(turned, 1));
        assert_ne!(print(labelled(&circle), 1), print(labelled(&circle), 2));
        assert!(compare(labelled(&circle), Metric::Dot, 2, 1, &|| true).is_none());
    }
}
