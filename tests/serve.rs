//! A server as its operator sets it up, and on a disk that fails.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use support::{BINARY, Serving, twindex};
use twindex::training::glyphs::Alphabet;

fn serve(data: &Path) -> Command {
    let mut serve = Command::new(BINARY);
    serve
        .args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--data"])
        .arg(data);
    serve
}

/// What a command that must end with this code says of it.
fn refused(args: &[&str], code: i32) -> String {
    let output = twindex(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn limits_are_the_operators_to_set() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    Alphabet::new(1, 2).write_folder(&images, 2).unwrap();
    let noise = |side: u32| {
        let mut x = 1_u32;
        image::RgbImage::from_fn(side, side, |_, _| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(x >> 8) as u8, (x >> 16) as u8, (x >> 24) as u8])
        })
    };
    let blank = image::GrayImage::new(200, 200);
    noise(80).save(images.join("glyphs/heavy.png")).unwrap();
    blank.save(images.join("glyphs/wide.png")).unwrap();
    let mut command = serve(&dir.path().join("data"));
    command
        .args(["--max-image-bytes", "10000", "--max-image-pixels", "30000"])
        .args(["--max-k", "10", "--max-batch", "100"])
        .env("TWINDEX_MAX_COLLECTIONS", "1");
    let serving = Serving::run(command);
    let url = serving.url();

    let images = images.to_str().unwrap();
    let told = refused(&["import", "g", images, "--server", &url], 6);
    assert!(told.contains("2 files were refused"), "{told}");
    assert!(told.contains("at most 10000 bytes"), "{told}");
    assert!(told.contains("at most 30000 pixels"), "{told}");
    let item = "glyphs/character01/hand01.png";
    let search = ["search", "g", "--item", item, "--server", &url, "-k"];
    let told = refused(&[&search[..], &["11"]].concat(), 5);
    assert!(told.contains("k: 11; 1 to 10 are allowed"), "{told}");
    assert!(twindex(&[&search[..], &["10"]].concat()).status.success());
    let ids: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let delete = [&["delete", "g", "--server", &url], &ids[..]].concat();
    let told = refused(&delete, 5);
    assert!(told.contains("ids: 101 entries; 1 to 100"), "{told}");
    let told = refused(&["collection", "create", "h", "--server", &url], 5);
    assert!(told.contains("there are 1 collections already"), "{told}");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn limits_have_limits() {
    for (flag, value, allowed) in [
        ("--max-k", "9", "10..=100000"),
        ("--max-batch", "99", "100..=100000"),
        ("--max-image-bytes", "16777217", "1..=16777216"),
        ("--max-image-pixels", "0", "1..=200000000"),
        ("--max-collections", "100001", "1..=100000"),
    ] {
        let told = refused(&["serve", flag, value], 2);
        let why = format!("{value} is not in {allowed}");
        assert!(told.contains(flag) && told.contains(&why), "{told}");
    }
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
    // What was refused is not to be seen.
    let get = pb::GetItemRequest {
        collection: "v".into(),
        id: format!("{written}/0"),
        view: None,
    };
    let status = items.get_item(get).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}");
    let search = pb::SearchRequest {
        collection: "v".into(),
        probe: Some(pb::Probe {
            content: Some(pb::probe::Content::ItemId("0/0".into())),
        }),
        k: 10,
        ..Default::default()
    };
    let mut searches = pb::search_service_client::SearchServiceClient::new(channel.clone());
    let hits = searches.search(search).await.unwrap().into_inner().hits;
    assert_eq!(hits.len(), 10);
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
