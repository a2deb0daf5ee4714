//! What a search is told to cost.

use super::support::{facets, query, vector};
use twindex::domain::{Filter, Metric};
use twindex::index::{Index, Options, Query, Row};

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
