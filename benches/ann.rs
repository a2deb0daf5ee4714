//! The index on the field's kind of data: queries a second at a recall, build time and memory.
//!
//! ```sh
//! cargo bench --bench ann -- --data DIR [--set NAME]... [--out FILE]
//! ```
//!
//! Each folder in DIR is a set: `base.f32` and `query.f32` (little-endian, row after row),
//! `truth.i32` (the ten nearest rows of each query, exactly) and `meta.json` (`n`, `dim`,
//! `queries`, `metric`: `l2`, or `ip` of unit vectors). One thread asks one query at a time, the
//! best of three rounds: for a recall, as users do, and by walks that keep so many candidates.
//! `--out` adds a line of JSON for each setting.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints"
)]

use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use twindex::domain::{Embedding, Metric, Recall};
use twindex::index::{Index, Options, Query, Row};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const K: usize = 10;
const ROUNDS: usize = 3;
const TARGETS: [f32; 9] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999];
const EF: [usize; 11] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512];
/// Rows applied at once.
const STEP: usize = 10_000;

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

struct Set {
    name: String,
    metric: Metric,
    dim: usize,
    base: Vec<Embedding>,
    queries: Vec<Embedding>,
    /// Of each query, the sequence numbers of the nearest rows.
    truth: Vec<Vec<u64>>,
}

fn numbers<T>(file: PathBuf, read: impl Fn([u8; 4]) -> T) -> Vec<T> {
    let bytes = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    bytes.as_chunks::<4>().0.iter().copied().map(read).collect()
}

impl Set {
    fn open(folder: &Path) -> Self {
        let meta = fs::read(folder.join("meta.json")).unwrap();
        let meta: Value = serde_json::from_slice(&meta).unwrap();
        let dim = meta["dim"].as_u64().unwrap() as usize;
        let metric = match meta["metric"].as_str().unwrap() {
            "l2" => Metric::Euclidean,
            "ip" => Metric::Cosine,
            other => panic!("metric {other}: l2 or ip is needed"),
        };
        let rows = |name| -> Vec<Embedding> {
            let values = numbers(folder.join(name), f32::from_le_bytes);
            let rows = values.chunks_exact(dim);
            rows.map(|row| Embedding::new(row.to_vec(), dim, metric).unwrap())
                .collect()
        };
        let truth = numbers(folder.join("truth.i32"), i32::from_le_bytes);
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            metric,
            dim,
            base: rows("base.f32"),
            queries: rows("query.f32"),
            truth: truth
                .chunks_exact(K)
                .map(|row| row.iter().map(|r| *r as u64 + 1).collect())
                .collect(),
        }
    }

    fn index(&self) -> Index<()> {
        let index = Index::new(Options::new(self.dim, self.metric));
        for (nth, rows) in self.base.chunks(STEP).enumerate() {
            let first = (nth * STEP) as u64 + 1;
            let row = |(seq, vector): (u64, &Embedding)| Row {
                seq,
                vector: vector.clone(),
                tag: (),
            };
            let rows: Vec<_> = (first..).zip(rows).map(row).collect();
            index.apply(rows.last().unwrap().seq, rows, &[]);
        }
        index
    }

    /// Queries a second and recall of a setting.
    fn measure(&self, index: &Index<()>, how: How) -> (f64, f64) {
        let snapshot = index.snapshot();
        let (mut rate, mut found) = (0.0_f64, 0);
        let rounds = if how == How::Exact { 1 } else { ROUNDS };
        for _ in 0..rounds {
            let begun = Instant::now();
            let answers = self.queries.iter().map(|vector| {
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
                };
                snapshot.search(&query, None)
            });
            let answers: Vec<_> = answers.collect();
            rate = rate.max(self.queries.len() as f64 / begun.elapsed().as_secs_f64());
            let pairs = answers.iter().zip(&self.truth);
            let right = pairs
                .map(|(hits, truth)| hits.iter().filter(|hit| truth.contains(&hit.seq)).count());
            found = right.sum();
        }
        (rate, found as f64 / (K * self.queries.len()) as f64)
    }
}

fn run(set: &Set, out: &mut Option<File>) {
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
        let (rate, recall) = set.measure(index, how);
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
    let job = index.seal_job().unwrap();
    let built = job.build(1, &AtomicBool::new(false), &|_| {}).unwrap();
    index.install(built);
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

fn main() {
    let (mut data, mut wanted, mut out) = (None, Vec::new(), None);
    // Cargo adds an argument of its own.
    let mut asked = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(option) = asked.next() {
        let value = asked.next().unwrap_or_else(|| panic!("{option} VALUE"));
        match option.as_str() {
            "--data" => data = Some(PathBuf::from(value)),
            "--set" => wanted.push(value),
            "--out" => out = Some(File::create(value).unwrap()),
            _ => panic!("--data, --set or --out is expected, not {option}"),
        }
    }
    let Some(data) = data else {
        println!("SKIPPED: --data DIR names the folder of the sets");
        return;
    };
    let folders = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|f| f.join("meta.json").exists()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if wanted.is_empty() || wanted.contains(&name) {
            run(&Set::open(&folder), &mut out);
        }
    }
}
