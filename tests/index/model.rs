//! What an index must answer, by brute force.

use super::support::query;
use std::collections::{BTreeMap, BTreeSet};
use twindex::domain::{Embedding, Filter, Metric, Scalars};
use twindex::index::{Hit, Query, Snapshot};

/// What an index must hold: rows by sequence number.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// Tags and vectors of the rows that live.
    pub(super) live: BTreeMap<u64, (u64, Embedding)>,
    /// Those that the store still has; the dead without a tag.
    pub(super) stored: BTreeMap<u64, (Embedding, Option<u64>)>,
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

/// The tags below 12 that are multiples.
fn multiples(modulus: u64) -> Filter {
    let tags = (0..12_u64).filter(|tag| tag.is_multiple_of(modulus));
    Filter::In("n".into(), Scalars::from_iter(tags.map(Into::into)))
}

/// Compares distances, which may differ in the last bits; rows at equal distance may swap.
pub(super) fn assert_same(
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

/// The two nearest of each tag, by the index and by the model.
pub(super) fn assert_same_groups(
    metric: Metric,
    probe: &Embedding,
    model: &Model,
    snapshot: &Snapshot<u64>,
    modulus: u64,
) {
    let keep = |tag: u64| tag.is_multiple_of(modulus);
    let nearest = snapshot.nearest_of_each(probe, 2, |_, tag| keep(*tag).then_some(*tag));
    let tags: BTreeSet<u64> = model.live.values().map(|(tag, _)| *tag).collect();
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
        let order = |hit: &Hit<u64>| (hit.distance, hit.seq);
        assert!(hits.windows(2).all(|w| order(&w[0]) < order(&w[1])));
    }
}
