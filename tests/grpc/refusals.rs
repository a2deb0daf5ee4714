//! Errors that take a server which is small, busy, stopping, or of another model.

use super::support::{
    Service, Setup, assert_error, by_image, by_item, by_vector, glyph, image_item, status_of,
    vector_item,
};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use twindex::encoder::{Encoder, PoolOptions, Weights};
use twindex::engine::{Limits, Options};
use twindex::grpc::{ServerOptions, pb};

fn limited(limits: Limits) -> Setup {
    Setup {
        engine: Options {
            limits,
            ..Options::default()
        },
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_to_a_full_queue_is_told_when_to_come_back() {
    let pool = PoolOptions {
        threads: 1,
        queue: 1,
        max_batch: 1,
    };
    let engine = Options {
        pool,
        ..Options::default()
    };
    let service = Service::of(Setup {
        engine,
        ..Setup::default()
    })
    .await;
    service.images("glyphs").await;
    // Each of these keeps the one thread for a while.
    let mut png = std::io::Cursor::new(Vec::new());
    let large = image::DynamicImage::new_luma8(2_000, 2_000);
    large.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let large = bytes::Bytes::from(png.into_inner());
    let puts = (0..32).map(|n| {
        let item = image_item(&n.to_string(), "", large.clone());
        service.put("glyphs", item)
    });
    let (stored, refused): (Vec<_>, Vec<_>) =
        join_all(puts).await.into_iter().partition(Result::is_ok);
    assert!(!stored.is_empty() && !refused.is_empty());
    for refused in refused {
        let status = refused.unwrap_err();
        assert_error(&status, Code::ResourceExhausted, "OVERLOADED", "");
    }
    // A moment later there is room again.
    let late = image_item("late", "", glyph(0, 0));
    service.put("glyphs", late).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_outlives_the_server_is_told_so() {
    let mut service = Service::of(Setup {
        server: ServerOptions {
            drain: Duration::ZERO,
            ..ServerOptions::default()
        },
        ..Setup::default()
    })
    .await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let message = |id: &str| pb::StreamUpsertItemsRequest {
        collection: "v".into(),
        item: Some(vector_item(id, "", &[1.0])),
        tag: 0,
    };
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    let messages = ReceiverStream::new(messages);
    sender.send(message("before")).await.unwrap();
    let answers = service.items().stream_upsert_items(messages).await;
    let mut answers = answers.unwrap().into_inner();
    let before = answers.next().await.unwrap().unwrap();
    assert_eq!(before.status.unwrap().code, 0);
    service.stop().await;
    sender.send(message("after")).await.unwrap();
    let after = answers.next().await.unwrap().unwrap();
    let status = status_of(after.status);
    assert_error(&status, Code::Unavailable, "SHUTTING_DOWN", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_another_model_says_which_it_needs() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/omniglot.safetensors");
    let (mut weights, card) = Weights::parse(&std::fs::read(file).unwrap()).unwrap();
    weights.bias[0] += 1.0;
    let again = card.clone();
    // Made in memory, it has no file that the directory could keep.
    let encoder = Arc::new(Encoder::new(&weights, card).unwrap());
    let pinned = encoder.version().to_owned();
    let mut service = Service::of(Setup {
        encoder,
        ..Setup::default()
    })
    .await;
    service.images("glyphs").await;
    let item = image_item("a", "l", glyph(0, 0));
    service.put("glyphs", item.clone()).await.unwrap();

    service.setup.encoder = Encoder::bundled().unwrap();
    let loaded = service.setup.encoder.version().to_owned();
    assert_ne!(pinned, loaded);
    service.restart().await;

    let search = |probe| pb::SearchRequest {
        collection: "glyphs".into(),
        probe,
        ..Default::default()
    };
    let embed = pb::EmbedRequest {
        collection: "glyphs".into(),
        images: vec![glyph(0, 0)],
        views: 0,
    };
    let refused = [
        service.put("glyphs", item).await.unwrap_err(),
        service
            .find(search(by_image(glyph(0, 0))))
            .await
            .unwrap_err(),
        service.decisions().embed(embed).await.unwrap_err(),
    ];
    for status in refused {
        assert_error(&status, Code::FailedPrecondition, "MODEL_UNUSABLE", "");
        let told = status.message();
        assert!(
            told.contains(&pinned) && told.contains("twindex model import"),
            "{told}"
        );
    }
    // The file makes it whole again.
    let again = weights.to_file(&again).unwrap();
    assert_eq!(service.import("", &again).await.unwrap().version, pinned);
    let found = service.find(search(by_image(glyph(0, 0)))).await.unwrap();
    assert_eq!(found[0].id, "a");
    // What is stored needs no model, and images that go nowhere no collection.
    assert_eq!(service.find(search(by_item("a"))).await.unwrap(), []);
    assert_eq!(
        service.get("glyphs", "a").await.unwrap().model_version,
        pinned
    );
    let embed = pb::EmbedRequest {
        collection: String::new(),
        images: vec![glyph(0, 0)],
        views: 0,
    };
    let embedded = service.decisions().embed(embed).await.unwrap();
    assert_eq!(embedded.into_inner().model_version, loaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_collections() {
    let service = Service::of(limited(Limits {
        max_collections: 2,
        ..Limits::default()
    }))
    .await;
    let collection = |name: &str| pb::Collection {
        name: name.into(),
        dimension: 1,
        ..Default::default()
    };
    service.create(collection("a")).await.unwrap();
    service.create(collection("b")).await.unwrap();
    let status = service.create(collection("c")).await.unwrap_err();
    assert_error(&status, Code::FailedPrecondition, "LIMIT_REACHED", "");
    let status = service.create(collection("b")).await.unwrap_err();
    assert_error(&status, Code::AlreadyExists, "COLLECTION_EXISTS", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_larger_than_a_message_is_refused() {
    let service = Service::of(limited(Limits {
        max_answer_bytes: 4_000,
        ..Limits::default()
    }))
    .await;
    service.vectors("v", 256, pb::Metric::Euclidean).await;
    for n in 0..5_u8 {
        let item = vector_item(&n.to_string(), "", &[f32::from(n); 256]);
        service.put("v", item).await.unwrap();
    }
    let search = |k| pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[0.0; 256]),
        k,
        with_vector: true,
        ..Default::default()
    };
    assert_eq!(service.find(search(3)).await.unwrap().len(), 3);
    let get = pb::BatchGetItemsRequest {
        collection: "v".into(),
        ids: (0..5).map(|n| n.to_string()).collect(),
        view: Some(pb::ItemView {
            vector: true,
            image: false,
        }),
    };
    for status in [
        service.find(search(5)).await.unwrap_err(),
        service.items().batch_get_items(get).await.unwrap_err(),
    ] {
        assert_error(
            &status,
            Code::InvalidArgument,
            "ANSWER_TOO_LARGE",
            "request",
        );
    }
}
