//! Where indexes go wrong: few rows, odd dimensions, rows that are all one, lengths far apart.

use super::support::{self, noise};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use twindex::domain::{Embedding, Facets, Metric, Recall};
use twindex::index::{Index, Options, Query, Row};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Euclidean, Metric::Dot];

/// An index, and what must be in it: the vectors of the rows that live.
struct Case {
    metric: Metric,
    index: Index<u64>,
    live: BTreeMap<u64, Embedding>,
    at: u64,
}

impl Case {
    fn of(metric: Metric, vectors: Vec<Vec<f32>>, dim: usize) -> Self {
        let made = |values| Embedding::new(values, dim, metric).unwrap();
        let live: BTreeMap<u64, Embedding> = (1..).zip(vectors.into_iter().map(made)).collect();
        let rows = live.iter().map(|(seq, vector)| Row {
            seq: *seq,
            vector: vector.clone(),
            tag: *seq,
            facets: Facets::default(),
        });
        let (index, at) = (Index::new(Options::new(dim, metric)), live.len() as u64);
        index.apply(at, rows.collect(), &[]);
        Self {
            metric,
            index,
            live,
            at,
        }
    }

    fn kill(&mut self, which: impl Fn(u64) -> bool) {
        let dead: Vec<u64> = self
            .live
            .keys()
            .copied()
            .filter(|seq| which(*seq))
            .collect();
        self.at += 1;
        self.index.apply(self.at, vec![], &dead);
        self.live.retain(|seq, _| !which(*seq));
    }

    /// Makes a segment of all rows.
    fn seal(&mut self) {
        if let Some(job) = self.index.seal_job() {
            let built = job
                .build(self.at, &AtomicBool::new(false), &|_| {})
                .unwrap();
            self.index.install(built);
        }
        assert_eq!(self.index.snapshot().stats().tail_rows, 0);
    }

    /// Makes a segment of what lives in one.
    fn rewrite(&mut self) {
        if let Some(job) = self.index.next_rewrite(true) {
            let built = job
                .build(self.at + 1, &AtomicBool::new(false), &|_| {})
                .unwrap();
            self.index.install(built);
        }
    }

    /// The distances of all rows to a probe, nearest first, as doubles have them.
    fn truth(&self, probe: &Embedding) -> Vec<(f64, u64)> {
        let all = self
            .live
            .iter()
            .map(|(seq, v)| (distance(self.metric, probe, v), *seq));
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all
    }

    /// Compares an exact search, and one for a recall, with the truth; how many of those nearest
    /// the latter found, of how many.
    fn check(&self, probe: &Embedding, k: usize) -> (usize, usize) {
        let snapshot = self.index.snapshot();
        assert_eq!(snapshot.len(), self.live.len());
        let truth = self.truth(probe);
        let wanted = k.min(truth.len());
        let mut right = 0;
        for exact in [true, false] {
            let hits = snapshot.search(&query(probe, k, exact), None);
            assert_eq!(hits.len(), wanted, "k come back");
            assert!(hits.is_sorted_by(|a, b| (a.distance, a.seq) < (b.distance, b.seq)));
            let mut found = hits.iter().map(|hit| f64::from(hit.distance));
            for hit in &hits {
                let expected = distance(self.metric, probe, &self.live[&hit.seq]);
                assert!(
                    self.is_near(hit.distance, expected, probe, &hit.seq),
                    "{hit:?} {expected}"
                );
            }
            if exact {
                for (hit, (expected, seq)) in hits.iter().zip(&truth) {
                    assert!(
                        self.is_near(hit.distance, *expected, probe, seq),
                        "{hit:?} {expected}"
                    );
                }
            } else if let Some((edge, seq)) = wanted.checked_sub(1).map(|last| truth[last]) {
                right = found
                    .by_ref()
                    .filter(|d| *d <= edge || self.is_near(*d as f32, edge, probe, &seq))
                    .count();
            }
        }
        (right, wanted)
    }

    /// Sums of floats err by what is summed.
    fn is_near(&self, found: f32, expected: f64, probe: &Embedding, seq: &u64) -> bool {
        let lengths = length(probe) * length(&self.live[seq]);
        (f64::from(found) - expected).abs() <= 1e-5 * (1.0 + lengths + expected.abs())
            // The square root of a difference.
            || self.metric == Metric::Euclidean
                && (f64::from(found).powi(2) - expected.powi(2)).abs() <= 1e-5 * lengths
    }
}

fn length(vector: &Embedding) -> f64 {
    let squares = vector.as_slice().iter().map(|x| f64::from(*x).powi(2));
    squares.sum::<f64>().sqrt()
}

fn distance(metric: Metric, a: &Embedding, b: &Embedding) -> f64 {
    let pairs = || {
        let (a, b) = (a.as_slice().iter(), b.as_slice().iter());
        a.zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)))
    };
    let dot = || pairs().map(|(x, y)| x * y).sum::<f64>();
    match metric {
        Metric::Cosine => (1.0 - dot()).max(0.0),
        Metric::Euclidean => pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt(),
        Metric::Dot => -dot(),
    }
}

fn query(vector: &Embedding, k: usize, exact: bool) -> Query<'_> {
    Query {
        recall: Recall::new("recall", 0.99).unwrap(),
        ..support::query(vector, k, exact)
    }
}

/// Never all zeros.
fn point(n: u64, dim: usize) -> Vec<f32> {
    let value = |i| noise(n * 5_003 + i) + 1e-5;
    (0..dim as u64).map(value).collect()
}

/// As a collection lives: fresh rows, some of them deleted, sealed, some more deleted, sealed again.
fn live(mut case: Case, probes: &[Vec<f32>], ks: &[usize], at_least: f64) {
    let dim = probes[0].len();
    let made = |values: &Vec<f32>| Embedding::new(values.clone(), dim, case.metric).unwrap();
    let probes: Vec<Embedding> = probes.iter().map(made).collect();
    for step in 0..5 {
        match step {
            1 => case.kill(|seq| seq % 7 == 1),
            2 => case.seal(),
            4 => case.rewrite(),
            3 => case.kill(|seq| seq % 5 == 2),
            _ => {}
        }
        let (mut right, mut all) = (0, 0);
        for (probe, k) in probes.iter().flat_map(|p| ks.iter().map(move |k| (p, *k))) {
            let (found, of) = case.check(probe, k);
            (right, all) = (right + found, all + of);
        }
        let told = format!(
            "{:?}, {dim} dimensions, step {step}: {right} of {all}",
            case.metric
        );
        assert!(right as f64 >= at_least * all as f64, "{told}");
    }
}

#[test]
fn any_dimension_and_any_number_of_rows() {
    for dim in [1, 2, 3, 31, 33, 100, 4_096] {
        for (metric, rows) in METRICS
            .into_iter()
            .flat_map(|m| [0, 1, 2, 300].map(|n| (m, n)))
        {
            let vectors = (1..=rows).map(|n| point(n, dim)).collect();
            let probes: Vec<_> = (900..910).map(|n| point(n, dim)).collect();
            live(Case::of(metric, vectors, dim), &probes, &[1, 2, 10], 0.97);
        }
    }
}

#[test]
fn graphs_of_any_dimension() {
    for dim in [1, 2, 3, 31, 33, 100] {
        for metric in METRICS {
            let vectors = (1..=1_500).map(|n| point(n, dim)).collect();
            // A recall is promised for probes like the rows.
            let probes: Vec<_> = (5_000..5_030).map(|n| point(n, dim)).collect();
            live(Case::of(metric, vectors, dim), &probes, &[10], 0.95);
        }
    }
}

#[test]
fn half_of_the_rows_are_one() {
    let (dim, n) = (32, 20_000_u64);
    for metric in METRICS {
        let vector = |seq: u64| point(if seq.is_multiple_of(2) { 0 } else { seq }, dim);
        let case = Case::of(metric, (1..=n).map(vector).collect(), dim);
        let mut probes: Vec<_> = (n..n + 20).map(|n| point(n, dim)).collect();
        probes.push(point(0, dim));
        live(case, &probes, &[1, 10, 100], 0.95);
    }
}

/// Equal rows lead nowhere from one another, and yet a graph of them comes to an end.
#[test]
fn all_rows_are_one() {
    for (metric, value) in METRICS.into_iter().flat_map(|m| [(m, 0.5), (m, 0.0)]) {
        if metric == Metric::Cosine && value == 0.0 {
            continue;
        }
        let dim = 32;
        let case = Case::of(metric, vec![vec![value; dim]; 5_000], dim);
        let probes = [vec![0.5; dim], point(1, dim)];
        live(case, &probes, &[1, 10, 6_000], 1.0);
    }
}

#[test]
fn lengths_far_apart() {
    let dim = 32;
    for (metric, most) in [
        (Metric::Dot, 7.0_f32),
        (Metric::Euclidean, 7.0),
        (Metric::Cosine, 30.0),
    ] {
        let vector = |n: u64| {
            let length = (most * noise(n + 77)).exp();
            // No cluster dies as a whole: a recall is promised for probes like the rows.
            let near = point(n % 97, dim).into_iter().zip(point(n, dim));
            near.map(|(c, own)| length * (c + 0.5 * own))
                .collect::<Vec<f32>>()
        };
        let case = Case::of(metric, (1..=4_000).map(vector).collect(), dim);
        let probes: Vec<_> = (5_000..5_050).map(vector).collect();
        live(case, &probes, &[10], 0.95);
    }
}
