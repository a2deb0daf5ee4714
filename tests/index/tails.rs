//! Rows that are not sealed yet, beside those whose space they are coded in.

use super::support::{clustered, facets, noise, query};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use twindex::domain::{Embedding, Filter, Metric, Range};
use twindex::index::{Index, Options, Query, Row};

const DIM: usize = 48;
const SEALED: u64 = 4_000;
const FRESH: u64 = 3_000;

/// Some rows in a segment, and as they came by and by the others.
fn index(metric: Metric, mut rows: Vec<Row<u64>>) -> Index<u64> {
    rows.iter_mut().for_each(|row| row.facets = facets(row.tag));
    let index = Index::new(Options::new(DIM, metric));
    let fresh = rows.split_off(SEALED as usize);
    index.apply(SEALED, rows, &[]);
    let job = index.seal_job().unwrap();
    let built = job.build(1, &AtomicBool::new(false), &|_| {}).unwrap();
    index.install(built);
    for some in fresh.chunks(170) {
        index.apply(some.last().unwrap().seq, some.to_vec(), &[]);
    }
    assert_eq!(index.snapshot().stats().tail_rows as u64, rows_of(&fresh));
    index
}

fn rows_of(rows: &[Row<u64>]) -> u64 {
    rows.len() as u64
}

/// Of what an exact search finds of fresh rows, how many are found, and how many there are.
fn found(index: &Index<u64>, asked: &Query<'_>) -> (usize, usize) {
    let snapshot = index.snapshot();
    let hits = snapshot.search(asked, None);
    let exact = Query {
        exact: true,
        ..*asked
    };
    let exact = snapshot.search(&exact, None);
    assert_eq!(hits.len(), exact.len());
    let is_fresh = |seq: &u64| *seq > SEALED;
    let seqs: BTreeSet<u64> = hits.iter().map(|hit| hit.seq).collect();
    assert_eq!(seqs.len(), hits.len(), "a row came twice");
    let exact: Vec<u64> = exact.iter().map(|hit| hit.seq).filter(is_fresh).collect();
    let right = exact.iter().filter(|seq| seqs.contains(seq)).count();
    (right, exact.len())
}

#[test]
fn fresh_rows_are_found_whatever_is_asked() {
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
        let rows = clustered(SEALED + FRESH, DIM, metric);
        let probes: Vec<_> = rows.iter().step_by(97).map(|r| r.vector.clone()).collect();
        let index = index(metric, rows);
        let odd = SEALED + 1..=SEALED + FRESH;
        let died: Vec<u64> = odd.filter(|seq| seq % 3 == 0).collect();
        index.apply(SEALED + FRESH + 1, Vec::new(), &died);
        let late = Filter::Within(
            "n".into(),
            Range {
                gte: Some(SEALED as f64 / 2.0),
                ..Range::default()
            },
        );
        let check = |what: &str| {
            for k in [1, 10, 100, 5_000] {
                for filter in [None, Some(&late)] {
                    let (mut right, mut all) = (0, 0);
                    for probe in probes.iter().step_by(if k > 100 { 20 } else { 1 }) {
                        let asked = Query {
                            filter,
                            ..query(probe, k, false)
                        };
                        let some = found(&index, &asked);
                        (right, all) = (right + some.0, all + some.1);
                    }
                    // Of so few, some standard errors below what is asked for.
                    assert!(
                        right * 100 >= all * 95 && all > 0,
                        "{metric:?}, {k} {what}: {right} of {all}"
                    );
                }
            }
            // Within a distance, and as close as none is.
            let exact = index.snapshot().search(&query(&probes[3], 40, true), None);
            let asked = Query {
                max_distance: Some(exact[39].distance),
                ..query(&probes[3], 100, false)
            };
            let within = index.snapshot().search(&asked, None);
            assert!(within.iter().all(|hit| hit.distance <= exact[39].distance));
            assert!(within.len() >= 38, "{metric:?} {what}: {}", within.len());
        };
        check("beside sealed ones");
        // Then there is no sealed row that tells how near is near enough.
        let sealed: Vec<u64> = (1..=SEALED).collect();
        index.apply(SEALED + FRESH + 2, Vec::new(), &sealed);
        check("alone");
    }
}

#[test]
fn equal_fresh_rows_come_in_the_order_of_insertion() {
    let mut rows = clustered(SEALED + FRESH, DIM, Metric::Euclidean);
    let (sealed, fresh) = rows.split_at_mut(SEALED as usize);
    fresh
        .iter_mut()
        .for_each(|row| row.vector = sealed[0].vector.clone());
    let probe = rows[0].vector.clone();
    let index = index(Metric::Euclidean, rows);
    let hits = index.snapshot().search(&query(&probe, 10, false), None);
    let seqs: Vec<u64> = hits.iter().map(|hit| hit.seq).collect();
    let expected: Vec<u64> = std::iter::once(1).chain(SEALED + 1..).take(10).collect();
    assert_eq!(seqs, expected);
}

#[test]
fn rows_that_are_strange_to_the_space_are_found_all_the_same() {
    let mut rows = clustered(SEALED + FRESH, DIM, Metric::Euclidean);
    for row in &mut rows[SEALED as usize..] {
        let values = (0..DIM as u64).map(|i| 30.0 * noise(row.seq * 9_000 + i));
        row.vector = Embedding::new(values.collect(), DIM, Metric::Euclidean).unwrap();
    }
    let probes: Vec<_> = rows[SEALED as usize..]
        .iter()
        .step_by(97)
        .map(|row| row.vector.clone())
        .collect();
    let index = index(Metric::Euclidean, rows);
    let (mut right, mut all) = (0, 0);
    for probe in &probes {
        let some = found(&index, &query(probe, 10, false));
        (right, all) = (right + some.0, all + some.1);
    }
    assert!(right * 100 >= all * 98, "{right} of {all}");
}
