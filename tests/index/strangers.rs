//! What is asked for lies elsewhere than the rows: what was learnt by these is learnt again.

use super::support::{noise, query, sealed, seqs};
use twindex::domain::{Embedding, Metric, Recall};
use twindex::index::{Index, Relearnt};

const DIM: usize = 48;

/// Around one of 200 centres, close to it.
fn row(n: u64, metric: Metric) -> Embedding {
    let cluster = ((noise(n) + 1.0) * 100.0) as u64;
    let value = |i: u64| noise(cluster * 64 + i) + 0.3 * noise(n * 977 + i);
    Embedding::new((0..DIM as u64).map(value).collect(), DIM, metric).unwrap()
}

/// Between rows of several centres.
fn between(n: u64, metric: Metric) -> Embedding {
    let rows: Vec<_> = (0..4).map(|i| row(4 * n + i, metric)).collect();
    let value = |i: usize| rows.iter().map(|row| row.as_slice()[i]).sum::<f32>() / 4.0;
    Embedding::new((0..DIM).map(value).collect(), DIM, metric).unwrap()
}

/// Anywhere, and farther out.
fn anywhere(n: u64, metric: Metric) -> Embedding {
    let value = |i: u64| 2.0 * noise(n * 4_241 + i);
    Embedding::new((0..DIM as u64).map(value).collect(), DIM, metric).unwrap()
}

/// The mean part of what exact searches find that others do.
fn recall(index: &Index<u64>, asked: &[Embedding]) -> f32 {
    let right = asked.iter().map(|asked| {
        let truth = seqs(index, &query(asked, 10, true));
        let found = seqs(index, &query(asked, 10, false));
        found.iter().filter(|seq| truth.contains(seq)).count()
    });
    right.sum::<usize>() as f32 / (10 * asked.len()) as f32
}

fn relearn(index: &Index<u64>, asked: &[Embedding]) -> Vec<Relearnt> {
    let (some, target) = (&asked[..asked.len().min(64)], Recall::default());
    index.snapshot().relearn(target, some, asked, || true)
}

type Kind = fn(u64, Metric) -> Embedding;

#[test]
fn strangers_find_as_much_as_rows_once_that_was_learnt() {
    let kinds = [
        (Metric::Cosine, between as Kind),
        (Metric::Euclidean, anywhere),
        (Metric::Dot, anywhere),
    ];
    for (metric, stranger) in kinds {
        let vectors = |kind: Kind, from: u64, n: u64| -> Vec<Embedding> {
            (from..from + n).map(|n| kind(n, metric)).collect()
        };
        let index = sealed(metric, DIM, vectors(row, 0, 10_000));
        let rows = vectors(row, 1_000_000, 500);
        let others = vectors(stranger, 2_000_000, 1_000);
        let before = recall(&index, &others);
        assert!(before < 0.95, "{metric:?}: strangers found {before}");
        // Nothing tells, or what rows find is as it should be.
        assert_eq!(relearn(&index, &[]), []);
        assert_eq!(relearn(&index, &vectors(row, 3_000_000, 200)), []);
        let learnt = relearn(&index, &vectors(stranger, 3_000_000, 200));
        assert_eq!(learnt.len(), 1);
        assert!(learnt[0].before < 0.9 && learnt[0].after > 0.95);
        let after = [&others, &rows].map(|asked| recall(&index, asked));
        let enough = after.iter().all(|recall| *recall >= 0.98);
        assert!(enough, "{metric:?}: strangers and rows find {after:?}");
        // Strangers have nothing more to tell. Once it is rows again that are asked for, the faster
        // way that sealing told is enough.
        assert_eq!(relearn(&index, &vectors(stranger, 4_000_000, 200)), []);
        let again = recall(&index, &others);
        assert!(again >= 0.98, "{metric:?}: strangers find {again}");
        assert_eq!(relearn(&index, &vectors(row, 4_000_000, 200)), []);
        let as_sealed = recall(&index, &others);
        assert!(as_sealed < 0.9, "{metric:?}: strangers found {as_sealed}");
    }
}
