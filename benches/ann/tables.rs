//! Searches that are harder than those of a fresh index, beside those.

use crate::set::{K, Set, apply, apply_with_fields, seal};
use std::time::Instant;
use twindex::domain::{Embedding, Filter, Range, Recall};
use twindex::index::{Index, Query, Snapshot};

const ROUNDS: usize = 3;
/// Percent of the rows that a filter lets through.
const SHARES: [f64; 8] = [90.0, 50.0, 20.0, 10.0, 3.0, 1.0, 0.1, 0.01];
/// Rows that come at once.
const FRESH: usize = 100;
/// Queries whose answers are compared with those of exact searches.
const COMPARED: usize = 500;

fn query<'a>(vector: &'a Embedding, filter: Option<&'a Filter>) -> Query<'a> {
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
pub(crate) fn measure(set: &Set, snapshot: &Snapshot<()>, filter: Option<&Filter>) -> (f64, f64) {
    let recall = recall(set, snapshot, filter);
    (rate(set, snapshot, |_| filter.cloned()), recall)
}

fn recall(set: &Set, snapshot: &Snapshot<()>, filter: Option<&Filter>) -> f64 {
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
    right as f64 / wanted.max(1) as f64
}

/// Queries a second, each with a filter.
fn rate(set: &Set, snapshot: &Snapshot<()>, filter: impl Fn(usize) -> Option<Filter>) -> f64 {
    let mut rate = 0.0_f64;
    let queries = set.queries.len();
    for round in 0..ROUNDS {
        let filters: Vec<_> = (0..queries)
            .map(|nth| filter(round * queries + nth))
            .collect();
        let begun = Instant::now();
        for (vector, filter) in set.queries.iter().zip(&filters) {
            std::hint::black_box(snapshot.search(&query(vector, filter.as_ref()), None));
        }
        rate = rate.max(queries as f64 / begun.elapsed().as_secs_f64());
    }
    rate
}

/// Filters of many selectivities.
pub(crate) fn filters(set: &Set) {
    let index = Index::new(set.options());
    apply_with_fields(&index, 1, &set.base);
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
        "  {:>12} {:>10} {:>8} {:>10} {:>14}",
        "matching", "queries/s", "of plain", "recall@10", "new each time"
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
            let filter = |below: f64| {
                let below = Range {
                    lt: Some(below),
                    ..Range::default()
                };
                Filter::Within(field.into(), below)
            };
            // One that no query before had, as good as the same.
            let new = |nth: usize| Some(filter(below + nth as f64 * 1e-12));
            let new = rate(set, &snapshot, new) / plain;
            let (rate, recall) = measure(set, &snapshot, Some(&filter(below)));
            let of_plain = rate / plain;
            println!(
                "  {field:>5} {share:>5} % {rate:>10.0} {of_plain:>8.2} {recall:>10.4} {new:>14.2}"
            );
        }
    }
}

/// Small segments beside a large one, and which part of the rows each holds.
const SMALL: (usize, usize) = (9, 60);

/// The same rows as one segment, as several alike, and as a large one with small ones that came since.
pub(crate) fn segments(set: &Set) {
    println!("{}: {} rows x {}", set.name, set.base.len(), set.dim);
    let mut one = 0.0_f64;
    let mut tell = |what: &str, each: &[&[Embedding]]| {
        let index = Index::new(set.options());
        let mut at = 1;
        for (id, rows) in (1..).zip(each) {
            let at_once = if id == 1 { rows.len() } else { FRESH };
            for rows in rows.chunks(at_once) {
                apply(&index, at, rows);
                at += rows.len() as u64;
            }
            seal(&index, id);
        }
        let (rate, recall) = measure(set, &index.snapshot(), None);
        one = one.max(rate * f64::from(u8::from(each.len() == 1)));
        println!(
            "  {what:>12} {rate:>10.0} queries/s {:>6.2} recall@10 {recall:.4}",
            rate / one
        );
    };
    for segments in [1, 2, 4, 10, 20] {
        let each = set.base.chunks(set.base.len().div_ceil(segments));
        tell(&format!("{segments} alike"), &each.collect::<Vec<_>>());
    }
    let each = set.base.len() / SMALL.1;
    let (large, small) = set.base.split_at(set.base.len() - SMALL.0 * each);
    let mut all = vec![large];
    all.extend(small.chunks(each));
    tell("one and nine", &all);
}

/// Rows in the tail beside a segment of the others.
const TAILS: [usize; 6] = [0, 1_000, 3_000, 5_000, 9_000, 20_000];

/// The same rows in one segment, and some of them not sealed yet, as they came by and by.
pub(crate) fn tails(set: &Set) {
    println!("{}: {} rows x {}", set.name, set.base.len(), set.dim);
    let mut all_sealed = 0.0_f64;
    for tail in TAILS {
        let (sealed, fresh) = set.base.split_at(set.base.len() - tail);
        let index = Index::new(set.options());
        apply(&index, 1, sealed);
        seal(&index, 1);
        let mut at = sealed.len() as u64 + 1;
        let begun = Instant::now();
        for rows in fresh.chunks(FRESH) {
            apply(&index, at, rows);
            at += rows.len() as u64;
        }
        let each = begun.elapsed().as_secs_f64() * 1e6 / tail.max(1) as f64;
        let (rate, recall) = measure(set, &index.snapshot(), None);
        all_sealed = all_sealed.max(rate * f64::from(u8::from(tail == 0)));
        println!(
            "  {tail:>6} in the tail {rate:>10.0} queries/s {:>6.2} recall@10 {recall:.4}, {each:.1} us a row to come",
            rate / all_sealed
        );
    }
}

/// How long a query takes among more and more rows: a set of a series.
pub(crate) fn sizes(set: &Set) {
    let index = set.index();
    seal(&index, 1);
    let (rate, recall) = measure(set, &index.snapshot(), None);
    let (rows, each) = (set.base.len(), 1e6 / rate);
    println!(
        "{:<12} {rows:>10} rows {each:>8.1} us a query, recall@10 {recall:.4}, {:>6.2} us by log2(rows)",
        set.name,
        each / (rows as f64).log2()
    );
}
