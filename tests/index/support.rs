//! Rows, questions and indexes that the tests share.

use std::sync::atomic::AtomicBool;
use twindex::domain::{Embedding, Facets, Finite, Metric, Recall, Scalar};
use twindex::index::{Index, Options, Query, Row};

/// Numbers that look random and are the same every time.
pub(super) fn noise(n: u64) -> f32 {
    let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x % 20_001) as f32 / 10_000.0 - 1.0
}

pub(super) fn vector(n: u64, dim: usize, metric: Metric) -> Embedding {
    let values = (0..dim as u64).map(|i| noise(n * 5_000 + i)).collect();
    Embedding::new(values, dim, metric).unwrap()
}

/// Points around 50 centres, lengths between 0.2 and 2: what embeddings look like.
pub(super) fn clustered(n: u64, dim: usize, metric: Metric) -> Vec<Row<u64>> {
    let row = |seq: u64| {
        let (centre, length) = (seq % 50, 1.1 + 0.9 * noise(seq));
        let at = |i: u64| length * (noise(centre * 7_777 + i) + 0.4 * noise(seq * 5_000 + i));
        let values = (0..dim as u64).map(at).collect();
        let vector = Embedding::new(values, dim, metric).unwrap();
        Row {
            seq,
            vector,
            tag: seq,
            facets: Facets::default(),
        }
    };
    (1..=n).map(row).collect()
}

/// What filters know of a row: its tag, as the field `n`.
pub(super) fn facets(tag: u64) -> Facets {
    let tag = Scalar::Number(Finite::new(tag as f64));
    Facets {
        label: None,
        fields: vec![("n".into(), Some(vec![tag]))],
    }
}

pub(super) fn query(vector: &Embedding, k: usize, exact: bool) -> Query<'_> {
    Query {
        vector,
        k,
        recall: Recall::default(),
        ef: None,
        exact,
        max_distance: None,
        filter: None,
    }
}

/// An index of one sealed segment, rows numbered from 1.
pub(super) fn sealed(metric: Metric, dim: usize, vectors: Vec<Embedding>) -> Index<u64> {
    let index = Index::new(Options::new(dim, metric));
    let at = vectors.len() as u64;
    let rows = vectors.into_iter().zip(1..).map(|(vector, seq)| Row {
        seq,
        vector,
        tag: seq,
        facets: Facets::default(),
    });
    index.apply(at, rows.collect(), &[]);
    let job = index.seal_job().unwrap();
    let built = job.build(1, &AtomicBool::new(false), &|_| {}).unwrap();
    index.install(built);
    index
}

pub(super) fn seqs(index: &Index<u64>, query: &Query<'_>) -> Vec<u64> {
    let found = index.snapshot().search(query, None);
    found.into_iter().map(|hit| hit.seq).collect()
}
