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

/// A library that lets `fdatasync` fail once the file named in `BROKEN` is there.
#[cfg(target_os = "linux")]
fn fuse(dir: &Path) -> std::path::PathBuf {
    let (source, library) = (dir.join("fuse.c"), dir.join("fuse.so"));
    let text = "
        #include <errno.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int fdatasync(int fd) {
            if (access(getenv(\"BROKEN\"), F_OK)) return syscall(SYS_fdatasync, fd);
            errno = EIO;
            return -1;
        }";
    std::fs::write(&source, text).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-D_GNU_SOURCE", "-shared", "-fPIC", "-o"]);
    assert!(cc.args([&library, &source]).status().unwrap().success());
    library
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_reads_go_on_and_the_end_is_no_success() {
    use pb::collection_service_client::CollectionServiceClient;
    use pb::item_service_client::ItemServiceClient;
    use pb::search_service_client::SearchServiceClient;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_types::StatusExt;
    use twindex::grpc::pb;

    let dir = tempfile::tempdir().unwrap();
    let (log, broken) = (dir.path().join("log"), dir.path().join("broken"));
    let mut command = serve(&dir.path().join("data"));
    command
        .env("LD_PRELOAD", fuse(dir.path()))
        .env("BROKEN", &broken)
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let serving = Serving::run(command);
    let channel = tonic::transport::Channel::from_shared(serving.url()).unwrap();
    let channel = channel.connect().await.unwrap();
    let collection = pb::Collection {
        name: "v".into(),
        dimension: 1,
        ..Default::default()
    };
    let create = pb::CreateCollectionRequest {
        collection: Some(collection),
        request_id: String::new(),
    };
    let mut collections = CollectionServiceClient::new(channel.clone());
    collections.create_collection(create).await.unwrap();
    let put = async |id: &str| {
        let vector = pb::Vector {
            values: vec![1.0],
            ..Default::default()
        };
        let request = pb::UpsertItemRequest {
            collection: "v".into(),
            item: Some(pb::Item {
                id: id.into(),
                content: Some(pb::item::Content::Vector(vector)),
                ..Default::default()
            }),
            request_id: String::new(),
        };
        let mut items = ItemServiceClient::new(channel.clone());
        items.upsert_item(request).await
    };
    put("before").await.unwrap();
    std::fs::write(&broken, b"").unwrap();
    for id in ["at", "after"] {
        let status = put(id).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "READ_ONLY");
    }

    let get = |id: &str| pb::GetItemRequest {
        collection: "v".into(),
        id: id.into(),
        view: None,
    };
    let mut items = ItemServiceClient::new(channel.clone());
    items.get_item(get("before")).await.unwrap();
    // What was refused is nowhere to be seen.
    let status = items.get_item(get("at")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}");
    let list = pb::ListItemsRequest {
        collection: "v".into(),
        ..Default::default()
    };
    let listed = items.list_items(list).await.unwrap().into_inner().items;
    assert_eq!(listed.len(), 1);
    let search = |id: &str| pb::SearchRequest {
        collection: "v".into(),
        probe: Some(pb::Probe {
            content: Some(pb::probe::Content::ItemId(id.into())),
            ..Default::default()
        }),
        with_payload: true,
        ..Default::default()
    };
    let mut searches = SearchServiceClient::new(channel.clone());
    searches.search(search("before")).await.unwrap();
    let status = searches.search(search("at")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}");
    let mut health = HealthClient::new(channel);
    let request = HealthCheckRequest {
        service: "twindex.v1.ItemService".into(),
    };
    let watched = health.watch(request).await.unwrap().into_inner();
    let told = tokio_stream::StreamExt::filter(watched, |told| {
        told.as_ref().unwrap().status() == ServingStatus::NotServing
    });
    let mut told = std::pin::pin!(told);
    let told = tokio_stream::StreamExt::next(&mut told);
    let told = tokio::time::timeout(std::time::Duration::from_secs(20), told).await;
    assert!(told.unwrap().is_some());

    assert_eq!(serving.stop(), Some(1));
    let told = std::fs::read_to_string(log).unwrap();
    assert!(told.contains("writes were refused since"), "{told}");
    assert!(told.contains("Input/output error"), "{told}");
}
