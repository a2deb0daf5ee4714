//! Storing the rows.

use crate::client::{COLLECTION, Client, FIELD, item};
use crate::figures::{cpu_seconds, memory};
use crate::set::Set;
use crate::support::Serving;
use std::time::{Duration, Instant};
use twindex::domain::Metric;
use twindex::grpc::pb;

/// Rows of a batch.
const BATCH: usize = 1_000;

/// Stores the rows, if they are not there, and waits until nothing is left to do for them.
pub(crate) async fn run(server: &Serving, set: &Set) {
    let mut client = Client::connect(&server.url()).await;
    if stats(&mut client).await.is_none() {
        create(&mut client, set).await;
        let began = Instant::now();
        for (nth, rows) in set.base.chunks(BATCH).enumerate() {
            let first = (nth * BATCH) as u64 + 1;
            let rows = (first..).zip(rows);
            let request = pb::BatchUpsertItemsRequest {
                collection: COLLECTION.into(),
                items: rows.map(|(row, v)| item(row, v.as_slice())).collect(),
                ..Default::default()
            };
            client.items.batch_upsert_items(request).await.unwrap();
        }
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "insert     {:.0} rows a second, by batches of {BATCH}, durable",
            set.base.len() as f64 / seconds
        );
    }
    let began = Instant::now();
    settled(server).await;
    let stats = stats(&mut client).await.unwrap();
    println!(
        "settle     {:.1} s: {} segments, {} rows in them, {} in the tail; {:.0} MiB of memory",
        began.elapsed().as_secs_f64(),
        stats.segments,
        stats.sealed_rows,
        stats.tail_rows,
        memory(server.pid())
    );
}

async fn create(client: &mut Client, set: &Set) {
    let metric = match set.metric {
        Metric::Cosine => pb::Metric::Cosine,
        Metric::Euclidean => pb::Metric::Euclidean,
        Metric::Dot => pb::Metric::Dot,
    };
    let collection = pb::Collection {
        name: COLLECTION.into(),
        metric: metric.into(),
        dimension: set.dim as u32,
        source: pb::Source::Vector.into(),
        ..Default::default()
    };
    let request = pb::CreateCollectionRequest {
        collection: Some(collection),
        ..Default::default()
    };
    client.collections.create_collection(request).await.unwrap();
    let request = pb::CreatePayloadIndexRequest {
        collection: COLLECTION.into(),
        field: FIELD.into(),
        ..Default::default()
    };
    client
        .collections
        .create_payload_index(request)
        .await
        .unwrap();
}

pub(crate) async fn stats(client: &mut Client) -> Option<pb::GetCollectionStatsResponse> {
    let request = pb::GetCollectionStatsRequest {
        name: COLLECTION.into(),
    };
    let stats = client.collections.get_collection_stats(request).await;
    stats.ok().map(tonic::Response::into_inner)
}

/// Waits until the server does nothing for two seconds.
async fn settled(server: &Serving) {
    loop {
        let before = cpu_seconds(server.pid());
        tokio::time::sleep(Duration::from_secs(2)).await;
        if cpu_seconds(server.pid()) - before < 0.05 {
            return;
        }
    }
}
