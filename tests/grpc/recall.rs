use super::support::{
    Service, assert_error, by_image, by_item, by_vector, glyph, image_item, sealed, vector_item,
};
use std::time::Duration;
use tonic::{Code, Status};
use twindex::grpc::pb;
use twindex::training::random::Random;

async fn measure(
    service: &Service,
    request: pb::MeasureRecallRequest,
) -> Result<pb::MeasureRecallResponse, Status> {
    Ok(service.search().measure_recall(request).await?.into_inner())
}

fn of(collection: &str) -> pb::MeasureRecallRequest {
    pb::MeasureRecallRequest {
        collection: collection.into(),
        ..Default::default()
    }
}

async fn fill(service: &Service, items: impl Iterator<Item = pb::Item>) {
    let request = pb::BatchUpsertItemsRequest {
        collection: "v".into(),
        items: items.collect(),
        ..Default::default()
    };
    service.items().batch_upsert_items(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_recent_queries_and_then_stored_items() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    // Nothing to find: nothing was asked, and nothing is known.
    for items in 0..2 {
        let empty = measure(&service, of("v")).await.unwrap();
        assert_eq!((empty.recent_queries, empty.stored_items), (0, 0));
        assert_eq!(empty.items, items);
        let told = (empty.recall, empty.recall_low, empty.recall_high);
        assert_eq!(told, (1.0, 0.0, 1.0));
        let first = vector_item("0", "", &[0.0, 1.0]);
        fill(&service, std::iter::once(first)).await;
    }
    fill(
        &service,
        (0..50).map(|n| vector_item(&n.to_string(), "", &[n as f32, 1.0])),
    )
    .await;
    let measured = measure(&service, of("v")).await.unwrap();
    assert_eq!((measured.recent_queries, measured.stored_items), (0, 50));
    assert_eq!((measured.k, measured.items), (10, 50));
    assert_eq!(measured.recall_target, Some(0.98));
    // All of them are compared, and yet fifty questions do not tell all.
    assert_eq!((measured.recall, measured.recall_high), (1.0, 1.0));
    assert!((0.9..0.95).contains(&measured.recall_low), "{measured:?}");
    assert!(measured.search_micros > 0.0 && measured.exact_micros > 0.0);

    let search = |probe| pb::SearchRequest {
        collection: "v".into(),
        probe,
        ..Default::default()
    };
    service.find(search(by_vector(&[0.5, 1.0]))).await.unwrap();
    service.find(search(by_vector(&[7.5, 9.0]))).await.unwrap();
    // What is stored is no stranger.
    service.find(search(by_item("7"))).await.unwrap();
    let request = pb::MeasureRecallRequest {
        questions: 9,
        k: 1_000,
        recall_target: Some(0.5),
        ..of("v")
    };
    let measured = measure(&service, request).await.unwrap();
    assert_eq!((measured.recent_queries, measured.stored_items), (2, 7));
    assert_eq!((measured.recall, measured.k), (1.0, 1_000));
    assert_eq!(measured.recall_target, Some(0.5));
    let request = pb::MeasureRecallRequest {
        questions: 1,
        ef: 16,
        ..of("v")
    };
    let measured = measure(&service, request).await.unwrap();
    assert_eq!((measured.recent_queries, measured.stored_items), (1, 0));
    assert_eq!(measured.recall_target, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_were_asked_about_are_questions() {
    let service = Service::start().await;
    service.images("v").await;
    for n in 0..3 {
        let item = image_item(&n.to_string(), "a", glyph(n, 0));
        service.put("v", item).await.unwrap();
    }
    let search = pb::SearchRequest {
        collection: "v".into(),
        probe: by_image(glyph(1, 1)),
        ..Default::default()
    };
    service.find(search).await.unwrap();
    let classify = pb::ClassifyRequest {
        collection: "v".into(),
        probe: by_image(glyph(2, 1)),
        ..Default::default()
    };
    service.decisions().classify(classify).await.unwrap();
    let measured = measure(&service, of("v")).await.unwrap();
    assert_eq!((measured.recent_queries, measured.stored_items), (2, 3));
    assert!(!measured.model_version.is_empty());
}

/// What is told is what whoever asked the same questions finds.
#[tokio::test(flavor = "multi_thread")]
async fn the_recall_of_a_sealed_collection_is_what_its_users_see() {
    let service = Service::start().await;
    let collection = pb::Collection {
        name: "v".into(),
        dimension: 24,
        metric: pb::Metric::Euclidean.into(),
        m: 4,
        ef_construction: 16,
        ..Default::default()
    };
    service.create(collection).await.unwrap();
    let mut random = Random::new(1, 1);
    let mut vector = || (0..24).map(|_| random.normal()).collect::<Vec<f32>>();
    let items: Vec<_> = (0..10_000)
        .map(|n| vector_item(&n.to_string(), "", &vector()))
        .collect();
    for part in items.chunks(2_000) {
        fill(&service, part.iter().cloned()).await;
    }
    sealed(&service).await;
    let mut right = 0;
    for _ in 0..60 {
        let probe = by_vector(&vector());
        let search = |exact| pb::SearchRequest {
            collection: "v".into(),
            probe: probe.clone(),
            exact,
            ef: if exact { 0 } else { 10 },
            ..Default::default()
        };
        let truth = service.find(search(true)).await.unwrap();
        let found = service.find(search(false)).await.unwrap();
        right += found.iter().filter(|hit| truth.contains(hit)).count();
    }
    let request = pb::MeasureRecallRequest {
        questions: 120,
        ef: 10,
        ..of("v")
    };
    let measured = measure(&service, request.clone()).await.unwrap();
    assert_eq!((measured.recent_queries, measured.stored_items), (120, 0));
    let seen = right as f64 / 600.0;
    assert!(seen < 0.999 && (measured.recall - seen).abs() < 1e-9);
    assert!(measured.recall_low < seen && seen < measured.recall_high);
    assert!(measured.recall_high - measured.recall_low < 0.2);
    // More is found by keeping more, and all by comparing with all.
    let more = pb::MeasureRecallRequest { ef: 400, ..request };
    assert!(measure(&service, more).await.unwrap().recall > measured.recall);
    let all = pb::MeasureRecallRequest {
        recall_target: Some(1.0),
        ..of("v")
    };
    let all = measure(&service, all).await.unwrap();
    assert_eq!((all.recall, all.stored_items), (1.0, 80));
}

/// Rows are in clusters, what is asked for is anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_learnt_by_where_searches_find_too_little() {
    let service = Service::start().await;
    service.vectors("v", 48, pb::Metric::Euclidean).await;
    let mut random = Random::new(2, 2);
    let mut around = |centre: &[f32], by: f32| -> Vec<f32> {
        let value = |c: &f32| c + by * random.normal();
        centre.iter().map(value).collect()
    };
    let centres: Vec<_> = (0..200).map(|_| around(&[0.0; 48], 1.0)).collect();
    let items: Vec<_> = (0..10_000)
        .map(|n| vector_item(&n.to_string(), "", &around(&centres[n % 200], 0.3)))
        .collect();
    for part in items.chunks(2_000) {
        fill(&service, part.iter().cloned()).await;
    }
    sealed(&service).await;
    let search = |probe: &[f32]| pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(probe),
        ..Default::default()
    };
    let mut strangers = (0..300).map(|_| around(&[0.0; 48], 2.0));
    // Too few to tell.
    for probe in strangers.by_ref().take(99) {
        service.find(search(&probe)).await.unwrap();
    }
    let request = pb::MeasureRecallRequest {
        questions: 99,
        ..of("v")
    };
    let before = measure(&service, request).await.unwrap();
    assert_eq!((before.recent_queries, before.stored_items), (99, 0));
    assert!(before.recall_high < 0.96, "{before:?}");
    for probe in strangers {
        service.find(search(&probe)).await.unwrap();
    }
    // Whatever is written, there is a look at what else may be done.
    fill(&service, std::iter::once(items[0].clone())).await;
    let mut now = before;
    for _ in 0..600 {
        now = measure(&service, of("v")).await.unwrap();
        if now.recall >= 0.98 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(now.recall >= 0.98, "{now:?}");
    assert_eq!((now.recent_queries, now.stored_items), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_measurements_name_the_field() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    let cases = [
        (
            pb::MeasureRecallRequest {
                questions: 2_001,
                ..of("v")
            },
            "questions",
        ),
        (
            pb::MeasureRecallRequest {
                k: 1_001,
                ..of("v")
            },
            "k",
        ),
        (
            pb::MeasureRecallRequest {
                ef: 10_001,
                ..of("v")
            },
            "ef",
        ),
        (
            pb::MeasureRecallRequest {
                recall_target: Some(0.4),
                ..of("v")
            },
            "recall_target",
        ),
        (
            pb::MeasureRecallRequest {
                recall_target: Some(0.9),
                ef: 20,
                ..of("v")
            },
            "recall_target",
        ),
        (of("V"), "collection"),
    ];
    for (request, field) in cases {
        let status = measure(&service, request).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let status = measure(&service, of("w")).await.unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");
}
