//! Batches that answer each item.

use super::support::{Service, assert_error, status_of, vector_item};
use tonic::Code;
use twindex::grpc::pb;

fn batch(ids: &[&str], request_id: &str) -> pb::BatchUpsertItemsRequest {
    let item = |id: &&str| vector_item(id, "l", &[1.0, 2.0]);
    pb::BatchUpsertItemsRequest {
        collection: "v".into(),
        items: ids.iter().map(item).collect(),
        per_item: true,
        request_id: request_id.into(),
    }
}

async fn store(service: &Service, batch: pb::BatchUpsertItemsRequest) -> Vec<pb::ItemResult> {
    let answer = service.items().batch_upsert_items(batch).await.unwrap();
    answer.into_inner().results
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_is_remembered_whatever_the_length_of_the_request_id() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let long = "r".repeat(128);
    let first = store(&service, batch(&["", ""], &long)).await;
    assert!(first.iter().all(|r| r.created), "{first:?}");
    assert_ne!(first[0].id, first[1].id);
    assert_eq!(store(&service, batch(&["", ""], &long)).await, first);
    // Another request, whatever its id looks like.
    let other = store(&service, batch(&["", ""], &format!("{}/0", &long[2..]))).await;
    assert!(other.iter().all(|r| r.created), "{other:?}");

    let longer = batch(&["a"], &"r".repeat(129));
    let status = service
        .items()
        .batch_upsert_items(longer)
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "request_id",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_item_of_the_same_id_is_refused_and_the_first_is_stored() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let mut batch = batch(&["a", "b", "a", "", "", "x\ty"], "");
    batch.items[2].label = "second".into();
    batch.items[1].content = None;
    let results = store(&service, batch).await;
    let codes: Vec<i32> = results
        .iter()
        .map(|r| r.status.as_ref().unwrap().code)
        .collect();
    assert_eq!(codes, [0, 3, 3, 0, 0, 3]);
    let ids: Vec<&str> = results.iter().map(|r| r.id.as_str()).collect();
    assert_eq!((&ids[..3], ids[5]), (&["a", "b", "a"][..], ""));
    let status = status_of(results[2].status.clone());
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "items[2].id",
    );
    assert!(status.message().contains("a second time"), "{status:?}");
    assert_eq!(service.get("v", "a").await.unwrap().label, "l");
}
