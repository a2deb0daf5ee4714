//! A folder of vectors, as an index.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use twindex::domain::{Embedding, Facets, Finite, Metric, Scalar};
use twindex::index::{Index, Options, Row};

/// Rows asked for.
pub(crate) const K: usize = 10;
/// Rows applied at once.
const STEP: usize = 10_000;

/// Rows, queries, and the rows nearest to each.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    pub(crate) base: Vec<Embedding>,
    pub(crate) queries: Vec<Embedding>,
    /// Whether vectors are kept in a file, and not in memory.
    pub(crate) on_disk: bool,
    /// Of each query, the sequence numbers of the nearest rows.
    pub(crate) truth: Vec<Vec<u64>>,
}

fn numbers<T>(file: PathBuf, read: impl Fn([u8; 4]) -> T) -> Vec<T> {
    let bytes = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    bytes.as_chunks::<4>().0.iter().copied().map(read).collect()
}

impl Set {
    pub(crate) fn open(folder: &Path) -> Self {
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
            on_disk: false,
            truth: truth
                .chunks_exact(K)
                .map(|row| row.iter().map(|r| *r as u64 + 1).collect())
                .collect(),
        }
    }

    /// An index of rows that were applied and not sealed yet.
    pub(crate) fn index(&self) -> Index<()> {
        let index = Index::new(self.options());
        apply(&index, 1, &self.base);
        index
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            rows_in: self.on_disk.then(|| Path::new(".").into()),
            ..Options::new(self.dim, self.metric)
        }
    }
}

/// Appends rows from a sequence number on.
pub(crate) fn apply(index: &Index<()>, from: u64, rows: &[Embedding]) {
    apply_with(index, from, rows, |_, _| Vec::new());
}

type Fields = Vec<(Arc<str>, Option<Vec<Scalar>>)>;

/// The same with fields: `u` is anything below 1, `first` a row's first component.
pub(crate) fn apply_with_fields(index: &Index<()>, from: u64, rows: &[Embedding]) {
    apply_with(index, from, rows, |seq, vector| {
        let fields = [("u", uniform(seq)), ("first", vector.as_slice()[0].into())];
        fields
            .map(|(field, n)| (field.into(), Some(vec![number(n)])))
            .into()
    });
}

fn apply_with(
    index: &Index<()>,
    from: u64,
    rows: &[Embedding],
    fields: impl Fn(u64, &Embedding) -> Fields,
) {
    for (nth, rows) in rows.chunks(STEP).enumerate() {
        let first = from + (nth * STEP) as u64;
        let row = |(seq, vector): (u64, &Embedding)| Row {
            seq,
            vector: vector.clone(),
            tag: (),
            facets: Facets {
                label: None,
                fields: fields(seq, vector),
            },
        };
        let rows: Vec<_> = (first..).zip(rows).map(row).collect();
        index.apply(rows.last().unwrap().seq, rows, &[]);
    }
}

fn number(n: f64) -> Scalar {
    Scalar::Number(Finite::new(n))
}

/// A number from 0 to 1 that looks random, the same every time.
pub(crate) fn uniform(n: u64) -> f64 {
    let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

/// Makes a segment of what the tail holds.
pub(crate) fn seal(index: &Index<()>, id: u64) {
    let job = index.seal_job().unwrap();
    let built = job.build(id, &AtomicBool::new(false), &|_| {}).unwrap();
    index.install(built);
}

/// Does all that the background would, in quiet times too.
pub(crate) fn settle(index: &Index<()>, mut id: u64) {
    while let Some(job) = index.next_seal(true).or_else(|| index.next_rewrite(true)) {
        id += 1;
        index.install(job.build(id, &AtomicBool::new(false), &|_| {}).unwrap());
    }
}
