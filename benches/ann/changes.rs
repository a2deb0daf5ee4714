//! Searches while rows die and are born, and after.

use crate::set::{Set, apply, seal, settle, uniform};
use crate::tables::measure;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twindex::domain::Embedding;
use twindex::index::{Index, Job};

/// Changes applied at once, and a second.
const CHANGES: usize = 100;
const CHANGES_A_SECOND: [usize; 2] = [1_000, 5_000];

/// Of the rows, 30 % deleted and 20 % updated, beside a fresh index of what is left.
pub(crate) fn changes(set: &Set) {
    println!(
        "{}: {} rows x {}, 30 % deleted, 20 % updated",
        set.name,
        set.base.len(),
        set.dim
    );
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
    let fresh = Index::new(set.options());
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
    for rate in CHANGES_A_SECOND {
        let index = set.index();
        seal(&index, 1);
        stream(&index, set.base.len() as u64, &died, rate);
        tell(&format!("as the last of {rate}/s came"), &index, plain);
        settle(&index, 1_000);
        tell("after work in the background", &index, plain);
    }
}

/// Rows die, and some are born again, with work going on in the background until the last has.
fn stream(index: &Index<()>, mut at: u64, changes: &[(u64, Option<&Embedding>)], rate: usize) {
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
            let due = Duration::from_secs_f64((nth * CHANGES) as f64 / rate as f64);
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
