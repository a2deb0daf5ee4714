use super::support::{Service, assert_error, vector_item};
use tonic::Code;
use twindex::grpc::pb;

fn named(name: &str) -> pb::Collection {
    pb::Collection {
        name: name.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_created_with_its_defaults_and_kept() {
    let mut service = Service::start().await;
    let made = service.create(named("faces")).await.unwrap();
    assert_eq!(
        (made.metric(), made.source()),
        (pb::Metric::Cosine, pb::Source::Image)
    );
    assert_eq!(
        (made.dimension, made.m, made.ef_construction),
        (64, 16, 200)
    );
    assert!(
        made.model_version.starts_with("omniglot"),
        "{}",
        made.model_version
    );
    assert!(made.create_time.is_some() && !made.discard_images);
    assert!((made.recall_target - 0.98).abs() < 1e-6);

    let vectors = pb::Collection {
        dimension: 4096,
        metric: pb::Metric::Dot.into(),
        description: "largest".into(),
        vector_storage: pb::VectorStorage::Disk.into(),
        ..named("vectors")
    };
    let vectors = service.create(vectors).await.unwrap();
    assert_eq!(
        (vectors.source(), vectors.model_version.as_str()),
        (pb::Source::Vector, "")
    );
    assert_eq!(
        (made.vector_storage(), vectors.vector_storage()),
        (pb::VectorStorage::Memory, pb::VectorStorage::Disk)
    );

    service.restart().await;
    let request = pb::GetCollectionRequest {
        name: "faces".into(),
    };
    let got = service
        .collections()
        .get_collection(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got.collection.unwrap(), made);
    let request = pb::GetCollectionRequest {
        name: "nobody".into(),
    };
    let status = service
        .collections()
        .get_collection(request)
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_collections_are_refused_with_the_field() {
    let service = Service::start().await;
    service.create(named("taken")).await.unwrap();
    let status = service.create(named("taken")).await.unwrap_err();
    assert_error(&status, Code::AlreadyExists, "COLLECTION_EXISTS", "");
    let cases = [
        (named("No Capitals"), "collection.name"),
        (named(&"x".repeat(65)), "collection.name"),
        (named(""), "collection.name"),
        (
            pb::Collection {
                dimension: 65_536,
                ..named("a")
            },
            "dimension",
        ),
        (
            pb::Collection {
                source: pb::Source::Vector.into(),
                ..named("a")
            },
            "dimension",
        ),
        (
            pb::Collection {
                dimension: 3,
                source: pb::Source::Image.into(),
                ..named("a")
            },
            "collection.dimension",
        ),
        (
            pb::Collection {
                dimension: 3,
                m: 1,
                ..named("a")
            },
            "m",
        ),
        (
            pb::Collection {
                dimension: 3,
                m: 129,
                ..named("a")
            },
            "m",
        ),
        (
            pb::Collection {
                recall_target: 1.5,
                ..named("a")
            },
            "recall_target",
        ),
        (
            pb::Collection {
                ef_construction: 5,
                ..named("a")
            },
            "ef_construction",
        ),
        (
            pb::Collection {
                vector_storage: 9,
                ..named("a")
            },
            "collection.vector_storage",
        ),
        (
            pb::Collection {
                metric: 9,
                ..named("a")
            },
            "collection.metric",
        ),
        (
            pb::Collection {
                source: 9,
                ..named("a")
            },
            "collection.source",
        ),
        (
            pb::Collection {
                description: "x".repeat(1_025),
                ..named("a")
            },
            "description",
        ),
        (
            pb::Collection {
                dimension: 3,
                model_version: "m".into(),
                ..named("a")
            },
            "collection.model_version",
        ),
    ];
    for (collection, field) in cases {
        let status = service.create(collection).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let unknown = pb::Collection {
        model_version: "other-1".into(),
        ..named("a")
    };
    let status = service.create(unknown).await.unwrap_err();
    assert_error(&status, Code::NotFound, "MODEL_NOT_FOUND", "");
    let none = pb::CreateCollectionRequest::default();
    let status = service
        .collections()
        .create_collection(none)
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "collection",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_listed_by_pages_and_deleted_for_good() {
    let mut service = Service::start().await;
    for name in ["c", "a", "b"] {
        service.vectors(name, 2, pb::Metric::Cosine).await;
    }
    service
        .put("b", vector_item("x", "l", &[1.0, 0.0]))
        .await
        .unwrap();
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListCollectionsRequest {
            page_size: 2,
            page_token,
        };
        let page = service
            .collections()
            .list_collections(request)
            .await
            .unwrap()
            .into_inner();
        names.extend(page.collections.into_iter().map(|c| c.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
    for (page_size, page_token, field) in [
        (-1, "", "page_size"),
        (1_001, "", "page_size"),
        (1, "forged", "page_token"),
    ] {
        let request = pb::ListCollectionsRequest {
            page_size,
            page_token: page_token.into(),
        };
        let status = service
            .collections()
            .list_collections(request)
            .await
            .unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }

    let gone = pb::DeleteCollectionRequest {
        name: "b".into(),
        request_id: "once".into(),
    };
    service
        .collections()
        .delete_collection(gone.clone())
        .await
        .unwrap();
    // A retry is answered alike; another request is not.
    service.collections().delete_collection(gone).await.unwrap();
    let again = pb::DeleteCollectionRequest {
        name: "b".into(),
        request_id: String::new(),
    };
    let status = service
        .collections()
        .delete_collection(again)
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");
    let status = service
        .put("b", vector_item("y", "", &[1.0, 0.0]))
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");

    service.restart().await;
    // The name is free, and nothing is left of what was under it.
    service.vectors("b", 2, pb::Metric::Cosine).await;
    let status = service.get("b", "x").await.unwrap_err();
    assert_error(&status, Code::NotFound, "ITEM_NOT_FOUND", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_what_there_is() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    for (id, label) in [("1", "a"), ("2", "a"), ("3", "b")] {
        service
            .put("v", vector_item(id, label, &[1.0, 0.0]))
            .await
            .unwrap();
    }
    service.delete("v", "3").await.unwrap();
    let request = pb::GetCollectionStatsRequest { name: "v".into() };
    let stats = service
        .collections()
        .get_collection_stats(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((stats.items, stats.labels, stats.segments), (2, 1, 0));
    assert_eq!(stats.tail_rows, stats.items + stats.dead_rows);
    assert!(stats.disk_bytes > 0 && stats.index_bytes > 0);
    let request = pb::GetCollectionStatsRequest { name: "w".into() };
    let status = service
        .collections()
        .get_collection_stats(request)
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");
}
