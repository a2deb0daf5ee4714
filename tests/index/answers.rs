//! What searches of a sealed segment find.

use super::support::{clustered, noise, query, sealed, seqs, vector};
use std::sync::atomic::AtomicBool;
use twindex::domain::{Embedding, Metric, Recall};
use twindex::index::{Index, Options, Query};

#[test]
fn a_sealed_segment_is_found_again_by_its_graph() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
        let index = Index::new(Options::new(32, metric));
        index.apply(6_000, clustered(6_000, 32, metric), &[]);
        let job = index.seal_job().unwrap();
        // Rows die while the segment is built.
        let dead: Vec<u64> = (1..=6_000).filter(|s| s % 10 == 0).collect();
        index.apply(6_001, vec![], &dead);
        index.install(job.build(1, &AtomicBool::new(false), &|_| {}).unwrap());
        let snapshot = index.snapshot();
        assert_eq!(snapshot.stats().segments, 1);
        let (mut right, mut all) = (0, 0);
        // A recall is promised for probes like the rows: those of the clusters that live.
        let probes = clustered(6_200, 32, metric).split_off(6_000);
        for probe in probes.iter().filter(|probe| probe.seq % 10 != 0) {
            let exact = snapshot.search(&query(&probe.vector, 10, true), None);
            let asked = Query {
                recall: Recall::new("recall", 0.99).unwrap(),
                ..query(&probe.vector, 10, false)
            };
            let walked = snapshot.search(&asked, None);
            assert!(walked.iter().all(|h| h.seq % 10 != 0), "the dead stay dead");
            all += exact.len();
            right += exact
                .iter()
                .filter(|e| walked.iter().any(|w| w.seq == e.seq))
                .count();
        }
        let recall = right as f64 / all as f64;
        assert!(recall >= 0.98, "{metric:?}: recall@10 is {recall}");
        let probe = &clustered(1, 32, metric)[0].vector;
        assert!(snapshot.cost(&query(probe, 10, false), 1, 6_000) < 6_000);
    }
}

#[test]
fn equals_come_in_the_order_of_insertion_however_they_are_found() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
        // Three points, 2,000 rows each, taking turns.
        let rows = (0..6_000).map(|n| vector(n % 3, 16, metric)).collect();
        let index = sealed(metric, 16, rows);
        for k in [1, 10, 100, 2_100, 7_000] {
            let probe = vector(9, 16, metric);
            let walked = seqs(&index, &query(&probe, k, false));
            assert_eq!(
                walked,
                seqs(&index, &query(&probe, k, true)),
                "{metric:?}, k {k}"
            );
        }
    }
}

#[test]
fn inner_products_are_found_whatever_the_lengths() {
    let (metric, dim) = (Metric::Dot, 32);
    for spread in [0.2, 1.0, 2.0_f32] {
        let point = |n: u64| {
            let length = (noise(n + 77) * spread).exp();
            let at = |i| length * (noise((n % 200) * 7_777 + i) + 0.5 * noise(n * 5_000 + i));
            Embedding::new((0..dim).map(at).collect(), 32, metric).unwrap()
        };
        let index = sealed(metric, 32, (1..=4_000).map(point).collect());
        let mut right = 0;
        for probe in (5_001..5_101).map(point) {
            let truth = seqs(&index, &query(&probe, 10, true));
            let asked = Query {
                recall: Recall::new("recall", 0.99).unwrap(),
                ..query(&probe, 10, false)
            };
            let found = seqs(&index, &asked);
            right += found.iter().filter(|seq| truth.contains(seq)).count();
        }
        assert!(right >= 980, "recall {right} of 1,000 at spread {spread}");
    }
}

#[test]
fn a_walk_leads_to_rows_of_few_dimensions() {
    let vectors = (1..=10_000).map(|n| vector(n, 16, Metric::Euclidean));
    let index = sealed(Metric::Euclidean, 16, vectors.collect());
    let probe = vector(77_777, 16, Metric::Euclidean);
    let cost = index
        .snapshot()
        .cost(&query(&probe, 10, false), 1, usize::MAX);
    assert!(cost < 5_000, "about {cost} distances are no walk");
}
