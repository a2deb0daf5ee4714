//! Searches that are harder than those of a fresh index, beside those.

use crate::set::{K, Set, apply, seal, settle, uniform};
use std::time::Instant;
use twindex::domain::{Filter, Range, Recall};
use twindex::index::{Index, Query, Snapshot};

const ROUNDS: usize = 3;
/// Percent of the rows that a filter lets through.
const SHARES: [f64; 8] = [90.0, 50.0, 20.0, 10.0, 3.0, 1.0, 0.1, 0.01];
/// Queries whose answers are compared with those of exact searches.
const COMPARED: usize = 500;

fn query<'a>(vector: &'a twindex::domain::Embedding, filter: Option<&'a Filter>) -> Query<'a> {
    Query {
        vector,
        k: K,
        recall: Recall::default(),
        ef: None,
        exact: false,
        max_distance: None,
        filter,
    }
}

/// Queries a second, and the part that they found of what exact searches find.
fn measure(set: &Set, snapshot: &Snapshot<()>, filter: Option<&Filter>) -> (f64, f64) {
    let (mut wanted, mut right) = (0, 0);
    for vector in set.queries.iter().take(COMPARED) {
        let asked = query(vector, filter);
        let found = snapshot.search(&asked, None);
        let exact = Query {
            exact: true,
            ..asked
        };
        let exact = snapshot.search(&exact, None);
        let edge = exact.last().map_or(0.0, |hit| hit.distance);
        wanted += exact.len();
        right += found.iter().filter(|hit| hit.distance <= edge).count();
    }
    let mut rate = 0.0_f64;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for vector in &set.queries {
            std::hint::black_box(snapshot.search(&query(vector, filter), None));
        }
        rate = rate.max(set.queries.len() as f64 / begun.elapsed().as_secs_f64());
    }
    (rate, right as f64 / wanted.max(1) as f64)
}

/// Filters of many selectivities.
pub(crate) fn filters(set: &Set) {
    let index = set.index();
    seal(&index, 1);
    let snapshot = index.snapshot();
    let (plain, recall) = measure(set, &snapshot, None);
    println!(
        "{}: {} rows x {}, recall target {}",
        set.name,
        set.base.len(),
        set.dim,
        Recall::default().get()
    );
    println!(
        "  {:>12} {:>10} {:>8} {:>10}",
        "matching", "queries/s", "of plain", "recall@10"
    );
    println!(
        "  {:>12} {plain:>10.0} {:>8.2} {recall:>10.4}",
        "no filter", 1.0
    );
    let mut firsts: Vec<f32> = set.base.iter().map(|v| v.as_slice()[0]).collect();
    firsts.sort_by(f32::total_cmp);
    for share in SHARES {
        let quantile = firsts[(firsts.len() as f64 * share / 100.0) as usize];
        // One has nothing to do with nearness, the other has.
        for (field, below) in [("u", share / 100.0), ("first", quantile.into())] {
            let below = Range {
                lt: Some(below),
                ..Range::default()
            };
            let filter = Filter::Within(field.into(), below);
            let (rate, recall) = measure(set, &snapshot, Some(&filter));
            let of_plain = rate / plain;
            println!("  {field:>5} {share:>5} % {rate:>10.0} {of_plain:>8.2} {recall:>10.4}");
        }
    }
}

/// Of the rows, 30 % deleted and 20 % updated, beside a fresh index of what is left.
pub(crate) fn changes(set: &Set) {
    println!(
        "{}: {} rows x {}, 30 % deleted, 20 % updated",
        set.name,
        set.base.len(),
        set.dim
    );
    let index = set.index();
    seal(&index, 1);
    let (mut at, mut died, mut born) = (set.base.len() as u64, Vec::new(), Vec::new());
    let mut left = Vec::new();
    for (seq, vector) in (1..).zip(&set.base) {
        match uniform(seq) {
            u if u < 0.3 => died.push(seq),
            u if u < 0.5 => {
                died.push(seq);
                born.push(vector.clone());
                left.push(vector.clone());
            }
            _ => left.push(vector.clone()),
        }
    }
    let fresh = Index::new(twindex::index::Options::new(set.dim, set.metric));
    apply(&fresh, 1, &left);
    seal(&fresh, 1);
    apply(&index, at + 1, &born);
    at += born.len() as u64 + 1;
    index.apply(at, Vec::new(), &died);
    let tell = |what: &str, index: &Index<()>, of: f64| {
        let (rate, recall) = measure(set, &index.snapshot(), None);
        println!(
            "  {what:<28} {rate:>10.0} queries/s {:>6.2} recall@10 {recall:.4}",
            rate / of.max(1.0)
        );
        rate
    };
    let plain = measure(set, &fresh.snapshot(), None).0;
    tell("fresh index of the same rows", &fresh, plain);
    tell("before work in the background", &index, plain);
    settle(&index, 1);
    tell("after it", &index, plain);
}

/// The first tenths of a set.
pub(crate) fn sizes(set: &Set) {
    println!("{}: x {}, {} queries", set.name, set.dim, set.queries.len());
    println!(
        "  {:>10} {:>10} {:>10} {:>12}",
        "rows", "us/query", "recall@10", "us/log2(rows)"
    );
    let mut rows = set.base.len();
    let mut sizes = vec![];
    while rows >= 10_000 {
        sizes.push(rows);
        rows /= 10;
    }
    for rows in sizes.into_iter().rev() {
        let index = Index::new(twindex::index::Options::new(set.dim, set.metric));
        apply(&index, 1, &set.base[..rows]);
        seal(&index, 1);
        let (rate, recall) = measure(set, &index.snapshot(), None);
        let each = 1e6 / rate;
        println!(
            "  {rows:>10} {each:>10.1} {recall:>10.4} {:>12.2}",
            each / (rows as f64).log2()
        );
    }
}
