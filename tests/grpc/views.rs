//! Test-time views: of a collection, of one request, and stored one by one.

use super::support::{
    Service, assert_error, by_image, by_item, by_vector, glyph, image_item, payload, vector_item,
};
use serde_json::json;
use tonic::Code;
use twindex::grpc::pb;
use twindex::grpc::pb::calibration_service_client::CalibrationServiceClient;

async fn of(views: u32) -> Service {
    let service = Service::start().await;
    let collection = pb::Collection {
        name: "g".into(),
        views,
        ..Default::default()
    };
    let created = service.create(collection).await.unwrap();
    assert_eq!(created.views, views.max(1));
    service
}

fn seen(probe: Option<pb::Probe>, views: u32) -> Option<pb::Probe> {
    probe.map(|probe| pb::Probe { views, ..probe })
}

async fn similarity(service: &Service, probe: Option<pb::Probe>) -> f32 {
    let request = pb::SearchRequest {
        collection: "g".into(),
        probe,
        k: 1,
        ..Default::default()
    };
    service.find(request).await.unwrap()[0].similarity
}

async fn embed(service: &Service, collection: &str, views: u32) -> Vec<f32> {
    let request = pb::EmbedRequest {
        collection: collection.into(),
        images: vec![glyph(1, 0)],
        views,
    };
    let answer = service.decisions().embed(request).await.unwrap();
    answer.into_inner().vectors.remove(0).values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collections_views_hold_for_enrolment_and_queries_also_after_a_restart() {
    let mut service = of(4).await;
    let image = || glyph(1, 0);
    service
        .put("g", image_item("a", "l", image()))
        .await
        .unwrap();
    for _ in 0..2 {
        assert!(similarity(&service, by_image(image())).await > 0.999_99);
        // Another number of views is another vector, on either side.
        assert!(similarity(&service, seen(by_image(image()), 1)).await < 0.999_9);
        assert!(similarity(&service, seen(by_image(image()), 4)).await > 0.999_99);
        service.restart().await;
    }
    let itself = pb::Item {
        views: 1,
        ..image_item("a", "l", image())
    };
    service.put("g", itself).await.unwrap();
    assert!(similarity(&service, by_image(image())).await < 0.999_9);
    assert!(similarity(&service, seen(by_image(image()), 1)).await > 0.999_99);

    assert_eq!(embed(&service, "g", 0).await, embed(&service, "", 4).await);
    assert_eq!(embed(&service, "g", 1).await, embed(&service, "", 0).await);
    assert_ne!(embed(&service, "g", 0).await, embed(&service, "g", 1).await);
    for views in [0, 1, 9, 32] {
        let squares: f32 = embed(&service, "g", views)
            .await
            .iter()
            .map(|v| v * v)
            .sum();
        assert!((squares - 1.0).abs() < 1e-5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_look_at_views_too() {
    let service = of(0).await;
    for (character, label) in [(0, "a"), (1, "b")] {
        let item = pb::Item {
            views: 9,
            ..image_item(label, label, glyph(character, 0))
        };
        service.put("g", item).await.unwrap();
    }
    let probe = || seen(by_image(glyph(1, 0)), 9);
    let classify = pb::ClassifyRequest {
        collection: "g".into(),
        probe: probe(),
        ..Default::default()
    };
    let found = service.decisions().classify(classify).await.unwrap();
    let best = found.into_inner().labels.remove(0);
    assert_eq!(best.label, "b");
    assert!(best.similarity > 0.999_99, "{best:?}");
    let verify = pb::VerifyRequest {
        collection: "g".into(),
        probe: probe(),
        label: "b".into(),
        min_similarity: Some(0.999_99),
        ..Default::default()
    };
    let verified = service.decisions().verify(verify).await.unwrap();
    assert_eq!(verified.into_inner().decision(), pb::Decision::Same);
    let compare = pb::CompareRequest {
        collection: "g".into(),
        a: probe(),
        b: by_image(glyph(1, 0)),
        ..Default::default()
    };
    let compared = service.decisions().compare(compare).await.unwrap();
    let similarity = compared.into_inner().similarity;
    assert!(0.5 < similarity && similarity < 0.999_9, "{similarity}");
    let batch = pb::ClassifyBatchRequest {
        collection: "g".into(),
        probes: vec![probe().unwrap()],
        ..Default::default()
    };
    let found = service.decisions().classify_batch(batch).await.unwrap();
    let found = found.into_inner().classifications.remove(0);
    assert!(found.labels[0].similarity > 0.999_99, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_one_example_are_items_of_their_own_and_go_together() {
    let service = of(0).await;
    let view = |only_view: u32| pb::Item {
        only_view,
        payload: payload(json!({ "view_of": "a" })),
        ..image_item(&format!("a~{only_view}"), "l", glyph(1, 0))
    };
    for only_view in 1..=3 {
        service.put("g", view(only_view)).await.unwrap();
    }
    let other = image_item("b", "m", glyph(2, 0));
    service.put("g", other).await.unwrap();
    // The first is the image itself, and the only one that keeps it.
    assert!(similarity(&service, by_image(glyph(1, 0))).await > 0.999_99);
    for (id, keeps) in [("a~1", true), ("a~2", false), ("a~3", false)] {
        let request = pb::GetItemRequest {
            collection: "g".into(),
            id: id.into(),
            view: Some(pb::ItemView {
                image: true,
                vector: false,
            }),
        };
        let item = service.items().get_item(request).await.unwrap();
        let item = item.into_inner().item.unwrap();
        assert_eq!((item.content.is_some(), item.only_view), (keeps, 0));
    }
    let mean = similarity(&service, seen(by_image(glyph(1, 0)), 3)).await;
    assert!(0.9 < mean && mean < 0.999_99, "{mean}");
    let delete = pb::BatchDeleteItemsRequest {
        collection: "g".into(),
        filter: Some(pb::Filter {
            condition: Some(pb::filter::Condition::Equals(pb::EqualsFilter {
                field: "view_of".into(),
                value: Some("a".to_owned().into()),
            })),
        }),
        ..Default::default()
    };
    let deleted = service.items().batch_delete_items(delete).await.unwrap();
    assert_eq!(deleted.into_inner().deleted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calibration_of_other_views_does_not_fit() {
    let service = of(4).await;
    service.images("h").await;
    let mut calibrations = CalibrationServiceClient::new(service.channel.clone());
    let request = pb::CalibrateCollectionRequest {
        collection: "g".into(),
        source_collection: "h".into(),
        ..Default::default()
    };
    let status = calibrations.calibrate_collection(request).await;
    let (status, field) = (status.unwrap_err(), "source_collection");
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    assert!(status.message().contains("views"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_range_and_views_of_vectors_are_refused() {
    let service = of(2).await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let refused = |status, field| {
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
        status.message().to_owned()
    };
    for collection in [
        pb::Collection {
            name: "h".into(),
            views: 33,
            ..Default::default()
        },
        pb::Collection {
            name: "h".into(),
            dimension: 2,
            views: 2,
            ..Default::default()
        },
    ] {
        refused(service.create(collection).await.unwrap_err(), "views");
    }
    let item = |views, only_view| pb::Item {
        views,
        only_view,
        ..image_item("a", "l", glyph(0, 0))
    };
    let told = refused(
        service.put("g", item(33, 0)).await.unwrap_err(),
        "item.views",
    );
    assert!(told.contains("33; 1 to 32 are allowed"), "{told}");
    for bad in [item(0, 33), item(4, 2)] {
        refused(service.put("g", bad).await.unwrap_err(), "item.only_view");
    }
    let of_vector = |views, only_view| pb::Item {
        views,
        only_view,
        ..vector_item("x", "l", &[1.0, 0.0])
    };
    refused(
        service.put("v", of_vector(2, 0)).await.unwrap_err(),
        "item.views",
    );
    refused(
        service.put("v", of_vector(0, 2)).await.unwrap_err(),
        "item.only_view",
    );
    service.put("v", of_vector(1, 0)).await.unwrap();

    service.put("g", item(0, 0)).await.unwrap();
    let search = |collection: &str, probe| pb::SearchRequest {
        collection: collection.into(),
        probe,
        ..Default::default()
    };
    for (collection, probe) in [
        ("g", seen(by_image(glyph(0, 0)), 33)),
        ("g", seen(by_item("a"), 2)),
        ("v", seen(by_vector(&[1.0, 0.0]), 2)),
    ] {
        let status = service.find(search(collection, probe)).await.unwrap_err();
        refused(status, "probe.views");
    }
    let one = seen(by_vector(&[1.0, 0.0]), 1);
    assert_eq!(service.find(search("v", one)).await.unwrap().len(), 1);
    let embed = pb::EmbedRequest {
        collection: String::new(),
        images: vec![glyph(0, 0)],
        views: 33,
    };
    refused(service.decisions().embed(embed).await.unwrap_err(), "views");
}
