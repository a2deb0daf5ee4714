//! Queries a second at a recall.

use crate::set::{K, Set, seal};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::time::Instant;
use twindex::domain::Recall;
use twindex::index::{Index, Query};

const ROUNDS: usize = 3;
const TARGETS: [f32; 9] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999];
const EF: [usize; 11] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512];

/// How queries are asked.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Exact,
    Recall(f32),
    Walk(usize),
}

impl How {
    fn recall(self) -> Recall {
        match self {
            Self::Recall(recall) => Recall::new("recall", recall).unwrap(),
            _ => Recall::ALL,
        }
    }
}

/// Seconds of CPU that the process has taken, where the system tells.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Queries a second and recall of a setting.
fn measure(set: &Set, index: &Index<()>, how: How) -> (f64, f64) {
    let snapshot = index.snapshot();
    let (mut rate, mut found) = (0.0_f64, 0);
    let rounds = if how == How::Exact { 1 } else { ROUNDS };
    for _ in 0..rounds {
        let begun = Instant::now();
        let answers = set.queries.iter().map(|vector| {
            let query = Query {
                vector,
                k: K,
                recall: how.recall(),
                ef: if let How::Walk(ef) = how {
                    Some(ef)
                } else {
                    None
                },
                exact: how == How::Exact,
                max_distance: None,
                filter: None,
            };
            snapshot.search(&query, None)
        });
        let answers: Vec<_> = answers.collect();
        rate = rate.max(set.queries.len() as f64 / begun.elapsed().as_secs_f64());
        let pairs = answers.iter().zip(&set.truth);
        let right =
            pairs.map(|(hits, truth)| hits.iter().filter(|hit| truth.contains(&hit.seq)).count());
        found = right.sum();
    }
    (rate, found as f64 / (K * set.queries.len()) as f64)
}

pub(crate) fn run(set: &Set, out: &mut Option<File>) {
    println!(
        "{}: {} rows x {}, {:?}, {} queries, k {K}, kernels {} and {}",
        set.name,
        set.base.len(),
        set.dim,
        set.metric,
        set.queries.len(),
        twindex::simd::kernel_name(),
        twindex::simd::table_kernel_name()
    );
    let mut line = |line: Value| {
        if let Some(out) = out {
            writeln!(out, "{line}").unwrap();
        }
    };
    let index = set.index();
    let tell = |index: &Index<()>, how: How| {
        let (rate, recall) = measure(set, index, how);
        let (what, ef, target) = match how {
            How::Exact => ("exact".into(), None, None),
            How::Recall(target) => (format!("recall {target}"), None, Some(target)),
            How::Walk(ef) => (format!("ef {ef}"), Some(ef), None),
        };
        println!("  {what:<12} {rate:>9.0} queries/s  recall@{K} {recall:.4}");
        json!({
            "set": set.name, "name": "twindex", "setting": what, "ef": ef,
            "recall_target": target, "qps": rate, "recall": recall,
        })
    };
    line(tell(&index, How::Exact));
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    seal(&index, 1);
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let stats = index.snapshot().stats();
    let raw = stats.sealed_rows * set.dim * 4;
    println!(
        "  built in {took:.1} s, {cpu:.1} s of CPU; {:.1} MiB, {:.2} times the raw vectors",
        stats.bytes as f64 / f64::from(1 << 20),
        stats.bytes as f64 / raw as f64
    );
    line(json!({
        "set": set.name, "name": "twindex", "build_s": took, "build_cpu_s": cpu,
        "bytes": stats.bytes, "raw_bytes": raw,
    }));
    for target in TARGETS {
        line(tell(&index, How::Recall(target)));
    }
    for ef in EF {
        line(tell(&index, How::Walk(ef)));
    }
}
