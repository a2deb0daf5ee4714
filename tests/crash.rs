//! kill -9 in the middle of a streaming import, again and again: every acknowledged item is
//! there, searchable and intact, and no other is torn.
//!
//! `TWINDEX_CRASH_ROUNDS` says how often (8 by default).
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]
#![cfg(unix)]

mod support;

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use support::Serving;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use twindex::grpc::pb;
use twindex::grpc::pb::collection_service_client::CollectionServiceClient;
use twindex::grpc::pb::item_service_client::ItemServiceClient;
use twindex::grpc::pb::search_service_client::SearchServiceClient;
use twindex::training::glyphs::Alphabet;

const IMAGES: &str = "images";
const VECTORS: &str = "vectors";
const DIM: usize = 24;

async fn start(data: &Path) -> (Serving, Channel) {
    let server = Serving::start(data);
    let endpoint = Channel::from_shared(server.url()).unwrap();
    (server, endpoint.connect().await.unwrap())
}

fn items(channel: &Channel) -> ItemServiceClient<Channel> {
    ItemServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20)
}

/// The n-th item, the same every time: 3 of 4 are vectors.
struct Expected {
    drawings: Vec<Bytes>,
}

impl Expected {
    fn new() -> Self {
        let alphabet = Alphabet::new(5, 40);
        let draw = |character| {
            let mut png = std::io::Cursor::new(Vec::new());
            alphabet
                .draw(character, 0)
                .write_to(&mut png, image::ImageFormat::Png)
                .unwrap();
            Bytes::from(png.into_inner())
        };
        Self {
            drawings: (0..40).map(draw).collect(),
        }
    }

    fn collection(n: u64) -> &'static str {
        if n.is_multiple_of(4) { IMAGES } else { VECTORS }
    }

    fn content(&self, n: u64) -> pb::item::Content {
        if Self::collection(n) == IMAGES {
            return pb::item::Content::Image(self.drawings[n as usize % 40].clone());
        }
        let x = |i: usize| ((n.wrapping_mul(2_654_435_761) >> i) % 1_009) as f32 / 504.0 - 1.0;
        pb::item::Content::Vector(pb::Vector {
            values: (0..DIM).map(x).collect(),
            ..Default::default()
        })
    }

    fn item(&self, n: u64) -> pb::Item {
        let text = "x".repeat((n * 37 % 2_000) as usize);
        pb::Item {
            id: format!("{n:08}"),
            label: format!("label{}", n % 17),
            payload: Some(twindex::grpc::to_struct(
                serde_json::json!({ "n": n, "text": text })
                    .as_object()
                    .unwrap()
                    .clone(),
            )),
            content: Some(self.content(n)),
            ..Default::default()
        }
    }
}

/// Streams items from `first` on until the server dies; answers what it acknowledged.
async fn import(channel: Channel, expected: &Expected, first: u64) -> BTreeSet<u64> {
    let messages: Vec<_> = (first..first + 20_000)
        .map(|n| pb::StreamUpsertItemsRequest {
            collection: Expected::collection(n).into(),
            item: Some(expected.item(n)),
            tag: n,
        })
        .collect();
    let mut acknowledged = BTreeSet::new();
    let Ok(answers) = items(&channel)
        .stream_upsert_items(tokio_stream::iter(messages))
        .await
    else {
        return acknowledged;
    };
    let mut answers = answers.into_inner();
    while let Some(Ok(answer)) = answers.next().await {
        assert_eq!(answer.status.unwrap().code, 0);
        acknowledged.insert(answer.tag);
    }
    acknowledged
}

async fn all(channel: &Channel, collection: &str) -> BTreeMap<u64, pb::Item> {
    let mut found = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListItemsRequest {
            collection: collection.into(),
            page_size: 1_000,
            page_token,
            filter: None,
            view: Some(pb::ItemView {
                vector: collection == VECTORS,
                image: collection == IMAGES,
            }),
        };
        let page = items(channel)
            .list_items(request)
            .await
            .unwrap()
            .into_inner();
        for item in page.items {
            found.insert(item.id.parse().unwrap(), item);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

/// Checks everything there is against what it must be; answers how many acknowledged items
/// are lost, and how many items are torn.
async fn check(
    channel: &Channel,
    expected: &Expected,
    acknowledged: &BTreeSet<u64>,
    deleted: &BTreeSet<u64>,
) -> (usize, usize) {
    let (mut lost, mut torn) = (0, 0);
    for collection in [IMAGES, VECTORS] {
        let found = all(channel, collection).await;
        let mine = acknowledged
            .iter()
            .filter(|n| Expected::collection(**n) == collection && !deleted.contains(n));
        lost += mine.filter(|n| !found.contains_key(n)).count();
        for (n, item) in &found {
            assert!(!deleted.contains(n), "deleted item {n} is back");
            let wanted = expected.item(*n);
            let whole = item.label == wanted.label
                && item.payload == wanted.payload
                && item.content == wanted.content;
            torn += usize::from(!whole);
        }
        // The index holds exactly what the store does.
        let request = pb::SearchRequest {
            collection: collection.into(),
            probe: found.keys().next().map(|n| pb::Probe {
                content: Some(pb::probe::Content::ItemId(format!("{n:08}"))),
                ..Default::default()
            }),
            k: 10_000,
            exact: true,
            ..Default::default()
        };
        if found.is_empty() {
            continue;
        }
        let mut search =
            SearchServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        let hits = search.search(request).await.unwrap().into_inner().hits;
        assert_eq!(hits.len(), (found.len() - 1).min(10_000));
        assert!(
            hits.iter()
                .all(|h| found.contains_key(&h.id.parse().unwrap()))
        );
    }
    (lost, torn)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_kill_9() {
    let rounds = std::env::var("TWINDEX_CRASH_ROUNDS").map_or(8, |r| r.parse::<u64>().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let expected = Expected::new();
    let (mut acknowledged, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    let (mut lost, mut torn, mut first) = (0, 0, 0);
    for round in 0..=rounds {
        let (server, channel) = start(dir.path()).await;
        if round == 0 {
            let mut collections = CollectionServiceClient::new(channel.clone());
            for (name, dimension) in [(IMAGES, 0), (VECTORS, DIM as u32)] {
                let metric = pb::Metric::Euclidean.into();
                let collection = pb::Collection {
                    metric,
                    name: name.into(),
                    dimension,
                    ..Default::default()
                };
                let request = pb::CreateCollectionRequest {
                    collection: Some(collection),
                    request_id: String::new(),
                };
                collections.create_collection(request).await.unwrap();
            }
        }
        let (more_lost, more_torn) = check(&channel, &expected, &acknowledged, &deleted).await;
        lost += more_lost;
        torn += more_torn;
        if round == rounds {
            break;
        }
        // Some of what is there is deleted, and must stay so.
        for n in acknowledged
            .iter()
            .skip(round as usize * 13)
            .step_by(97)
            .take(3)
            .copied()
            .collect::<Vec<_>>()
        {
            let request = pb::DeleteItemRequest {
                collection: Expected::collection(n).into(),
                id: format!("{n:08}"),
                request_id: String::new(),
            };
            if deleted.insert(n) {
                items(&channel).delete_item(request).await.unwrap();
            }
        }
        let killed = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(60 + round * 53 % 240)).await;
            drop(server);
        });
        acknowledged.extend(import(channel, &expected, first).await);
        killed.await.unwrap();
        first = acknowledged.last().map_or(first, |last| last + 1_000_000);
    }
    eprintln!(
        "{rounds} kills, {} items acknowledged, {lost} lost, {torn} torn",
        acknowledged.len()
    );
    assert_eq!((lost, torn), (0, 0));
    assert!(
        acknowledged.len() > 100,
        "the kills came too early to show anything"
    );
}
