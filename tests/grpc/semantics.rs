//! What must hold across requests: retries, pages, sizes, and work that is overtaken.
use super::support::{Service, assert_error, by_vector, payload, vector_item};
use serde_json::json;
use tonic::Code;
use twindex::grpc::pb;

async fn fill(service: &Service, collection: &str, items: impl Iterator<Item = pb::Item>) {
    let items: Vec<_> = items.collect();
    for part in items.chunks(5_000) {
        let request = pb::BatchUpsertItemsRequest {
            collection: collection.into(),
            items: part.to_vec(),
            ..Default::default()
        };
        service.items().batch_upsert_items(request).await.unwrap();
    }
}

async fn drop_collection(service: &Service, name: &str) {
    let request = pb::DeleteCollectionRequest {
        name: name.into(),
        request_id: String::new(),
    };
    service
        .collections()
        .delete_collection(request)
        .await
        .unwrap();
}

fn label(any_of: &[&str]) -> pb::Filter {
    pb::Filter {
        condition: Some(pb::filter::Condition::Label(pb::LabelFilter {
            any_of: any_of.iter().map(|l| (*l).to_owned()).collect(),
        })),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_belongs_to_its_collection_and_not_to_the_name() {
    let service = Service::start().await;
    let upsert = || pb::UpsertItemRequest {
        collection: "v".into(),
        item: Some(vector_item("a", "x", &[1.0, 0.0])),
        request_id: "once".into(),
    };
    for _ in 0..2 {
        service.vectors("v", 2, pb::Metric::Euclidean).await;
        for _ in 0..2 {
            let answer = service.items().upsert_item(upsert()).await.unwrap();
            assert!(answer.into_inner().created, "applied once, answered alike");
        }
        assert!(service.get("v", "a").await.is_ok(), "it is there");
        drop_collection(&service, "v").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_by_filter_is_answered_alike_however_many_commits_it_took() {
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let item = |n: usize| vector_item(&format!("{n:05}"), "x", &[n as f32]);
    let delete = |request_id: &str| pb::BatchDeleteItemsRequest {
        collection: "v".into(),
        filter: Some(label(&["x"])),
        ids: vec![],
        request_id: request_id.into(),
    };
    let deleted = async |request_id| {
        let answer = service.items().batch_delete_items(delete(request_id)).await;
        answer.unwrap().into_inner().deleted
    };
    assert_eq!(deleted("none").await, 0);
    fill(&service, "v", (0..12_000).map(item)).await;
    assert_eq!(deleted("none").await, 0, "a retry deletes nothing new");
    assert_eq!(deleted("all").await, 12_000);
    assert_eq!(deleted("all").await, 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_where_the_items_do_and_hold_what_fits() {
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    // As a message five times its JSON.
    let numbers = payload(json!({ "l": vec![1; 30_000] }));
    let item = |n: usize| pb::Item {
        payload: numbers.clone(),
        ..vector_item(&format!("{n:02}"), "", &[n as f32])
    };
    for n in 0..60 {
        service.put("v", item(n)).await.unwrap();
    }
    let list = |page_size, page_token| pb::ListItemsRequest {
        collection: "v".into(),
        page_size,
        page_token,
        ..Default::default()
    };
    let (mut token, mut ids, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        // A client's default limit is 4 MiB: ours promises no more than 16.
        let answer = service.items().list_items(list(20, token)).await.unwrap();
        let page = answer.into_inner();
        assert!(!page.items.is_empty(), "no empty page");
        ids.extend(page.items.into_iter().map(|i| i.id));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 60);
    assert!(ids.windows(2).all(|w| w[0] < w[1]));
    assert!(pages >= 3, "{pages}");
    let search = pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[0.0]),
        k: 60,
        with_payload: true,
        ..Default::default()
    };
    let status = service.find(search).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "ANSWER_TOO_LARGE",
        "request",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn few_labels_among_many_items_are_all_named() {
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    // The far label is behind everything that is near.
    let item = |n: usize| {
        let label = if n < 3_000 { "near" } else { "far" };
        vector_item(&format!("{n}"), label, &[n as f32])
    };
    fill(&service, "v", (0..3_003).map(item)).await;
    for (method, far) in [
        (pb::ClassifyMethod::Nearest, "3000"),
        (pb::ClassifyMethod::Prototype, "3000"),
    ] {
        let request = pb::ClassifyRequest {
            collection: "v".into(),
            probe: by_vector(&[-1.0]),
            method: method.into(),
            max_labels: 5,
            ..Default::default()
        };
        let answer = service.decisions().classify(request).await.unwrap();
        let labels = answer.into_inner().labels;
        let named: Vec<_> = labels
            .iter()
            .map(|l| (l.label.as_str(), l.example_id.as_str()))
            .collect();
        assert_eq!(named, [("near", "0"), ("far", far)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_limited_as_a_whole() {
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    service
        .put("v", vector_item("a", "x", &[1.0]))
        .await
        .unwrap();
    let or = |filters| pb::Filter {
        condition: Some(pb::filter::Condition::Or(pb::FilterList { filters })),
    };
    let search = |filter| pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[0.0]),
        filter: Some(filter),
        ..Default::default()
    };
    let some = or(vec![label(&["y"]), label(&["x", "z"])]);
    assert_eq!(service.find(search(some)).await.unwrap().len(), 1);
    // Twenty lists of sixty are within each limit but not within that of all.
    let many = or(vec![or(vec![label(&["x"]); 60]); 20]);
    let status = service.find(search(many)).await.unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "filter");
    assert!(status.message().contains("1000"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_deleted_while_it_is_sealed_holds_nothing_up() {
    let service = Service::start().await;
    let collection = |name: &str| pb::Collection {
        name: name.into(),
        dimension: 2,
        metric: pb::Metric::Euclidean.into(),
        m: 2,
        ef_construction: 8,
        ..Default::default()
    };
    let item = |n: usize| vector_item(&format!("{n}"), "", &[n as f32, (n * 7 % 101) as f32]);
    service.create(collection("gone")).await.unwrap();
    service.create(collection("stays")).await.unwrap();
    fill(&service, "gone", (0..10_000).map(item)).await;
    drop_collection(&service, "gone").await;
    fill(&service, "stays", (0..10_000).map(item)).await;
    for _ in 0..1_200 {
        let request = pb::GetCollectionStatsRequest {
            name: "stays".into(),
        };
        let stats = service.collections().get_collection_stats(request).await;
        if stats.unwrap().into_inner().segments == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never sealed");
}
