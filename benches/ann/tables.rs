//! Searches that are harder than those of a fresh index, beside those.

use crate::set::{K, Set, apply, seal, settle, uniform};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twindex::domain::{Embedding, Filter, Range, Recall};
use twindex::index::{Index, Job, Query, Snapshot};

const ROUNDS: usize = 3;
/// Percent of the rows that a filter lets through.
const SHARES: [f64; 8] = [90.0, 50.0, 20.0, 10.0, 3.0, 1.0, 0.1, 0.01];
/// Changes applied at once, and a second.
const CHANGES: usize = 100;
const CHANGES_A_SECOND: usize = 5_000;
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
        "{}: {} rows x {}, 30 % deleted, 20 % updated, {CHANGES_A_SECOND} a second",
        set.name,
        set.base.len(),
        set.dim
    );
    let index = set.index();
    seal(&index, 1);
    let (mut died, mut left) = (Vec::new(), Vec::new());
    for (seq, vector) in (1..).zip(&set.base) {
        let fate = uniform(seq);
        if fate < 0.5 {
            died.push((seq, (fate >= 0.3).then_some(vector)));
        }
        if fate >= 0.3 {
            left.push(vector.clone());
        }
    }
    let fresh = Index::new(twindex::index::Options::new(set.dim, set.metric));
    apply(&fresh, 1, &left);
    seal(&fresh, 1);
    let tell = |what: &str, index: &Index<()>, of: f64| {
        let (rate, recall) = measure(set, &index.snapshot(), None);
        let stats = index.snapshot().stats();
        println!(
            "  {what:<28} {rate:>10.0} queries/s {:>6.2} recall@10 {recall:.4}; {} segments, {} dead, {} rows in the tail",
            rate / of.max(1.0),
            stats.segments,
            stats.dead,
            stats.tail_rows
        );
        rate
    };
    let plain = measure(set, &fresh.snapshot(), None).0;
    tell("fresh index of the same rows", &fresh, plain);
    stream(&index, set.base.len() as u64, &died);
    tell("as the last change came", &index, plain);
    settle(&index, 1_000);
    tell("after work in the background", &index, plain);
}

/// Rows die, and some are born again, with work going on in the background until the last has.
fn stream(index: &Index<()>, mut at: u64, changes: &[(u64, Option<&Embedding>)]) {
    let (done, id) = (AtomicBool::new(false), AtomicU64::new(1));
    let work = |next: &dyn Fn() -> Option<Job<()>>| {
        while !done.load(Ordering::Relaxed) {
            match next()
                .map(|job| job.build(id.fetch_add(1, Ordering::Relaxed) + 1, &done, &|_| {}))
            {
                Some(Some(built)) => drop(index.install(built)),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    };
    std::thread::scope(|scope| {
        for (threads, rewrite) in [(2, false), (1, true)] {
            let threads = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            scope.spawn(move || {
                threads.install(|| match rewrite {
                    true => work(&|| index.next_rewrite(false)),
                    false => work(&|| index.next_seal(false)),
                })
            });
        }
        let begun = Instant::now();
        for (nth, some) in changes.chunks(CHANGES).enumerate() {
            let due = Duration::from_secs_f64((nth * CHANGES) as f64 / CHANGES_A_SECOND as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let born: Vec<Embedding> = some.iter().filter_map(|(_, b)| b.cloned()).collect();
            apply(index, at + 1, &born);
            at += born.len() as u64 + 1;
            let died: Vec<u64> = some.iter().map(|(seq, _)| *seq).collect();
            index.apply(at, Vec::new(), &died);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The same rows as one segment and as several.
pub(crate) fn segments(set: &Set) {
    println!("{}: {} rows x {}", set.name, set.base.len(), set.dim);
    let mut one = 0.0_f64;
    for segments in [1, 2, 4, 10, 20] {
        let index = Index::new(twindex::index::Options::new(set.dim, set.metric));
        let each = set.base.chunks(set.base.len().div_ceil(segments));
        let mut at = 1;
        for (id, rows) in (1..).zip(each) {
            apply(&index, at, rows);
            at += rows.len() as u64;
            seal(&index, id);
        }
        let (rate, recall) = measure(set, &index.snapshot(), None);
        one = one.max(rate * f64::from(u8::from(segments == 1)));
        println!(
            "  {segments:>2} segments {rate:>10.0} queries/s {:>6.2} recall@10 {recall:.4}",
            rate / one
        );
    }
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
