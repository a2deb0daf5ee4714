//! Several segments beside one, and work on them at the same time.

use super::support::{noise, query, seqs};
use std::sync::atomic::AtomicBool;
use twindex::domain::{Embedding, Facets, Filter, Finite, Metric, Range, Scalar};
use twindex::index::{Built, Index, Job, Options, Query, Row};

const DIM: usize = 32;

/// Rows of clusters, the clusters in no order.
fn row(seq: u64, fields: &[&str]) -> Row<u64> {
    let number = Scalar::Number(Finite::new(f64::from(noise(seq))));
    let known = |field: &&str| ((*field).into(), Some(vec![number.clone()]));
    Row {
        seq,
        vector: near(seq),
        tag: seq,
        facets: Facets {
            label: None,
            fields: fields.iter().map(known).collect(),
        },
    }
}

fn near(n: u64) -> Embedding {
    let cluster = n.wrapping_mul(2_654_435_761) % 97;
    let value = |i: u64| noise(cluster * 64 + i) + 0.4 * noise(n * 977 + i);
    Embedding::new((0..DIM as u64).map(value).collect(), DIM, Metric::Cosine).unwrap()
}

#[test]
fn vectors_on_disk_are_found_as_in_memory_and_take_far_less_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = Options {
        rows_in: Some(dir.path().into()),
        ..Options::new(DIM, Metric::Cosine)
    };
    let index = Index::new(on_disk.clone());
    let rows: Vec<_> = (1..=12_000).map(|seq| row(seq, &[])).collect();
    index.apply(12_000, rows.clone(), &[]);
    let job = built(index.seal_job().unwrap(), 1);
    let bytes = job.encode();
    index.install(job);
    let stored = rows
        .iter()
        .map(|r| (r.seq, r.vector.clone(), Some((r.tag, Facets::default()))));
    let loaded = Index::load(on_disk, vec![(1, bytes)], stored.collect());
    assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
    for index in [index, loaded.index] {
        // Of 32 numbers the links alone are as much as the vectors.
        let held = index.snapshot().stats().bytes;
        let with_links = 12_000 * (64 + 128 + 16);
        assert!(held < with_links, "{held} bytes held");
        let right = recall(&index);
        assert!(right >= 970, "{right} of 1,000");
        assert_eq!(index.snapshot().vector(77).unwrap(), near(77).as_slice());
    }
    assert_eq!(
        dir.path().read_dir().unwrap().count(),
        0,
        "nothing is left behind"
    );
}

fn index_of(rows: std::ops::RangeInclusive<u64>, segments: u64) -> Index<u64> {
    let index = Index::new(Options::new(DIM, Metric::Cosine));
    let (first, last) = rows.into_inner();
    let each = (last - first + 1).div_ceil(segments);
    for (id, from) in (1..).zip((first..=last).step_by(each as usize)) {
        add(&index, from, last.min(from + each - 1), &[]);
        index.install(built(index.seal_job().unwrap(), id));
    }
    index
}

fn add(index: &Index<u64>, first: u64, last: u64, fields: &[&str]) {
    index.apply(
        last,
        (first..=last).map(|seq| row(seq, fields)).collect(),
        &[],
    );
}

fn built(job: Job<u64>, id: u64) -> Built<u64> {
    job.build(id, &AtomicBool::new(false), &|_| {}).unwrap()
}

/// Of a thousand rows that exact searches find, those found.
fn recall(index: &Index<u64>) -> usize {
    let probes: Vec<Embedding> = (0..100).map(|n| near(1_000_000 + n)).collect();
    let right = probes.iter().map(|probe| {
        let found = seqs(index, &query(probe, 10, false));
        let truth = seqs(index, &query(probe, 10, true));
        assert_eq!(found.len(), 10);
        found.iter().filter(|seq| truth.contains(seq)).count()
    });
    right.sum()
}

#[test]
fn many_segments_and_a_tail_find_what_one_segment_does() {
    let last = 12_000;
    for segments in [1, 5] {
        let index = index_of(1..=last, segments);
        assert_eq!(index.snapshot().stats().segments as u64, segments);
        let right = recall(&index);
        assert!(right >= 970, "{right} of 1,000 in {segments} segments");
        // Fresh rows, in parts by codes and small ones; some die, in segments and among them.
        for from in (last + 1..=last + 3_000).step_by(500) {
            add(&index, from, from + 499, &[]);
        }
        let died: Vec<u64> = (1..=last + 3_000)
            .filter(|seq| noise(*seq) < -0.6)
            .collect();
        index.apply(last + 4_000, Vec::new(), &died);
        let right = recall(&index);
        assert!(
            right >= 970,
            "{right} of 1,000 in {segments} segments and a tail"
        );
    }
}

#[test]
fn the_tail_is_sealed_while_segments_are_rewritten() {
    let index = index_of(1..=2_000, 2);
    index.apply(2_001, Vec::new(), &(1..=880).collect::<Vec<_>>());
    let rewrite = index.next_rewrite(false).unwrap();
    assert!(index.next_rewrite(true).is_none(), "one at a time");
    add(&index, 3_001, 4_500, &[]);
    index.apply(4_501, Vec::new(), &[900, 3_001]);
    assert!(index.next_seal(false).is_none(), "a short tail can wait");
    let seal = index.next_seal(true).unwrap();
    // Each learns of what came while it was under way.
    index.apply(4_502, Vec::new(), &[901, 3_002]);
    let (seal, rewrite) = (built(seal, 8), built(rewrite, 9));
    index.apply(4_503, Vec::new(), &[902, 3_003]);
    assert_eq!(index.install(seal).added, Some(8));
    let installed = index.install(rewrite);
    assert_eq!((installed.added, installed.removed), (Some(9), vec![1]));
    assert_eq!(
        installed.dropped,
        (1..=880).chain([900, 901]).collect::<Vec<_>>()
    );
    let snapshot = index.snapshot();
    assert_eq!((snapshot.len(), snapshot.stats().segments), (2_614, 3));
    for seq in [880, 900, 901, 902, 3_001, 3_002, 3_003] {
        assert!(snapshot.tag(seq).is_none(), "{seq}");
    }
    // In quiet times the three become one.
    index.install(built(index.next_rewrite(true).unwrap(), 10));
    assert_eq!(index.snapshot().stats().segments, 1);
    assert!(index.next_rewrite(true).is_none());
}

#[test]
fn a_field_indexed_while_a_segment_is_built_is_in_it() {
    let index = index_of(1..=2_000, 1);
    index.apply(2_001, Vec::new(), &(1..=500).collect::<Vec<_>>());
    let job = index.next_rewrite(false).unwrap();
    let built = built(job, 2);
    let known = |seq: u64, _: &u64| Some(row(seq, &["n"]).facets);
    index.tabulate_sealed(&"n".into(), 2_001, known);
    assert!(index.tabulate(&"n".into(), 2_001, known));
    index.install(built);
    let above = Range {
        gt: Some(0.5),
        ..Range::default()
    };
    let filter = Filter::Within("n".into(), above);
    let probe = near(1_000_000);
    let asked = Query {
        filter: Some(&filter),
        ..query(&probe, 2_000, false)
    };
    // Nothing is asked of rows themselves: the column says it all.
    let never = |_: u64, _: &u64| -> bool { panic!("a row was asked") };
    let mut found: Vec<u64> = index
        .snapshot()
        .search(&asked, Some(&never))
        .iter()
        .map(|hit| hit.seq)
        .collect();
    found.sort_unstable();
    let expected: Vec<u64> = (501..=2_000).filter(|seq| noise(*seq) > 0.5).collect();
    assert_eq!(found, expected);
}
