//! Payload indexes change how filters are answered, never what is answered.

use super::support::{Service, assert_error, by_vector, payload, vector_item};
use pb::filter::Condition;
use serde_json::json;
use tonic::Code;
use twindex::grpc::pb;

async fn upsert(service: &Service, numbers: std::ops::Range<u32>, site: &str) {
    let numbers: Vec<u32> = numbers.collect();
    for numbers in numbers.chunks(100) {
        let items = numbers.iter().map(|n| pb::Item {
            payload: payload(json!({
                "camera": {"site": if n % 7 == 0 { "gate" } else { site }},
                "n": n,
                "serial": format!("{}-{n:03}", n % 4),
                // The hour goes on as the clock does, or is that of another one.
                "taken": match n % 5 {
                    0 => "yesterday".into(),
                    1 => format!("2026-11-27T{:02}:00:00Z", n % 24),
                    2 => format!("2026-11-27T{:02}:00:00.0+02:00", n % 24),
                    _ => format!("2026-11-27T{:02}:{:02}:00-05:30", n % 24, n % 60),
                },
                "tags": [n % 3, n % 5],
            })),
            ..vector_item(&format!("{n}"), "", &[(n % 100) as f32, (n / 100) as f32])
        });
        let batch = pb::BatchUpsertItemsRequest {
            collection: "v".into(),
            items: items.collect(),
            ..Default::default()
        };
        service.items().batch_upsert_items(batch).await.unwrap();
    }
}

fn equals(field: &str, value: prost_types::value::Kind) -> pb::Filter {
    pb::Filter {
        condition: Some(Condition::Equals(pb::EqualsFilter {
            field: field.into(),
            value: Some(prost_types::Value { kind: Some(value) }),
        })),
    }
}

fn filters() -> Vec<pb::Filter> {
    use prost_types::value::Kind::{NumberValue, StringValue};
    let gate = || equals("camera.site", StringValue("gate".into()));
    let range = pb::Filter {
        condition: Some(Condition::Range(pb::RangeFilter {
            field: "n".into(),
            gte: Some(40.0),
            lt: Some(250.0),
            ..Default::default()
        })),
    };
    let both = pb::FilterList {
        filters: vec![gate(), range.clone(), equals("tags", NumberValue(2.0))],
    };
    let starts_with = Condition::StartsWith(pb::StartsWithFilter {
        field: "serial".into(),
        prefix: "2-1".into(),
    });
    let noon = prost_types::Timestamp {
        seconds: 1_795_780_800,
        nanos: 0,
    };
    let time_range = Condition::TimeRange(pb::TimeRangeFilter {
        field: "taken".into(),
        gte: Some(noon),
        lt: Some(prost_types::Timestamp {
            seconds: noon.seconds + 3_600,
            nanos: 0,
        }),
        ..Default::default()
    });
    let not = Condition::Not(Box::new(gate()));
    let condition = |condition| pb::Filter {
        condition: Some(condition),
    };
    vec![
        gate(),
        range,
        equals("tags", NumberValue(4.0)),
        condition(Condition::And(both)),
        condition(not),
        condition(starts_with),
        condition(time_range),
    ]
}

async fn answers(service: &Service) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for filter in filters() {
        for probe in [[20.2, 1.1], [77.7, 0.4]] {
            let request = pb::SearchRequest {
                collection: "v".into(),
                probe: by_vector(&probe),
                k: 20,
                filter: Some(filter.clone()),
                ..Default::default()
            };
            let hits = service.find(request).await.unwrap();
            all.push(hits.into_iter().map(|hit| hit.id).collect());
        }
    }
    all
}

const INDEXED: [&str; 5] = ["camera.site", "n", "tags", "serial", "taken"];

async fn index(service: &Service, field: &str) -> Result<pb::PayloadIndex, tonic::Status> {
    let request = pb::CreatePayloadIndexRequest {
        collection: "v".into(),
        field: field.into(),
        ..Default::default()
    };
    let made = service.collections().create_payload_index(request).await?;
    Ok(made.into_inner().payload_index.unwrap())
}

/// The fields that are indexed, once all are ready.
async fn ready(service: &Service) -> Vec<String> {
    loop {
        let request = pb::GetCollectionRequest { name: "v".into() };
        let found = service.collections().get_collection(request).await;
        let indexes = found
            .unwrap()
            .into_inner()
            .collection
            .unwrap()
            .payload_indexes;
        if indexes.iter().all(|index| index.ready) {
            return indexes.into_iter().map(|index| index.field).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stay_what_they_were_before_beside_and_after_an_index() {
    let mut service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    upsert(&service, 0..600, "hall").await;
    let before = answers(&service).await;
    assert!(before.iter().all(|ids| ids.len() > 3), "{before:?}");

    // One field covers what is there in the background; the next is asked for beside it.
    index(&service, "camera.site").await.unwrap();
    for field in ["n", "tags", "serial", "taken", "n"] {
        index(&service, field).await.unwrap();
    }
    assert_eq!(answers(&service).await, before);
    assert_eq!(ready(&service).await, INDEXED);
    assert_eq!(answers(&service).await, before);

    // What changes is covered at once, and a restart forgets nothing.
    upsert(&service, 300..700, "roof").await;
    let after = answers(&service).await;
    service.restart().await;
    assert_eq!(ready(&service).await, INDEXED);
    assert_eq!(answers(&service).await, after);

    for field in INDEXED {
        let request = pb::DeletePayloadIndexRequest {
            collection: "v".into(),
            field: field.into(),
            ..Default::default()
        };
        let deleted = service
            .collections()
            .delete_payload_index(request.clone())
            .await;
        deleted.unwrap();
        let again = service.collections().delete_payload_index(request).await;
        assert_eq!(again.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(answers(&service).await, after);
    service.stop().await;
    let store = loop {
        // A connection of the server may hold the directory for a moment.
        match twindex::store::Store::open(service.dir.path(), &Default::default()) {
            Err(twindex::store::Error::Locked(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            opened => break opened.unwrap(),
        }
    };
    let report = store.check().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.counts["facets"], 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_an_index_is_built_is_in_it() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    upsert(&service, 0..3_000, "hall").await;
    index(&service, "late").await.unwrap();
    let mut late = 0;
    loop {
        // By their ids these come first, where the items have been read already.
        let item = pb::Item {
            payload: payload(json!({"late": true})),
            ..vector_item(&format!("!{late}"), "", &[late as f32, 0.0])
        };
        let request = pb::UpsertItemRequest {
            collection: "v".into(),
            item: Some(item),
            ..Default::default()
        };
        service.items().upsert_item(request).await.unwrap();
        late += 1;
        let request = pb::GetCollectionRequest { name: "v".into() };
        let found = service.collections().get_collection(request).await;
        let collection = found.unwrap().into_inner().collection.unwrap();
        if collection.payload_indexes[0].ready {
            break;
        }
    }
    let is_late = prost_types::value::Kind::BoolValue(true);
    let request = pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[1.0, 1.0]),
        k: 10_000,
        filter: Some(equals("late", is_late)),
        ..Default::default()
    };
    assert_eq!(service.find(request).await.unwrap().len(), late);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_nothing_is_ready_at_once_and_too_many_are_refused() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    for n in 0..32 {
        assert!(index(&service, &format!("f{n}")).await.unwrap().ready);
    }
    assert!(index(&service, "f3").await.unwrap().ready);
    let error = index(&service, "f32").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("32"), "{error}");
    for field in [String::new(), "f".repeat(257)] {
        let error = index(&service, &field).await.unwrap_err();
        assert_error(&error, Code::InvalidArgument, "INVALID_FIELD", "field");
    }
}
