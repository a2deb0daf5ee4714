//! The index against an exact scan and against `hnsw_rs` as it is, on the same rows.
//!
//! `cargo bench --bench index`
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints"
)]

use hnsw_rs::prelude::{DistL2, Hnsw};
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use twindex::domain::{Embedding, Facets, Metric, Recall};
use twindex::index::{Index, Options, Query, Row};

const ROWS: u64 = 20_000;
const DIM: u64 = 64;
const QUERIES: u64 = 1_000;

fn noise(n: u64) -> f32 {
    let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x % 20_001) as f32 / 10_000.0 - 1.0
}

/// Points loosely around 200 centres on the unit sphere.
fn point(n: u64) -> Embedding {
    let at = |i| noise((n % 200) * 7_777 + i) + 1.5 * noise(n * 5_000 + i);
    Embedding::new((0..DIM).map(at).collect(), 64, Metric::Cosine).unwrap()
}

fn main() {
    let rows: Vec<Embedding> = (1..=ROWS).map(point).collect();
    let queries: Vec<Embedding> = (ROWS + 1..=ROWS + QUERIES).map(point).collect();
    println!(
        "{ROWS} rows x {DIM}, {QUERIES} queries, k 10, one thread, kernels {}",
        twindex::simd::kernel_name()
    );

    let index = Index::new(Options::new(64, Metric::Cosine));
    let born = rows.iter().zip(1..).map(|(v, seq)| Row {
        seq,
        vector: v.clone(),
        tag: (),
        facets: Facets::default(),
    });
    index.apply(ROWS, born.collect(), &[]);
    let search = |exact, ef| -> Vec<HashSet<u64>> {
        let snapshot = index.snapshot();
        let found = queries.iter().map(|vector| {
            let query = Query {
                vector,
                k: 10,
                recall: Recall::default(),
                ef,
                exact,
                max_distance: None,
                filter: None,
            };
            snapshot
                .search(&query, None)
                .into_iter()
                .map(|h| h.seq)
                .collect()
        });
        found.collect()
    };
    let truth = search(true, None);
    let report = |name: &str, began: Instant, found: &[HashSet<u64>]| {
        let rate = QUERIES as f64 / began.elapsed().as_secs_f64();
        let right: usize = truth
            .iter()
            .zip(found)
            .map(|(t, f)| t.intersection(f).count())
            .sum();
        let recall = right as f64 / (10 * QUERIES) as f64;
        println!("{name:<28} {rate:>9.0} queries/s  recall@10 {recall:.4}");
    };
    let began = Instant::now();
    let scanned = search(true, None);
    report("exact scan", began, &scanned);

    let began = Instant::now();
    let built = index
        .seal_job()
        .unwrap()
        .build(1, &AtomicBool::new(false), &|_| {})
        .unwrap();
    index.install(built);
    println!("sealed in {:.1} s", began.elapsed().as_secs_f64());
    for ef in [32, 64, 96, 128, 256] {
        let began = Instant::now();
        let walked = search(false, Some(ef));
        report(&format!("flat walk, ef {ef}"), began, &walked);
    }

    let hnsw = Hnsw::<f32, DistL2>::new(16, rows.len(), 16, 200, DistL2 {});
    let began = Instant::now();
    for (row, v) in rows.iter().enumerate() {
        hnsw.insert_slice((v.as_slice(), row));
    }
    println!("hnsw_rs built in {:.1} s", began.elapsed().as_secs_f64());
    for ef in [32, 64, 96, 128, 256] {
        let began = Instant::now();
        let found = queries.iter().map(|q| {
            let near = hnsw.search(q.as_slice(), 10, ef);
            near.into_iter().map(|n| n.d_id as u64 + 1).collect()
        });
        let found: Vec<HashSet<u64>> = found.collect();
        report(&format!("hnsw_rs as it is, ef {ef}"), began, &found);
    }
}
