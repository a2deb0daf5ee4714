//! Random sequences of writes, seals, installs and reloads: the index answers as the model does.

use super::model::{Model, assert_same, assert_same_groups};
use super::support::{facets, vector};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use twindex::domain::Metric;
use twindex::index::{Built, Index, Options, Row, Snapshot};

fn seal(index: &Index<u64>, segments: &mut BTreeMap<u64, Vec<u8>>, model: &mut Model, id: u64) {
    let Some(job) = index.seal_job() else { return };
    assert!(index.seal_job().is_none(), "one job at a time");
    let built = job.build(id, &AtomicBool::new(false), &|_| {}).unwrap();
    install(index, built, segments, model);
}

fn install(
    index: &Index<u64>,
    built: Built<u64>,
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
