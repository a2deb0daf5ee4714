//! The index against brute force: random sequences of writes, seals, installs and reloads.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod edges;
mod segments;
mod strangers;

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use twindex::domain::{Embedding, Facets, Filter, Finite, Metric, Recall, Scalar, Scalars};
use twindex::index::{Index, Options, Query, Row, Snapshot};

/// Numbers that look random and are the same every time.
fn noise(n: u64) -> f32 {
    let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x % 20_001) as f32 / 10_000.0 - 1.0
}

fn vector(n: u64, dim: usize, metric: Metric) -> Embedding {
    let values = (0..dim as u64).map(|i| noise(n * 5_000 + i)).collect();
    Embedding::new(values, dim, metric).unwrap()
}

fn query(vector: &Embedding, k: usize, exact: bool) -> Query<'_> {
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

/// What filters know of a row: its tag, as the field `n`.
fn facets(tag: u64) -> Facets {
    let tag = Scalar::Number(Finite::new(tag as f64));
    Facets {
        label: None,
        fields: vec![("n".into(), Some(vec![tag]))],
    }
}

/// The tags below 12 that are multiples.
fn multiples(modulus: u64) -> Filter {
    let tags = (0..12_u64).filter(|tag| tag.is_multiple_of(modulus));
    Filter::In("n".into(), Scalars::from_iter(tags.map(Into::into)))
}

/// What an index must hold: rows by sequence number.
#[derive(Debug, Clone, Default)]
struct Model {
    live: BTreeMap<u64, (u64, Embedding)>,
    stored: BTreeMap<u64, (Embedding, Option<u64>)>,
}

impl Model {
    fn nearest(
        &self,
        metric: Metric,
        probe: &Embedding,
        keep: impl Fn(u64) -> bool,
    ) -> Vec<(f32, u64)> {
        let kept = self.live.iter().filter(|(_, (tag, _))| keep(*tag));
        let mut all: Vec<_> = kept
            .map(|(seq, (_, v))| (metric.between(probe, v), *seq))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all
    }
}

/// Compares distances, which may differ in the last bits; rows at equal distance may swap.
fn assert_same(
    metric: Metric,
    probe: &Embedding,
    model: &Model,
    snapshot: &Snapshot<u64>,
    k: usize,
    modulus: u64,
    ef: Option<usize>,
) {
    let keep = |_: u64, tag: &u64| tag.is_multiple_of(modulus);
    let filter = (modulus > 1).then_some(&keep as &dyn Fn(u64, &u64) -> bool);
    let expected = model.nearest(metric, probe, |tag| tag % modulus == 0);
    let matches = multiples(modulus);
    let by_facets = (modulus > 1).then_some(&matches);
    for (exact, by_facets) in [
        (true, None),
        (false, None),
        (true, by_facets),
        (false, by_facets),
    ] {
        let asked = Query {
            ef,
            filter: by_facets,
            ..query(probe, k, exact)
        };
        let filter = filter.filter(|_| by_facets.is_none());
        let found = snapshot.search(&asked, filter);
        assert_eq!(
            found.len(),
            k.min(expected.len()),
            "k results whenever k match"
        );
        if let (Some(_), Some((middle, _))) = (filter, expected.get(expected.len() / 2)) {
            let within = |bound: f32| expected.iter().filter(|e| e.0 <= bound).count().min(k);
            let bounded = Query {
                max_distance: Some(*middle),
                ..asked
            };
            let n = snapshot.search(&bounded, filter).len();
            let allowed = within(middle - 1e-3)..=within(middle + 1e-3);
            assert!(allowed.contains(&n), "{n} within {middle}: {allowed:?}");
        }
        for (hit, (distance, _)) in found.iter().zip(&expected) {
            let (tag, v) = &model.live[&hit.seq];
            assert_eq!(hit.tag, *tag);
            assert!((hit.distance - metric.between(probe, v)).abs() < 1e-3);
            if exact {
                assert!(
                    (hit.distance - distance).abs() < 1e-3,
                    "{} {distance}",
                    hit.distance
                );
            }
        }
        assert!(
            found
                .windows(2)
                .all(|w| (w[0].distance, w[0].seq) < (w[1].distance, w[1].seq))
        );
    }
}

fn seal(index: &Index<u64>, segments: &mut BTreeMap<u64, Vec<u8>>, model: &mut Model, id: u64) {
    let Some(job) = index.seal_job() else { return };
    assert!(index.seal_job().is_none(), "one job at a time");
    let built = job.build(id, &AtomicBool::new(false), &|_| {}).unwrap();
    install(index, built, segments, model);
}

fn install(
    index: &Index<u64>,
    built: twindex::index::Built<u64>,
    segments: &mut BTreeMap<u64, Vec<u8>>,
    model: &mut Model,
) {
    let (bytes, will_drop) = (built.encode(), built.will_drop().to_vec());
    let installed = index.install(built);
    assert_eq!(installed.dropped, will_drop);
    if let Some(id) = installed.added {
        segments.insert(id, bytes);
    }
    for id in installed.removed {
        assert!(segments.remove(&id).is_some());
    }
    for seq in installed.dropped {
        let (_, tag) = model.stored.remove(&seq).unwrap();
        assert_eq!(tag, None, "only the dead are dropped");
    }
}

/// The two nearest of each tag, by the index and by the model.
fn assert_same_groups(
    metric: Metric,
    probe: &Embedding,
    model: &Model,
    snapshot: &Snapshot<u64>,
    modulus: u64,
) {
    let keep = |tag: u64| tag.is_multiple_of(modulus);
    let nearest = snapshot.nearest_of_each(probe, 2, |_, tag| keep(*tag).then_some(*tag));
    let tags: std::collections::BTreeSet<u64> = model.live.values().map(|(tag, _)| *tag).collect();
    assert_eq!(nearest.len(), tags.iter().filter(|t| keep(**t)).count());
    assert!(
        nearest
            .windows(2)
            .all(|w| w[0].1[0].distance <= w[1].1[0].distance)
    );
    for (tag, hits) in nearest {
        let truth = model.nearest(metric, probe, |t| t == tag);
        assert_eq!(hits.len(), truth.len().min(2));
        for (hit, (distance, _)) in hits.iter().zip(truth) {
            assert!((hit.distance - distance).abs() < 1e-3);
            assert_eq!((hit.tag, model.live[&hit.seq].0), (tag, tag));
        }
        let order = |hit: &twindex::index::Hit<u64>| (hit.distance, hit.seq);
        assert!(hits.windows(2).all(|w| order(&w[0]) < order(&w[1])));
    }
}

#[derive(Debug, Clone)]
enum Op {
    Add(usize),
    Kill(Vec<prop::sample::Index>),
    Seal,
    Maintain,
    Reload,
    Search(u64, usize, u64),
}

fn op(adds: std::ops::Range<usize>) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => adds.prop_map(Op::Add),
        3 => prop::collection::vec(any::<prop::sample::Index>(), 1..12).prop_map(Op::Kill),
        2 => Just(Op::Seal),
        1 => Just(Op::Maintain),
        1 => Just(Op::Reload),
        4 => (any::<u64>(), 1..60_usize, 1..6_u64).prop_map(|(q, k, m)| Op::Search(q % 1_000, k, m)),
    ]
}

fn play(metric: Metric, dim: usize, ops: Vec<Op>) {
    let options = Options {
        seal_at: 30,
        ..Options::new(dim, metric)
    };
    play_with(options, None, ops);
}

fn play_with(options: Options, ef: Option<usize>, ops: Vec<Op>) {
    let (metric, dim) = (options.metric, options.dim);
    let mut index = Index::new(options.clone());
    let (mut model, mut segments) = (Model::default(), BTreeMap::new());
    let (mut seq, mut segment) = (0, 0);
    let mut held: Option<(Snapshot<u64>, Model)> = None;
    for op in ops {
        match op {
            Op::Add(n) => {
                let born: Vec<_> = (0..n)
                    .map(|_| {
                        seq += 1;
                        // Every third vector is one of ten: duplicates.
                        let v = vector(if seq % 3 == 0 { seq % 10 } else { seq }, dim, metric);
                        model.live.insert(seq, (seq % 12, v.clone()));
                        model.stored.insert(seq, (v.clone(), Some(seq % 12)));
                        Row {
                            seq,
                            vector: v,
                            tag: seq % 12,
                            facets: facets(seq % 12),
                        }
                    })
                    .collect();
                index.apply(seq, born, &[]);
                held = Some((index.snapshot(), model.clone()));
            }
            Op::Kill(which) => {
                seq += 1;
                let mut died = Vec::new();
                for which in which {
                    if model.live.is_empty() {
                        break;
                    }
                    let victim = *model
                        .live
                        .keys()
                        .nth(which.index(model.live.len()))
                        .unwrap();
                    model.live.remove(&victim);
                    model.stored.get_mut(&victim).unwrap().1 = None;
                    died.push(victim);
                }
                index.apply(seq, vec![], &died);
            }
            Op::Seal => {
                segment += 1;
                seal(&index, &mut segments, &mut model, segment);
            }
            Op::Maintain => {
                while let Some(job) = index.next_job() {
                    segment += 1;
                    let built = job
                        .build(segment, &AtomicBool::new(false), &|_| {})
                        .unwrap();
                    install(&index, built, &mut segments, &mut model);
                }
            }
            Op::Reload => {
                let rows = model
                    .stored
                    .iter()
                    .map(|(s, (v, tag))| (*s, v.clone(), tag.map(|tag| (tag, facets(tag)))))
                    .collect();
                let all = segments.iter().map(|(id, b)| (*id, b.clone())).collect();
                let loaded = Index::load(options.clone(), all, rows);
                assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
                for seq in loaded.dropped {
                    assert_eq!(model.stored.remove(&seq).unwrap().1, None);
                }
                index = loaded.index;
                seq += 1;
                index.apply(seq, vec![], &[]);
            }
            Op::Search(q, k, modulus) => {
                let probe = vector(q + 1_000_000, dim, metric);
                assert_same(metric, &probe, &model, &index.snapshot(), k, modulus, ef);
                assert_same_groups(metric, &probe, &model, &index.snapshot(), modulus);
                // A snapshot keeps its state, whatever happened since.
                if let Some((snapshot, then)) = &held {
                    assert_same(metric, &probe, then, snapshot, k, 1, ef);
                }
            }
        }
        assert_eq!(index.snapshot().len(), model.live.len());
    }
    let stats = index.snapshot().stats();
    assert_eq!(stats.live, model.live.len());
    assert_eq!(index.snapshot().iter().count(), model.live.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn behaves_as_brute_force(
        which in 0..3_usize, dim in prop::sample::select(vec![1_usize, 3, 16, 64]),
        ops in prop::collection::vec(op(1..40), 1..40),
    ) {
        play([Metric::Cosine, Metric::Euclidean, Metric::Dot][which], dim, ops);
    }

    /// Small graphs, walked with few candidates: what is found is right, and as many as asked.
    #[test]
    fn graphs_answer_as_many_as_match(
        which in 0..3_usize, ops in prop::collection::vec(op(40..150), 4..40),
    ) {
        let metric = [Metric::Cosine, Metric::Euclidean, Metric::Dot][which];
        let options = Options {
            m: 2,
            ef_construction: 16,
            seal_at: 100,
            graph_at: 1,
            ..Options::new(8, metric)
        };
        play_with(options, Some(4), ops);
    }
}

/// Points around 50 centres, lengths between 0.2 and 2: what embeddings look like.
fn clustered(n: u64, dim: usize, metric: Metric) -> Vec<Row<u64>> {
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

#[test]
fn a_sealed_segment_is_found_again_by_its_graph() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
        let index = Index::new(Options::new(32, metric));
        index.apply(6_000, clustered(6_000, 32, metric), &[]);
        let job = index.seal_job().unwrap();
        // Rows die while the segment is built.
        let dead: Vec<u64> = (1..=6_000).filter(|s| s % 10 == 0).collect();
        index.apply(6_001, vec![], &dead);
        index.install(job.build(1, &AtomicBool::new(false), &|_| {}).unwrap());
        let snapshot = index.snapshot();
        assert_eq!(snapshot.stats().segments, 1);
        let (mut right, mut all) = (0, 0);
        // A recall is promised for probes like the rows: those of the clusters that live.
        let probes = clustered(6_200, 32, metric).split_off(6_000);
        for probe in probes.iter().filter(|probe| probe.seq % 10 != 0) {
            let exact = snapshot.search(&query(&probe.vector, 10, true), None);
            let asked = Query {
                recall: Recall::new("recall", 0.99).unwrap(),
                ..query(&probe.vector, 10, false)
            };
            let walked = snapshot.search(&asked, None);
            assert!(walked.iter().all(|h| h.seq % 10 != 0), "the dead stay dead");
            all += exact.len();
            right += exact
                .iter()
                .filter(|e| walked.iter().any(|w| w.seq == e.seq))
                .count();
        }
        let recall = right as f64 / all as f64;
        assert!(recall >= 0.98, "{metric:?}: recall@10 is {recall}");
        let probe = &clustered(1, 32, metric)[0].vector;
        assert!(snapshot.cost(&query(probe, 10, false), 1, 6_000) < 6_000);
    }
}

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

/// An index of one sealed segment, rows numbered from 1.
fn sealed(metric: Metric, dim: usize, vectors: Vec<Embedding>) -> Index<u64> {
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

fn seqs(index: &Index<u64>, query: &Query<'_>) -> Vec<u64> {
    let found = index.snapshot().search(query, None);
    found.into_iter().map(|hit| hit.seq).collect()
}

#[test]
fn equals_come_in_the_order_of_insertion_however_they_are_found() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot] {
        // Three points, 2,000 rows each, taking turns.
        let rows = (0..6_000).map(|n| vector(n % 3, 16, metric)).collect();
        let index = sealed(metric, 16, rows);
        for k in [1, 10, 100, 2_100, 7_000] {
            let probe = vector(9, 16, metric);
            let walked = seqs(&index, &query(&probe, k, false));
            assert_eq!(
                walked,
                seqs(&index, &query(&probe, k, true)),
                "{metric:?}, k {k}"
            );
        }
    }
}

#[test]
fn inner_products_are_found_whatever_the_lengths() {
    let (metric, dim) = (Metric::Dot, 32);
    for spread in [0.2, 1.0, 2.0_f32] {
        let point = |n: u64| {
            let length = (noise(n + 77) * spread).exp();
            let at = |i| length * (noise((n % 200) * 7_777 + i) + 0.5 * noise(n * 5_000 + i));
            Embedding::new((0..dim).map(at).collect(), 32, metric).unwrap()
        };
        let index = sealed(metric, 32, (1..=4_000).map(point).collect());
        let mut right = 0;
        for probe in (5_001..5_101).map(point) {
            let truth = seqs(&index, &query(&probe, 10, true));
            let asked = Query {
                recall: Recall::new("recall", 0.99).unwrap(),
                ..query(&probe, 10, false)
            };
            let found = seqs(&index, &asked);
            right += found.iter().filter(|seq| truth.contains(seq)).count();
        }
        assert!(right >= 980, "recall {right} of 1,000 at spread {spread}");
    }
}

#[test]
fn a_long_filter_costs_what_looking_its_values_up_does() {
    let index = Index::new(Options::new(3, Metric::Euclidean));
    let row = |seq| Row {
        seq,
        vector: vector(seq, 3, Metric::Euclidean),
        tag: seq,
        facets: facets(seq),
    };
    index.apply(100, (1..=100).map(row).collect(), &[]);
    let (snapshot, probe) = (index.snapshot(), vector(1, 3, Metric::Euclidean));
    let cost = |values: u64, most: usize| {
        let filter = Filter::In("n".into(), (0..values).map(Into::into).collect());
        let asked = Query {
            filter: Some(&filter),
            ..query(&probe, 10, false)
        };
        snapshot.cost(&asked, 1, most)
    };
    assert!(cost(10, usize::MAX) < 300);
    assert!(cost(10_000, usize::MAX) > 100_000);
    assert!(cost(10_000, 20_000) > 20_000, "more than the most is told");
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
