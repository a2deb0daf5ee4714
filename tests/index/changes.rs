//! Writes, deaths and jobs, seen from beside them.

use super::support::{clustered, query, vector};
use std::sync::atomic::{AtomicBool, Ordering};
use twindex::domain::{Facets, Metric};
use twindex::index::{Index, Options, Row};

#[test]
fn readers_never_wait_for_the_writer() {
    let index = Index::new(Options {
        seal_at: 400,
        ..Options::new(8, Metric::Euclidean)
    });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in clustered(4_000, 8, Metric::Euclidean).chunks(100) {
                let last = batch.last().unwrap().seq;
                index.apply(last, batch.to_vec(), &[]);
                if let Some(job) = index.next_job() {
                    index.install(job.build(last, &done, &|_| {}).unwrap());
                }
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            let probe = vector(1, 8, Metric::Euclidean);
            while !done.load(Ordering::Acquire) {
                let snapshot = index.snapshot();
                let found = snapshot.search(&query(&probe, 50, false), None);
                assert_eq!(found.len(), 50.min(snapshot.len()));
                assert_eq!(snapshot.len() % 100, 0, "a commit is seen as a whole");
            }
        });
    });
    assert_eq!(index.snapshot().len(), 4_000);
}

#[test]
fn a_death_counts_once_and_in_any_order() {
    let metric = Metric::Euclidean;
    let row = |seq| Row {
        seq,
        vector: vector(seq, 3, metric),
        tag: seq,
        facets: Facets::default(),
    };
    let index = Index::new(Options::new(3, metric));
    index.apply(2, vec![row(1), row(2)], &[1]);
    let at_two = index.snapshot();
    assert_eq!(
        (at_two.len(), at_two.iter().count()),
        (1, 1),
        "born and died at once"
    );
    index.apply(3, vec![], &[1, 2]);
    assert!(index.snapshot().is_empty());
    assert_eq!(
        at_two.iter().count(),
        1,
        "what a snapshot sees never changes"
    );
    index.apply(4, vec![], &[2]);
    assert_eq!(at_two.iter().count(), 1, "a second death revives nothing");
    assert_eq!(index.snapshot().iter().count(), 0);
}

#[test]
fn a_cancelled_job_leaves_everything_to_the_next() {
    let metric = Metric::Euclidean;
    let row = |seq| Row {
        seq,
        vector: vector(seq, 3, metric),
        tag: seq,
        facets: Facets::default(),
    };
    let index = Index::new(Options::new(3, metric));
    index.apply(1, vec![row(1)], &[]);
    index.apply(2, vec![], &[1]);
    // The merge of the tail leaves the dead row out.
    index.apply(3, vec![row(2)], &[]);
    drop(index.seal_job().unwrap());
    let job = index.seal_job().unwrap();
    let built = job.build(1, &AtomicBool::new(false), &|_| {}).unwrap();
    assert_eq!(built.will_drop(), [1]);
    assert_eq!(index.install(built).dropped, [1]);
    index.apply(4, vec![row(3)], &[]);
    let job = index.seal_job().unwrap();
    let built = job.build(2, &AtomicBool::new(false), &|_| {}).unwrap();
    assert!(built.will_drop().is_empty(), "dropped once");
}
