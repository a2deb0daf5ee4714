//! The whole service on two cores, client included: enrolling a folder over gRPC, restarting,
//! and k-NN by vector from one and from eight connections, with recall against an exact search,
//! with the server idle otherwise and while it trains a model.
//!
//! `cargo bench --bench end_to_end` takes Omniglot's background images where they lie beside
//! the checkout, or the folder in `TWINDEX_BENCH_IMAGES`; else as many drawn glyphs.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use prost::Message;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{BINARY, Serving};
use tonic::transport::Channel;
use twindex::grpc::longrunning::operations_client::OperationsClient;
use twindex::grpc::pb::collection_service_client::CollectionServiceClient;
use twindex::grpc::pb::item_service_client::ItemServiceClient;
use twindex::grpc::pb::model_service_client::ModelServiceClient;
use twindex::grpc::pb::search_service_client::SearchServiceClient;
use twindex::grpc::{longrunning, pb};
use twindex::training::glyphs::Alphabet;

const CONNECTIONS: [usize; 2] = [1, 8];
const QUERIES: usize = 2_000;
const SECONDS: u64 = 10;

/// Memory as the system counts it, in MiB.
fn memory(server: &Serving, what: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).ok()?;
    let line = status.lines().find(|l| l.starts_with(what))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn told_memory(server: &Serving) -> String {
    match (memory(server, "VmRSS"), memory(server, "VmHWM")) {
        (Some(now), Some(peak)) => format!("{now:.0} MiB of memory, {peak:.0} MiB at most"),
        _ => "memory unknown on this system".to_owned(),
    }
}

async fn connect(server: &Serving) -> Channel {
    let endpoint = Channel::from_shared(server.url()).unwrap();
    endpoint.connect().await.unwrap()
}

/// A folder of labelled images, and what it is.
fn images(dir: &Path) -> (PathBuf, &'static str) {
    if let Some(own) = std::env::var_os("TWINDEX_BENCH_IMAGES") {
        return (own.into(), "TWINDEX_BENCH_IMAGES");
    }
    let zip =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/omniglot/images_background.zip");
    let unzipped = zip.is_file() && {
        let mut unzip = Command::new("python3");
        let unzip = unzip.args(["-m", "zipfile", "-e"]).arg(&zip).arg(dir);
        unzip
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    if unzipped {
        return (dir.to_owned(), "Omniglot background");
    }
    println!("Omniglot is not here: drawn glyphs instead");
    Alphabet::new(1, 964).write_folder(dir, 20).unwrap();
    (dir.to_owned(), "drawn glyphs")
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, what) = images(&dir.path().join("images"));
    let data = dir.path().join("data");
    let server = Serving::start(&data);

    let import = Command::new(BINARY)
        .args(["import", "bench", "--json", "--server", &server.url()])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(
        import.status.success(),
        "{}",
        String::from_utf8_lossy(&import.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&import.stdout).unwrap();
    println!(
        "enrol      {} images ({what}) in {:.1} s: {:.0} a second, embedded and durable; {}",
        report["imported"],
        report["seconds"].as_f64().unwrap(),
        report["images_per_second"].as_f64().unwrap(),
        told_memory(&server)
    );

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sealed = Instant::now();
    let stats = runtime.block_on(settled(&server));
    println!(
        "seal       {} segments, {} rows in graphs, {} in the tail, {:.1} s after the import; {:.0} MiB of index, {:.0} MiB on disk",
        stats.segments,
        stats.sealed_rows,
        stats.tail_rows,
        sealed.elapsed().as_secs_f64(),
        stats.index_bytes as f64 / 1048576.0,
        stats.disk_bytes as f64 / 1048576.0
    );

    server.stop();
    let began = Instant::now();
    let server = Serving::start(&data);
    let took = began.elapsed();
    println!("restart    {:.2} s until it answers", took.as_secs_f64());

    let probes = Arc::new(runtime.block_on(async { probes(connect(&server).await).await }));
    let recall = runtime.block_on(recall(&server, &probes));
    println!("k-NN       recall@10 {recall:.4}; {}", told_memory(&server));
    let idle = runtime.block_on(loaded(&server, &probes, "idle"));
    println!("           {}", told_memory(&server));
    let training = runtime.block_on(train(&server));
    let beside = runtime.block_on(loaded(&server, &probes, "while it trains"));
    let steps = runtime.block_on(training.cancelled());
    for (connections, (idle, beside)) in CONNECTIONS.iter().zip(idle.iter().zip(&beside)) {
        println!(
            "           p99 from {connections}: {:.2} times that of an idle server",
            beside / idle
        );
    }
    println!(
        "           {steps} steps of training meanwhile; {}",
        told_memory(&server)
    );
    server.stop();
}

/// Waits until what can be sealed is sealed.
async fn settled(server: &Serving) -> pb::GetCollectionStatsResponse {
    let mut client = CollectionServiceClient::new(connect(server).await);
    loop {
        let request = pb::GetCollectionStatsRequest {
            name: "bench".into(),
        };
        let stats = client
            .get_collection_stats(request)
            .await
            .unwrap()
            .into_inner();
        if stats.tail_rows < 10_000 {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Vectors of stored items, moved a little: near what is there, and not in it.
async fn probes(channel: Channel) -> Vec<Vec<f32>> {
    let mut client = ItemServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut probes = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListItemsRequest {
            collection: "bench".into(),
            page_size: 1_000,
            page_token,
            view: Some(pb::ItemView {
                vector: true,
                image: false,
            }),
            filter: None,
        };
        let page = client.list_items(request).await.unwrap().into_inner();
        for (nth, item) in page.items.into_iter().enumerate() {
            if let Some(pb::item::Content::Vector(mut v)) = item.content {
                for (i, x) in v.values.iter_mut().enumerate() {
                    *x += 0.05 * (((nth * 31 + i * 17) % 21) as f32 / 10.0 - 1.0);
                }
                probes.push(v.values);
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            let step = (probes.len() / QUERIES).max(1);
            return probes.into_iter().step_by(step).take(QUERIES).collect();
        }
    }
}

fn request(values: &[f32], exact: bool) -> pb::SearchRequest {
    let vector = pb::Vector {
        values: values.to_vec(),
        ..Default::default()
    };
    pb::SearchRequest {
        collection: "bench".into(),
        probe: Some(pb::Probe {
            content: Some(pb::probe::Content::Vector(vector)),
            ..Default::default()
        }),
        k: 10,
        exact,
        ..Default::default()
    }
}

async fn recall(server: &Serving, probes: &[Vec<f32>]) -> f64 {
    let mut client = SearchServiceClient::new(connect(server).await);
    let mut right = 0;
    for probe in probes {
        let mut found = Vec::new();
        for exact in [true, false] {
            let hits = client
                .search(request(probe, exact))
                .await
                .unwrap()
                .into_inner()
                .hits;
            found.push(hits.into_iter().map(|h| h.id).collect::<HashSet<_>>());
        }
        right += found[0].intersection(&found[1]).count();
    }
    right as f64 / (10 * probes.len()) as f64
}

/// The p99, in milliseconds, from each number of connections.
async fn loaded(server: &Serving, probes: &Arc<Vec<Vec<f32>>>, state: &str) -> Vec<f64> {
    let mut all = Vec::new();
    for connections in CONNECTIONS {
        let (rate, latencies) = load(server, probes, connections).await;
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize] * 1e3;
        println!(
            "           {state}: {rate:.0} queries a second from {connections}, p50 {:.2} ms, p99 {:.2} ms",
            at(0.5),
            at(0.99)
        );
        all.push(at(0.99));
    }
    all
}

/// Queries a second, and how many seconds each took, the fastest first.
async fn load(
    server: &Serving,
    probes: &Arc<Vec<Vec<f32>>>,
    connections: usize,
) -> (f64, Vec<f64>) {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let end = began + Duration::from_secs(SECONDS);
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut client = SearchServiceClient::new(connect(server).await);
        let (probes, next) = (Arc::clone(probes), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let nth = next.fetch_add(1, Ordering::Relaxed) % probes.len();
                let began = Instant::now();
                let hits = client
                    .search(request(&probes[nth], false))
                    .await
                    .unwrap()
                    .into_inner()
                    .hits;
                assert_eq!(hits.len(), 10);
                latencies.push(began.elapsed().as_secs_f64());
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    (latencies.len() as f64 / seconds, latencies)
}

/// A training in the server.
struct Training {
    client: OperationsClient<Channel>,
    name: String,
}

/// Begins one, and waits until it learns.
async fn train(server: &Serving) -> Training {
    let request = pb::TrainModelRequest {
        collection: "bench".into(),
        length: Some(pb::train_model_request::Length::Minutes(60.0)),
        ..Default::default()
    };
    let mut models = ModelServiceClient::new(connect(server).await);
    let name = models.train_model(request).await.unwrap().into_inner().name;
    let client = OperationsClient::new(connect(server).await);
    let mut training = Training { client, name };
    while training.steps().await == 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    training
}

impl Training {
    async fn steps(&mut self) -> u64 {
        let name = self.name.clone();
        let request = longrunning::GetOperationRequest { name };
        let shown = self.client.get_operation(request).await.unwrap();
        let metadata = shown.into_inner().metadata.unwrap_or_default();
        pb::TrainModelMetadata::decode(&*metadata.value)
            .unwrap()
            .step
    }

    /// How many steps it had taken.
    async fn cancelled(mut self) -> u64 {
        let steps = self.steps().await;
        let name = self.name.clone();
        let request = longrunning::CancelOperationRequest { name };
        self.client.cancel_operation(request).await.unwrap();
        steps
    }
}
