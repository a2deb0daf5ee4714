//! Segments that come back from disk as they were, or not.

use super::support::clustered;
use std::sync::atomic::AtomicBool;
use twindex::domain::{Facets, Metric};
use twindex::index::{Index, Options};

#[test]
fn damaged_segments_cost_nothing_but_their_graph() {
    let index = Index::new(Options::new(8, Metric::Cosine));
    let rows = clustered(1_500, 8, Metric::Cosine);
    index.apply(1_500, rows.clone(), &[]);
    let built = index
        .seal_job()
        .unwrap()
        .build(7, &AtomicBool::new(false), &|_| {})
        .unwrap();
    let bytes = built.encode();
    let stored = |n: usize| {
        let rows = rows.iter().take(n);
        rows.map(|r| (r.seq, r.vector.clone(), Some((r.tag, Facets::default()))))
            .collect::<Vec<_>>()
    };
    let whole = Index::load(
        Options::new(8, Metric::Cosine),
        vec![(7, bytes.clone())],
        stored(1_500),
    );
    assert!(whole.broken.is_empty());
    assert_eq!(whole.index.snapshot().stats().sealed_rows, 1_500);
    for at in [0, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        let loaded = Index::load(
            Options::new(8, Metric::Cosine),
            vec![(7, flipped)],
            stored(1_500),
        );
        assert_eq!(loaded.broken.len(), 1);
        assert_eq!(loaded.index.snapshot().len(), 1_500);
        assert_eq!(loaded.index.snapshot().stats().tail_rows, 1_500);
    }
    // A row that the store has lost.
    let loaded = Index::load(
        Options::new(8, Metric::Cosine),
        vec![(7, bytes)],
        stored(1_499),
    );
    assert_eq!(
        (loaded.broken.len(), loaded.index.snapshot().len()),
        (1, 1_499)
    );
}
