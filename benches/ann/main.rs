//! The index on the field's kind of data: queries a second at a recall, build time and memory.
//!
//! ```sh
//! cargo bench --bench ann -- --data DIR [--set NAME]... [--out FILE] [--vectors memory|disk]
//! cargo bench --bench ann -- --data DIR --table filters|changes|segments|tails|sizes [--set NAME]...
//! ```
//!
//! Each folder in DIR is a set: `base.f32` and `query.f32` (little-endian, row after row),
//! `truth.i32` (the ten nearest rows of each query, exactly) and `meta.json` (`n`, `dim`,
//! `queries`, `metric`: `l2`, or `ip` of unit vectors). One thread asks one query at a time, the
//! best of three rounds: for a recall, as users do, and by walks that keep so many candidates.
//! `--vectors disk` keeps them in a file in the current directory, beside codes and links in memory.
//! `--out` adds a line of JSON for each setting. The tables are of searches with filters, after
//! deletes and updates, in several segments, beside rows not sealed yet, and among more and more rows.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints"
)]

mod changes;
mod curve;
mod set;
mod tables;

use set::Set;
use std::fs::{self, File};
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let (mut data, mut wanted, mut out, mut table) = (None, Vec::new(), None, None);
    let mut on_disk = false;
    // Cargo adds an argument of its own.
    let mut asked = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(option) = asked.next() {
        let value = asked.next().unwrap_or_else(|| panic!("{option} VALUE"));
        match option.as_str() {
            "--data" => data = Some(PathBuf::from(value)),
            "--set" => wanted.push(value),
            "--out" => out = Some(File::create(value).unwrap()),
            "--table" => table = Some(value),
            "--vectors" => on_disk = value == "disk",
            _ => panic!("--data, --set, --table, --vectors or --out is expected, not {option}"),
        }
    }
    let Some(data) = data else {
        println!("SKIPPED: --data DIR names the folder of the sets");
        return;
    };
    let folders = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|f| f.join("meta.json").exists()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if wanted.is_empty() || wanted.contains(&name) {
            let set = Set {
                on_disk,
                ..Set::open(&folder)
            };
            match table.as_deref() {
                None => curve::run(&set, &mut out),
                Some("filters") => tables::filters(&set),
                Some("changes") => changes::changes(&set),
                Some("segments") => tables::segments(&set),
                Some("tails") => tables::tails(&set),
                Some("sizes") => tables::sizes(&set),
                Some(other) => {
                    panic!("--table filters, changes, segments, tails or sizes, not {other}")
                }
            }
        }
    }
}
