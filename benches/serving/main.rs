//! The whole service over gRPC, client and server on one machine: rows stored, searched, changed
//! meanwhile, and streamed in.
//!
//! ```sh
//! cargo bench --bench serving -- --data DIR [--set NAME] [--seconds N] [--kept DIR] [--only PART]...
//! ```
//!
//! DIR/NAME is a set as `benches/ann` takes it, `clus128` if not given. The rows are stored as
//! vectors by batches, with a payload field `u`, anything below 1, that is indexed. Then come
//! searches (`searches`), searches among writes (`mix`), each from 1, 8 and 64 connections that
//! ask again as soon as they are answered, and rows that stream in beside searches, both at a
//! fixed rate (`stream`): these are timed from when they should have been sent. What the server
//! takes outside the index is its own account (`server-timing`), and, with all that the transport
//! takes, its time of CPU. `--kept` names a directory that holds the rows for the next time.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints"
)]

mod client;
mod figures;
mod fill;
mod load;
#[path = "../ann/set.rs"]
#[allow(dead_code, reason = "an index is made of it there")]
mod set;
mod stream;
#[path = "../../tests/support/mod.rs"]
mod support;

use load::{Load, Mix};
use set::Set;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::Serving;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: [usize; 3] = [1, 8, 64];
/// Rows of which `u` is less are let through.
const FILTERS: [Option<f64>; 3] = [None, Some(0.5), Some(0.01)];

struct Options {
    data: PathBuf,
    set: String,
    seconds: u64,
    kept: Option<PathBuf>,
    only: Vec<String>,
}

fn options() -> Option<Options> {
    let (mut data, mut set, mut seconds) = (None, "clus128".to_owned(), 5);
    let (mut kept, mut only) = (None, Vec::new());
    // Cargo adds an argument of its own.
    let mut asked = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(option) = asked.next() {
        let value = asked.next().unwrap_or_else(|| panic!("{option} VALUE"));
        match option.as_str() {
            "--data" => data = Some(PathBuf::from(value)),
            "--set" => set = value,
            "--seconds" => seconds = value.parse().unwrap(),
            "--kept" => kept = Some(PathBuf::from(value)),
            "--only" => only.push(value),
            _ => panic!("--data, --set, --seconds, --kept or --only is expected, not {option}"),
        }
    }
    Some(Options {
        data: data?,
        set,
        seconds,
        kept,
        only,
    })
}

fn main() {
    let Some(options) = options() else {
        println!("SKIPPED: --data DIR names the folder of the sets");
        return;
    };
    let set = Arc::new(Set::open(&options.data.join(&options.set)));
    println!(
        "{}: {} rows x {}, {:?}, {} queries, k {}",
        set.name,
        set.base.len(),
        set.dim,
        set.metric,
        set.queries.len(),
        set::K
    );
    let own = tempfile::tempdir().unwrap();
    let dir = options.kept.clone().unwrap_or_else(|| own.path().into());
    let server = Serving::start(&dir);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&options, &server, &set));
    server.stop();
}

async fn run(options: &Options, server: &Serving, set: &Arc<Set>) {
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|o| o == part);
    fill::run(server, set).await;
    let mut load = Load::new(server, set, Duration::from_secs(options.seconds));
    load::heading();
    if wanted("searches") {
        for below in FILTERS {
            load.compare_with_exact(below).await;
            for connections in CONNECTIONS {
                load.run(connections, Mix::searches(below)).await;
            }
        }
    }
    if wanted("mix") {
        load.compare_with_nothing();
        for connections in CONNECTIONS {
            load.run(connections, Mix::with_writes()).await;
        }
    }
    if wanted("stream") {
        stream::run(server, set, Duration::from_secs(options.seconds.max(20))).await;
    }
}
