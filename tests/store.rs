//! The store against maps: random commits, also across reopening.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use twindex::domain::{CollectionName, ItemId, Label, Metric, Payload, VectorStorage, ViewNumber};
use twindex::store::{Batch, CollectionRecord, Error, ItemRecord, Options, Store, Tag};

/// What a collection must hold.
#[derive(Debug, Clone, Default)]
struct Collection {
    items: BTreeMap<String, ItemRecord>,
    tags: BTreeMap<u64, Tag>,
    vectors: BTreeMap<u64, Vec<f32>>,
    images: BTreeMap<u64, Vec<u8>>,
    segments: BTreeMap<u64, Vec<u8>>,
}

#[derive(Debug, Default)]
struct Model {
    collections: BTreeMap<u64, Collection>,
    requests: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    sequence: u64,
}

#[derive(Debug, Clone)]
enum Op {
    Item(u64, u8, usize),
    Forget(u64, u8),
    Row(u64, u8),
    Kill(u64, u8),
    Image(u64, u8, usize),
    DropImage(u64, u8),
    Request(u8, usize),
    Segment(u64, u8, usize),
    DropSegment(u64, u8),
    Commit,
    Drop(u64),
    Reopen,
}

/// Sizes around the chunks of 64 KiB.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..500_usize,
        1 => prop::sample::select(vec![0, 65_479, 65_500, 65_535, 65_536, 65_537, 131_072, 1 << 20]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let c = || 1..3_u64;
    prop_oneof![
        6 => (c(), 0..12_u8, size()).prop_map(|(c, n, s)| Op::Item(c, n, s.min(60_000))),
        2 => (c(), 0..12_u8).prop_map(|(c, n)| Op::Forget(c, n)),
        4 => (c(), any::<u8>()).prop_map(|(c, n)| Op::Row(c, n)),
        2 => (c(), any::<u8>()).prop_map(|(c, n)| Op::Kill(c, n)),
        3 => (c(), 0..6_u8, size()).prop_map(|(c, n, s)| Op::Image(c, n, s)),
        2 => (c(), 0..6_u8).prop_map(|(c, n)| Op::DropImage(c, n)),
        1 => (0..6_u8, size()).prop_map(|(n, s)| Op::Request(n, s)),
        1 => (c(), 0..200_u8, size()).prop_map(|(c, n, s)| Op::Segment(c, n, s)),
        1 => (c(), 0..200_u8).prop_map(|(c, n)| Op::DropSegment(c, n)),
        6 => Just(Op::Commit),
        1 => c().prop_map(Op::Drop),
        1 => Just(Op::Reopen),
    ]
}

fn bytes(n: u64, size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| ((i as u64).wrapping_mul(n * 2 + 31) >> 3) as u8)
        .collect()
}

fn id(n: u8) -> ItemId {
    // Some are prefixes of others.
    ItemId::new("i".repeat(usize::from(n % 4) + 1) + &n.to_string()).unwrap()
}

fn collection(number: u64) -> CollectionRecord {
    CollectionRecord {
        number,
        name: CollectionName::new(format!("c{number}")).unwrap(),
        description: "of a test".into(),
        metric: Metric::Dot,
        dim: 3,
        model: (number == 1).then(|| "m-1".into()),
        m: 16,
        ef_construction: 200,
        keep_images: true,
        views: ViewNumber::ONE,
        recall: twindex::domain::Recall::default(),
        storage: VectorStorage::default(),
        created_ms: 7,
    }
}

fn open(dir: &Path) -> Store {
    Store::open(
        dir,
        &Options {
            cache_bytes: 16 << 20,
        },
    )
    .unwrap()
}

fn same(store: &Store, model: &Model) {
    assert_eq!(store.sequence().unwrap(), model.sequence);
    let numbers: Vec<u64> = store
        .collections()
        .unwrap()
        .iter()
        .map(|c| c.number)
        .collect();
    assert_eq!(
        numbers,
        model.collections.keys().copied().collect::<Vec<_>>()
    );
    for (number, held) in &model.collections {
        let items: Vec<_> = store.items(*number, None).map(Result::unwrap).collect();
        let items: BTreeMap<String, ItemRecord> =
            items.into_iter().map(|(id, r)| (id.into(), r)).collect();
        assert_eq!(items, held.items);
        for (name, record) in &held.items {
            let id = ItemId::new(name.clone()).unwrap();
            assert_eq!(store.item(*number, &id).unwrap().as_ref(), Some(record));
        }
        let after = store
            .items(*number, Some(&id(5)))
            .map(|i| String::from(i.unwrap().0));
        let expected = held
            .items
            .keys()
            .filter(|k| k.as_str() > id(5).as_str())
            .cloned();
        assert_eq!(after.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(
            store
                .tags(*number)
                .collect::<Result<BTreeMap<_, _>, _>>()
                .unwrap(),
            held.tags
        );
        assert_eq!(
            store
                .vectors(*number)
                .collect::<Result<BTreeMap<_, _>, _>>()
                .unwrap(),
            held.vectors
        );
        for n in 0..6 {
            assert_eq!(
                store.image(*number, n).unwrap().as_ref(),
                held.images.get(&n)
            );
        }
        let segments = store.segments(*number).unwrap();
        let segments: BTreeMap<_, _> = segments.into_iter().map(|(n, b)| (n, b.unwrap())).collect();
        assert_eq!(segments, held.segments);
    }
    for n in 0..6_u8 {
        assert_eq!(
            store.request(&[n]).unwrap().as_ref(),
            model.requests.get(&vec![n])
        );
    }
}

fn play(ops: Vec<Op>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Some(open(dir.path()));
    let (mut model, mut batch, mut seq) = (Model::default(), Batch::new(), 0);
    for number in 1..3 {
        batch.put_collection(&collection(number));
        model.collections.insert(number, Collection::default());
    }
    for op in ops.into_iter().chain([Op::Commit, Op::Reopen]) {
        let of = match &op {
            Op::Item(c, ..)
            | Op::Forget(c, _)
            | Op::Row(c, _)
            | Op::Kill(c, _)
            | Op::Image(c, ..)
            | Op::DropImage(c, _)
            | Op::Segment(c, ..)
            | Op::DropSegment(c, _)
            | Op::Drop(c) => Some(*c),
            _ => None,
        };
        if of.is_some_and(|c| !model.collections.contains_key(&c)) {
            continue;
        }
        let at = store.as_ref().unwrap();
        let mut nothing = Collection::default();
        let held = of.map_or(&mut nothing, |c| model.collections.get_mut(&c).unwrap());
        let c = of.unwrap_or(0);
        match op {
            Op::Item(_, n, size) => {
                let text = "é".repeat(size / 2);
                let payload = serde_json::json!({ "n": n, "t": text, "x": 0.1 + f64::from(n) });
                let record = ItemRecord {
                    seq: seq + 1,
                    label: (n % 2 == 0).then(|| Label::new("l").unwrap()),
                    payload: Payload::new(payload.as_object().unwrap().clone()).unwrap(),
                    image: (n % 3 == 0).then_some(u64::from(n)),
                    created_ms: 1,
                    updated_ms: u64::MAX,
                    model: (n % 5 == 0).then(|| "m".into()),
                };
                batch.put_item(c, &id(n), &record);
                held.items.insert(id(n).into(), record);
            }
            Op::Forget(_, n) => {
                batch.delete_item(c, &id(n));
                held.items.remove(id(n).as_str());
            }
            Op::Row(_, n) => {
                seq += 1;
                let tag = Tag {
                    id: id(n),
                    label: None,
                };
                let vector = vec![f32::from(n), f32::MIN_POSITIVE, -0.0];
                batch.put_tag(c, seq, &tag);
                batch.put_vector(c, seq, &vector);
                held.tags.insert(seq, tag);
                held.vectors.insert(seq, vector);
            }
            Op::Kill(_, n) => {
                if let Some(dead) = held
                    .tags
                    .keys()
                    .nth(usize::from(n) % held.tags.len().max(1))
                    .copied()
                {
                    batch.delete_tag(c, dead);
                    held.tags.remove(&dead);
                    if n % 2 == 0 {
                        batch.delete_vector(c, dead);
                        held.vectors.remove(&dead);
                    }
                }
            }
            Op::Image(_, n, size) => {
                let image = bytes(u64::from(n), size);
                batch.put_image(c, n.into(), &image);
                held.images.insert(n.into(), image);
            }
            Op::DropImage(_, n) => {
                batch.delete_image(c, n.into());
                held.images.remove(&u64::from(n));
            }
            Op::Request(n, size) => {
                batch.put_request(&[n], 9, &bytes(3, size));
                model.requests.insert(vec![n], (9, bytes(3, size)));
            }
            Op::Segment(_, n, size) => {
                let segment = at.next_segment().unwrap();
                let graph = bytes(u64::from(n), size * 3);
                at.put_segment(c, segment, &graph).unwrap();
                assert!(
                    !at.segments(c).unwrap().iter().any(|s| s.0 == segment),
                    "not published"
                );
                if n % 4 > 0 {
                    batch.add_segment(c, segment);
                    held.segments.insert(segment, graph);
                    seq += 1;
                    batch.set_sequence(seq);
                    model.sequence = seq;
                    at.commit(std::mem::take(&mut batch)).unwrap();
                    same(at, &model);
                }
            }
            Op::DropSegment(_, n) => {
                if let Some(old) = held
                    .segments
                    .keys()
                    .nth(usize::from(n) % held.segments.len().max(1))
                    .copied()
                {
                    batch.remove_segment(c, old);
                    held.segments.remove(&old);
                }
            }
            Op::Commit => {
                seq += 1;
                batch.set_sequence(seq);
                model.sequence = seq;
                at.commit(std::mem::take(&mut batch)).unwrap();
                same(at, &model);
            }
            Op::Drop(_) => {
                batch.drop_collection(c);
                model.collections.remove(&c);
                seq += 1;
                batch.set_sequence(seq);
                model.sequence = seq;
                at.commit(std::mem::take(&mut batch)).unwrap();
                assert_eq!(at.orphans().unwrap(), [c]);
                while at.purge(c, 3).unwrap() > 0 {}
                assert_eq!(at.orphans().unwrap(), [0_u64; 0]);
                assert_eq!(
                    (
                        at.tags(c).count(),
                        at.vectors(c).count(),
                        at.items(c, None).count()
                    ),
                    (0, 0, 0)
                );
            }
            Op::Reopen => {
                if !batch.is_empty() {
                    seq += 1;
                    batch.set_sequence(seq);
                    model.sequence = seq;
                    at.commit(std::mem::take(&mut batch)).unwrap();
                }
                drop(store.take());
                store = Some(open(dir.path()));
                same(store.as_ref().unwrap(), &model);
            }
        }
    }
    let store = store.unwrap();
    while store.sweep(1_000).unwrap() > 0 {}
    let report = store.check().unwrap();
    assert!(report.damages.is_empty(), "{report:?}");
    assert_eq!(store.failed(), None);
    while store.forget_requests(10, 4).unwrap() > 0 {}
    assert!((0..6_u8).all(|n| store.request(&[n]).unwrap().is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn behaves_as_maps(ops in prop::collection::vec(op(), 1..60)) {
        play(ops);
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = Store::open(dir.path(), &Options::default());
    assert!(matches!(second, Err(Error::Locked(_))));
    drop(first);
    open(dir.path());
}
