use super::support::{Service, assert_error, by_vector, glyph, image_item, payload, vector_item};
use serde_json::json;
use std::collections::BTreeSet;
use tokio_stream::StreamExt;
use tonic::Code;
use twindex::grpc::pb;

fn batch(collection: &str, items: Vec<pb::Item>, per_item: bool) -> pb::BatchUpsertItemsRequest {
    pb::BatchUpsertItemsRequest {
        collection: collection.into(),
        items,
        per_item,
        request_id: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_stored_whole_and_survives_a_restart() {
    let mut service = Service::start().await;
    service.images("glyphs").await;
    let image = glyph(0, 0);
    let item = pb::Item {
        payload: payload(json!({"n": 3, "deep": {"list": [1, "x", null, true]}})),
        ..image_item("one", "alpha", image.clone())
    };
    let put = service.put("glyphs", item.clone()).await.unwrap();
    assert!(put.created && put.id == "one" && !put.model_version.is_empty());
    service.restart().await;
    let got = service.get("glyphs", "one").await.unwrap();
    assert_eq!((got.label.as_str(), &got.payload), ("alpha", &item.payload));
    assert_eq!((got.content, got.model_version), (None, put.model_version));
    assert!(got.create_time.is_some() && got.update_time.is_some());

    let view = |vector, image| pb::GetItemRequest {
        collection: "glyphs".into(),
        id: "one".into(),
        view: Some(pb::ItemView { vector, image }),
    };
    let got = service
        .items()
        .get_item(view(false, true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        got.item.unwrap().content,
        Some(pb::item::Content::Image(image))
    );
    let got = service
        .items()
        .get_item(view(true, false))
        .await
        .unwrap()
        .into_inner();
    let Some(pb::item::Content::Vector(v)) = got.item.unwrap().content else {
        panic!("a vector")
    };
    assert!((v.values.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    let status = service
        .items()
        .get_item(view(true, true))
        .await
        .unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "view");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_replaces_and_a_missing_id_is_made() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    assert!(
        service
            .put("v", vector_item("a", "x", &[1.0, 0.0]))
            .await
            .unwrap()
            .created
    );
    assert!(
        !service
            .put("v", vector_item("a", "y", &[0.0, 1.0]))
            .await
            .unwrap()
            .created
    );
    assert_eq!(service.get("v", "a").await.unwrap().label, "y");
    let request = pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[1.0, 0.0]),
        ..Default::default()
    };
    let hits = service.find(request).await.unwrap();
    assert_eq!(hits.len(), 1);
    assert!((hits[0].distance - 2.0_f32.sqrt()).abs() < 1e-6);
    let made = service
        .put("v", vector_item("", "", &[0.5, 0.5]))
        .await
        .unwrap();
    assert_eq!(
        uuid::Uuid::parse_str(&made.id).unwrap().get_version_num(),
        7
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_write_is_applied_once() {
    let mut service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let request = pb::UpsertItemRequest {
        collection: "v".into(),
        item: Some(vector_item("", "", &[1.0])),
        request_id: "r1".into(),
    };
    let first = service
        .items()
        .upsert_item(request.clone())
        .await
        .unwrap()
        .into_inner();
    let second = service
        .items()
        .upsert_item(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, second);
    service.restart().await;
    let third = service
        .items()
        .upsert_item(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, third);
    let count = pb::CountItemsRequest {
        collection: "v".into(),
        filter: None,
    };
    assert_eq!(
        service
            .items()
            .count_items(count)
            .await
            .unwrap()
            .into_inner()
            .count,
        1
    );
    let long = pb::UpsertItemRequest {
        request_id: "x".repeat(129),
        ..request
    };
    let status = service.items().upsert_item(long).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "request_id",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_none_unless_each_item_is_answered() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let good = |id: &str| vector_item(id, "l", &[1.0, 2.0]);
    let bad = vector_item("bad", "l", &[1.0, 2.0, 3.0]);
    let status = service
        .items()
        .batch_upsert_items(batch("v", vec![good("a"), bad.clone()], false))
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "items[1].vector",
    );
    let status = service.get("v", "a").await.unwrap_err();
    assert_error(&status, Code::NotFound, "ITEM_NOT_FOUND", "");

    let each = service
        .items()
        .batch_upsert_items(batch("v", vec![good("a"), bad, good("b")], true))
        .await;
    let codes: Vec<i32> = each
        .unwrap()
        .into_inner()
        .results
        .into_iter()
        .map(|r| r.status.unwrap().code)
        .collect();
    assert_eq!(codes, [0, 3, 0]);
    let all = service
        .items()
        .batch_upsert_items(batch("v", vec![good("b"), good("c")], false))
        .await
        .unwrap();
    let created: Vec<bool> = all.into_inner().results.iter().map(|r| r.created).collect();
    assert_eq!(created, [false, true]);

    let status = service
        .items()
        .batch_upsert_items(batch("v", vec![good("d"), good("d")], false))
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "items[1].id",
    );
    let status = service
        .items()
        .batch_upsert_items(batch("v", vec![], false))
        .await
        .unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "items");
    let many = batch("v", vec![good("e"); 10_001], true);
    let status = service.items().batch_upsert_items(many).await.unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "items");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_each_item_and_the_last_one_wins() {
    let service = Service::start().await;
    service.images("glyphs").await;
    let message = |tag: u64, item: Option<pb::Item>| pb::StreamUpsertItemsRequest {
        collection: if tag == 0 {
            "glyphs".into()
        } else {
            String::new()
        },
        item,
        tag,
    };
    let mut messages: Vec<_> = (0..60_u64)
        .map(|n| {
            let id = format!("item{}", n % 20);
            message(
                n,
                Some(image_item(
                    &id,
                    &format!("round{}", n / 20),
                    glyph(n as usize % 20, 1),
                )),
            )
        })
        .collect();
    messages.push(message(
        60,
        Some(image_item(
            "bad",
            "",
            bytes::Bytes::from_static(b"not an image"),
        )),
    ));
    messages.push(message(61, None));
    let answers = service
        .items()
        .stream_upsert_items(tokio_stream::iter(messages))
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    let tags: BTreeSet<u64> = answers.iter().map(|a| a.tag).collect();
    assert_eq!(tags, (0..62).collect());
    for answer in &answers {
        let code = answer.status.as_ref().unwrap().code;
        assert_eq!(code, if answer.tag < 60 { 0 } else { 3 }, "{answer:?}");
        assert_eq!(answer.created, answer.tag < 20);
    }
    for n in 0..20 {
        let item = service.get("glyphs", &format!("item{n}")).await.unwrap();
        assert_eq!(item.label, "round2", "items are written in their order");
    }
    let nowhere = vec![pb::StreamUpsertItemsRequest {
        item: Some(vector_item("a", "", &[1.0])),
        ..Default::default()
    }];
    let mut answers = service
        .items()
        .stream_upsert_items(tokio_stream::iter(nowhere))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answers.next().await.unwrap().unwrap().status.unwrap().code,
        Code::InvalidArgument as i32
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_change_what_the_mask_names() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let item = pb::Item {
        payload: payload(json!({"a": 1, "b": 2})),
        ..vector_item("x", "old", &[1.0, 0.0])
    };
    service.put("v", item).await.unwrap();
    let update = |item: pb::Item, paths: &[&str]| {
        let request = pb::UpdateItemRequest {
            collection: "v".into(),
            item: Some(item),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|p| (*p).to_owned()).collect(),
            }),
            request_id: String::new(),
        };
        let mut items = service.items();
        async move {
            items
                .update_item(request)
                .await
                .map(|r| r.into_inner().item.unwrap())
        }
    };
    let new = pb::Item {
        id: "x".into(),
        label: "new".into(),
        payload: payload(json!({"a": 9, "c": 3})),
        ..Default::default()
    };
    let got = update(new.clone(), &["payload.a", "payload.b"])
        .await
        .unwrap();
    assert_eq!(
        (got.label.as_str(), got.payload),
        ("old", payload(json!({"a": 9})))
    );
    let got = update(new.clone(), &["label"]).await.unwrap();
    assert_eq!(
        (got.label.as_str(), got.payload),
        ("new", payload(json!({"a": 9})))
    );
    let got = update(new.clone(), &["payload"]).await.unwrap();
    assert_eq!(got.payload, new.payload);
    // The vector is what it was, and the label found by is the new one.
    let request = pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[1.0, 0.0]),
        with_payload: true,
        ..Default::default()
    };
    let hits = service.find(request).await.unwrap();
    assert_eq!(
        (hits.len(), hits[0].label.as_str(), &hits[0].payload),
        (1, "new", &new.payload)
    );
    assert!(hits[0].distance.abs() < 1e-6);

    for (paths, field) in [
        (&[][..], "update_mask"),
        (&["vector"][..], "update_mask"),
        (&["payload."][..], "update_mask"),
    ] {
        let status = update(new.clone(), paths).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let status = update(
        pb::Item {
            id: "nobody".into(),
            ..Default::default()
        },
        &["label"],
    )
    .await
    .unwrap_err();
    assert_error(&status, Code::NotFound, "ITEM_NOT_FOUND", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_listed_counted_and_labels_too() {
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let item = |n: u32| pb::Item {
        payload: payload(json!({"n": n})),
        ..vector_item(&format!("{n:03}"), &format!("label{}", n % 3), &[1.0])
    };
    service
        .items()
        .batch_upsert_items(batch("v", (0..25).map(item).collect(), false))
        .await
        .unwrap();
    let even = pb::Filter {
        condition: Some(pb::filter::Condition::Range(pb::RangeFilter {
            field: "n".into(),
            lt: Some(12.0),
            ..Default::default()
        })),
    };
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListItemsRequest {
            collection: "v".into(),
            filter: Some(even.clone()),
            page_size: 5,
            page_token,
            view: None,
        };
        let page = service
            .items()
            .list_items(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.items.len() <= 5);
        ids.extend(page.items.into_iter().map(|i| i.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, (0..12).map(|n| format!("{n:03}")).collect::<Vec<_>>());
    let count = |filter| {
        let mut items = service.items();
        async move {
            items
                .count_items(pb::CountItemsRequest {
                    collection: "v".into(),
                    filter,
                })
                .await
                .unwrap()
                .into_inner()
                .count
        }
    };
    assert_eq!((count(None).await, count(Some(even)).await), (25, 12));
    let request = pb::ListLabelsRequest {
        collection: "v".into(),
        page_size: 2,
        page_token: String::new(),
    };
    let page = service
        .items()
        .list_labels(request)
        .await
        .unwrap()
        .into_inner();
    let counts: Vec<_> = page
        .labels
        .iter()
        .map(|l| (l.label.as_str(), l.count))
        .collect();
    assert_eq!(counts, [("label0", 9), ("label1", 8)]);
    let request = pb::ListLabelsRequest {
        collection: "v".into(),
        page_size: 2,
        page_token: page.next_page_token,
    };
    let page = service
        .items()
        .list_labels(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.labels[0].count, page.next_page_token.as_str()),
        (8, "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_stay_deleted() {
    let mut service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let item = |n: u32| {
        vector_item(
            &n.to_string(),
            if n.is_multiple_of(2) { "even" } else { "odd" },
            &[n as f32],
        )
    };
    service
        .items()
        .batch_upsert_items(batch("v", (0..20).map(item).collect(), false))
        .await
        .unwrap();
    service.delete("v", "0").await.unwrap();
    let status = service.delete("v", "0").await.unwrap_err();
    assert_error(&status, Code::NotFound, "ITEM_NOT_FOUND", "");
    let label = pb::filter::Condition::Label(pb::LabelFilter {
        any_of: vec!["odd".into()],
    });
    let by = |ids: &[&str], filter: Option<pb::filter::Condition>| pb::BatchDeleteItemsRequest {
        collection: "v".into(),
        ids: ids.iter().map(|i| (*i).to_owned()).collect(),
        filter: filter.map(|condition| pb::Filter {
            condition: Some(condition),
        }),
        request_id: String::new(),
    };
    let deleted = service
        .items()
        .batch_delete_items(by(&["2", "2", "none"], None))
        .await
        .unwrap();
    assert_eq!(deleted.into_inner().deleted, 1);
    let deleted = service
        .items()
        .batch_delete_items(by(&[], Some(label.clone())))
        .await
        .unwrap();
    assert_eq!(deleted.into_inner().deleted, 10);
    for request in [by(&[], None), by(&["1"], Some(label))] {
        let status = service
            .items()
            .batch_delete_items(request)
            .await
            .unwrap_err();
        assert_error(
            &status,
            Code::InvalidArgument,
            "INVALID_FIELD",
            "ids, filter",
        );
    }
    for _ in 0..2 {
        let request = pb::SearchRequest {
            collection: "v".into(),
            probe: by_vector(&[0.0]),
            k: 100,
            ..Default::default()
        };
        let ids: Vec<String> = service
            .find(request)
            .await
            .unwrap()
            .into_iter()
            .map(|h| h.id)
            .collect();
        assert_eq!(ids, ["4", "6", "8", "10", "12", "14", "16", "18"]);
        let request = pb::BatchGetItemsRequest {
            collection: "v".into(),
            ids: vec!["4".into(), "1".into(), "0".into()],
            view: None,
        };
        let got = service
            .items()
            .batch_get_items(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (got.items.len(), got.missing),
            (1, vec!["1".to_owned(), "0".to_owned()])
        );
        service.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_at_once_lose_nothing() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let work = (0..2_u32).map(|who| {
        let service = &service;
        async move {
            for n in 0..100_u32 {
                let own = format!("{who}-{n}");
                service
                    .put("v", vector_item(&own, "l", &[1.0, n as f32]))
                    .await
                    .unwrap();
                // Both write this one, and read what one of them wrote.
                service
                    .put(
                        "v",
                        vector_item("shared", &who.to_string(), &[1.0, n as f32]),
                    )
                    .await
                    .unwrap();
                assert_eq!(service.get("v", &own).await.unwrap().id, own);
                assert!(
                    ["0", "1"].contains(&service.get("v", "shared").await.unwrap().label.as_str())
                );
            }
        }
    });
    futures_util::future::join_all(work).await;
    let count = pb::CountItemsRequest {
        collection: "v".into(),
        filter: None,
    };
    assert_eq!(
        service
            .items()
            .count_items(count)
            .await
            .unwrap()
            .into_inner()
            .count,
        201
    );
}
