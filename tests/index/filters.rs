//! Filters asked again and again, of rows that die meanwhile.

use super::support::{clustered, facets, query};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use twindex::domain::{Filter, Metric, Range};
use twindex::index::{Hit, Index, Options, Query, Snapshot};

const ROWS: u64 = 24_000;

/// Of answers, how many are as near as an exact search's, and of how many.
fn right(snapshot: &Snapshot<u64>, asked: &Query<'_>) -> (usize, usize) {
    let found = snapshot.search(asked, None);
    let exact = Query {
        exact: true,
        ..*asked
    };
    let exact = snapshot.search(&exact, None);
    assert_eq!(found.len(), exact.len());
    let each: BTreeSet<u64> = found.iter().map(|hit| hit.seq).collect();
    assert_eq!(each.len(), found.len(), "a row came twice");
    let edge = exact.last().map_or(0.0, |hit| hit.distance);
    let near = found.iter().filter(|hit| hit.distance <= edge);
    (near.count(), exact.len())
}

#[test]
fn a_filter_asked_often_answers_as_it_did_at_first() {
    for metric in [Metric::Euclidean, Metric::Dot] {
        let index = Index::new(Options::new(64, metric));
        let mut rows = clustered(ROWS, 64, metric);
        // In no step with the clusters.
        rows.iter_mut()
            .for_each(|row| row.facets = facets(row.seq * 7_919 % ROWS));
        let probes: Vec<_> = rows.iter().step_by(601).map(|r| r.vector.clone()).collect();
        index.apply(ROWS, rows, &[]);
        let job = index.seal_job().unwrap();
        let built = job.build(1, &AtomicBool::new(false), &|_| {}).unwrap();
        index.install(built);
        let before = index.snapshot();
        let bytes = before.stats().bytes;
        let below = |n: u64| {
            let range = Range {
                lt: Some(n as f64),
                ..Range::default()
            };
            Filter::Within("n".into(), range)
        };
        let mut at = ROWS;
        for share in [2, 4, 5] {
            let (filter, of_filter) = (below(ROWS / share), ROWS / share);
            let (mut near, mut all) = (0, 0);
            for (round, probe) in probes.iter().enumerate() {
                let asked = Query {
                    filter: Some(&filter),
                    ..query(probe, 10, false)
                };
                let snapshot = index.snapshot();
                let some = right(&snapshot, &asked);
                (near, all) = (near + some.0, all + some.1);
                let matches = |hit: &Hit<u64>| hit.seq * 7_919 % ROWS < of_filter;
                let found = snapshot.search(&asked, None);
                assert!(found.iter().all(matches), "{metric:?} {share}");
                // What was found dies: nobody sees it any more but who looked before.
                let died: Vec<u64> = found.iter().take(round % 4).map(|hit| hit.seq).collect();
                at += 1;
                index.apply(at, Vec::new(), &died);
                let again = index.snapshot().search(&asked, None);
                assert!(again.iter().all(|hit| !died.contains(&hit.seq)));
                assert_eq!(snapshot.search(&asked, None), found);
            }
            // Of so few questions, three standard errors below what is asked for.
            assert!(
                near * 100 >= all * 96,
                "{metric:?} {share}: {near} of {all}"
            );
        }
        assert!(index.snapshot().stats().bytes > bytes, "nothing was kept");
        // More than there are, and none at all.
        for (filter, rows) in [(below(ROWS / 4), ROWS / 4), (below(0), 0)] {
            for _ in 0..9 {
                let asked = Query {
                    filter: Some(&filter),
                    ..query(&probes[0], ROWS as usize, false)
                };
                assert_eq!(before.search(&asked, None).len() as u64, rows);
                let none = Query { k: 0, ..asked };
                assert!(before.search(&none, None).is_empty());
            }
        }
    }
}
