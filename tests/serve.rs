//! A server on a disk that fails.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use support::{BINARY, Serving};

fn serve(data: &Path) -> Command {
    let mut serve = Command::new(BINARY);
    serve
        .args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--data"])
        .arg(data);
    serve
}

/// A limit on the size of files stands in for a disk that is full.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_reads_go_on_and_the_end_is_no_success() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use twindex::grpc::pb;

    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let inner = serve(&dir.path().join("data"));
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 30000; trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let serving = Serving::run(limited);
    let channel = tonic::transport::Channel::from_shared(serving.url()).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut items = pb::item_service_client::ItemServiceClient::new(channel.clone());
    let mut collections =
        pb::collection_service_client::CollectionServiceClient::new(channel.clone());
    let collection = pb::Collection {
        name: "v".into(),
        dimension: 4_096,
        ..Default::default()
    };
    let create = pb::CreateCollectionRequest {
        collection: Some(collection),
        request_id: String::new(),
    };
    collections.create_collection(create).await.unwrap();
    let batch = |nth: usize| {
        let items = (0..100).map(|n| pb::Item {
            id: format!("{nth}/{n}"),
            content: Some(pb::item::Content::Vector(pb::Vector {
                values: vec![1.0; 4_096],
            })),
            ..Default::default()
        });
        pb::BatchUpsertItemsRequest {
            collection: "v".into(),
            items: items.collect(),
            ..Default::default()
        }
    };
    let mut written = 0;
    let status = loop {
        match items.batch_upsert_items(batch(written)).await {
            Ok(_) => written += 1,
            Err(status) => break status,
        }
        assert!(written < 100, "there is no limit");
    };
    assert!(written > 0);
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    let again = items.batch_upsert_items(batch(written)).await.unwrap_err();
    let details = tonic_types::StatusExt::get_error_details(&again);
    assert_eq!(details.error_info().unwrap().reason, "READ_ONLY");

    let get = pb::GetItemRequest {
        collection: "v".into(),
        id: "0/0".into(),
        view: None,
    };
    let got = items.get_item(get).await.unwrap().into_inner();
    assert_eq!(got.item.unwrap().id, "0/0");
    let mut health = HealthClient::new(channel);
    let mut asked = 0;
    loop {
        let request = HealthCheckRequest {
            service: "twindex.v1.ItemService".into(),
        };
        let told = health.check(request).await.unwrap().into_inner().status();
        if told == tonic_health::pb::health_check_response::ServingStatus::NotServing {
            break;
        }
        asked += 1;
        assert!(asked < 100, "it says that it serves");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    assert_eq!(serving.stop(), Some(1));
    let told = std::fs::read_to_string(log).unwrap();
    assert!(told.contains("writes were refused since"), "{told}");
    assert!(!told.contains("is on disk"), "{told}");
}
