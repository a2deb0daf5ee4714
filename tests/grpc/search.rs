use super::support::{
    Service, assert_error, by_image, by_item, by_vector, glyph, image_item, payload, vector_item,
};
use pb::filter::Condition;
use serde_json::json;
use tonic::Code;
use twindex::grpc::pb;

fn request(probe: Option<pb::Probe>) -> pb::SearchRequest {
    pb::SearchRequest {
        collection: "v".into(),
        probe,
        ..Default::default()
    }
}

fn ids(hits: &[pb::Hit]) -> Vec<&str> {
    hits.iter().map(|h| h.id.as_str()).collect()
}

fn filter(condition: Condition) -> Option<pb::Filter> {
    Some(pb::Filter {
        condition: Some(condition),
    })
}

fn text(s: &str) -> prost_types::Value {
    prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(s.into())),
    }
}

async fn line(service: &Service, metric: pb::Metric) {
    service.vectors("v", 2, metric).await;
    let items = (1..=30_u32).map(|n| pb::Item {
        payload: payload(json!({"n": n, "at": format!("2026-11-{n:02}T00:30:00+01:00"), "tags": [if n % 2 == 0 { "even" } else { "odd" }], "deep": {"third": n % 3 == 0}})),
        ..vector_item(&format!("{n:02}"), if n <= 10 { "low" } else { "" }, &[n as f32, 1.0])
    });
    let batch = pb::BatchUpsertItemsRequest {
        collection: "v".into(),
        items: items.collect(),
        ..Default::default()
    };
    service.items().batch_upsert_items(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_how_long_they_took() {
    let service = Service::start().await;
    line(&service, pb::Metric::Euclidean).await;
    let told = |metadata: &tonic::metadata::MetadataMap| {
        let told = metadata.get("server-timing").unwrap().to_str().unwrap();
        let parts = told.split(", ").map(|part| {
            let (name, took) = part.split_once(";dur=").unwrap();
            (name.to_owned(), took.parse::<f64>().unwrap())
        });
        parts.collect::<std::collections::HashMap<_, _>>()
    };
    let asked = request(by_vector(&[1.0, 1.0]));
    let grouped = pb::SearchRequest {
        group_by_label: Some(pb::GroupByLabel::default()),
        ..asked.clone()
    };
    for asked in [asked, grouped] {
        let answer = service.search().search(asked).await.unwrap();
        let told = told(answer.metadata());
        assert!(told["index"] <= told["total"], "{told:?}");
    }
    let refused = service.search().search(request(None)).await.unwrap_err();
    let told = told(refused.metadata());
    assert!(told["total"] >= 0.0 && !told.contains_key("index"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_come_first_by_each_metric() {
    for metric in [pb::Metric::Euclidean, pb::Metric::Dot, pb::Metric::Cosine] {
        let service = Service::start().await;
        line(&service, metric).await;
        let near = service
            .find(pb::SearchRequest {
                k: 3,
                ..request(by_vector(&[20.2, 1.0]))
            })
            .await
            .unwrap();
        let (first, distance, similarity) = match metric {
            pb::Metric::Euclidean => ("20", 0.2, 1.0 / 1.2),
            pb::Metric::Dot => ("30", -607.0, 607.0),
            _ => ("20", 0.0, 1.0),
        };
        assert_eq!((near.len(), near[0].id.as_str()), (3, first));
        assert!((near[0].distance - distance).abs() < 1e-2, "{near:?}");
        assert!((near[0].similarity - similarity).abs() < 1e-2);
        assert!(near.windows(2).all(|w| w[0].distance <= w[1].distance));
        let exact = pb::SearchRequest {
            k: 3,
            exact: true,
            ..request(by_vector(&[20.2, 1.0]))
        };
        assert_eq!(service.find(exact).await.unwrap(), near);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_mean_what_they_say_and_k_come_back() {
    let service = Service::start().await;
    line(&service, pb::Metric::Euclidean).await;
    let low = || {
        Condition::Label(pb::LabelFilter {
            any_of: vec!["low".into()],
        })
    };
    let odd = || {
        Condition::Equals(pb::EqualsFilter {
            field: "tags".into(),
            value: Some(text("odd")),
        })
    };
    let not = |c| Condition::Not(Box::new(filter(c).unwrap()));
    let list = |all: Vec<Condition>| pb::FilterList {
        filters: all.into_iter().map(|c| filter(c).unwrap()).collect(),
    };
    let range = Condition::Range(pb::RangeFilter {
        field: "n".into(),
        gt: Some(5.0),
        lte: Some(7.0),
        ..Default::default()
    });
    let third = Condition::In(pb::InFilter {
        field: "deep.third".into(),
        values: vec![prost_types::Value {
            kind: Some(prost_types::value::Kind::BoolValue(true)),
        }],
    });
    let begins = |field: &str, prefix: &str| {
        Condition::StartsWith(pb::StartsWithFilter {
            field: field.into(),
            prefix: prefix.into(),
        })
    };
    let during = |field: &str, gte: &str, lt: &str| {
        Condition::TimeRange(pb::TimeRangeFilter {
            field: field.into(),
            gte: Some(gte.parse().unwrap()),
            lt: Some(lt.parse().unwrap()),
            ..Default::default()
        })
    };
    let none = Condition::Exists(pb::ExistsFilter {
        field: "nothing".into(),
    });
    let some = Condition::Exists(pb::ExistsFilter {
        field: "deep".into(),
    });
    let labelled = Condition::Label(pb::LabelFilter { any_of: vec![] });
    let cases: Vec<(Condition, Vec<u32>)> = vec![
        (low(), (1..=10).collect()),
        (labelled, (1..=10).collect()),
        (not(low()), (11..=30).collect()),
        (
            Condition::And(list(vec![low(), odd()])),
            vec![1, 3, 5, 7, 9],
        ),
        (
            Condition::Or(list(vec![range.clone(), low()])),
            (1..=10).collect(),
        ),
        (range, vec![6, 7]),
        (third, (1..=10).map(|n| 3 * n).collect()),
        (
            during("at", "2026-11-04T23:30:00Z", "2026-11-06T23:30:00Z"),
            vec![5, 6],
        ),
        (
            during("n", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"),
            vec![],
        ),
        (begins("tags", "od"), (0..15).map(|n| 2 * n + 1).collect()),
        (begins("tags", "dd"), vec![]),
        (none, vec![]),
        (some, (1..=30).collect()),
        (Condition::Or(list(vec![])), vec![]),
        (Condition::And(list(vec![])), (1..=30).collect()),
    ];
    for (condition, expected) in cases {
        for exact in [false, true] {
            let wanted = pb::SearchRequest {
                k: 100,
                exact,
                filter: filter(condition.clone()),
                ..request(by_vector(&[0.0, 1.0]))
            };
            let hits = service.find(wanted).await.unwrap();
            let expected: Vec<String> = expected.iter().map(|n| format!("{n:02}")).collect();
            assert_eq!(ids(&hits), expected, "{condition:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_and_what_to_answer() {
    let service = Service::start().await;
    line(&service, pb::Metric::Euclidean).await;
    let near = pb::SearchRequest {
        k: 30,
        min_similarity: Some(1.0 / 3.0),
        ..request(by_vector(&[10.0, 1.0]))
    };
    assert_eq!(
        ids(&service.find(near).await.unwrap()),
        ["10", "09", "11", "08", "12"]
    );
    let all = pb::SearchRequest {
        k: 30,
        min_similarity: Some(-1.0),
        ..request(by_vector(&[10.0, 1.0]))
    };
    assert_eq!(service.find(all).await.unwrap().len(), 30);
    let itself = service
        .find(pb::SearchRequest {
            k: 2,
            ..request(by_item("10"))
        })
        .await
        .unwrap();
    assert_eq!(
        ids(&itself),
        ["09", "11"],
        "a stored item does not find itself"
    );
    let full = pb::SearchRequest {
        k: 1,
        with_payload: true,
        with_vector: true,
        with_image: true,
        ..request(by_item("10"))
    };
    let hit = service.find(full).await.unwrap().remove(0);
    assert_eq!(hit.vector.unwrap().values, [9.0, 1.0]);
    assert_eq!(
        hit.payload.unwrap().fields["n"].kind,
        Some(prost_types::value::Kind::NumberValue(9.0))
    );
    assert!(hit.image.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_finds_its_like() {
    let service = Service::start().await;
    service.images("v").await;
    for character in 0..8 {
        for hand in 0..3 {
            let id = format!("{character}-{hand}");
            service
                .put(
                    "v",
                    image_item(&id, &character.to_string(), glyph(character, hand)),
                )
                .await
                .unwrap();
        }
    }
    let hits = service
        .find(pb::SearchRequest {
            k: 3,
            with_image: true,
            ..request(by_image(glyph(5, 0)))
        })
        .await
        .unwrap();
    assert_eq!((hits[0].id.as_str(), &hits[0].image), ("5-0", &glyph(5, 0)));
    assert!(hits[0].similarity > 0.999);
    let mut right = 0;
    for character in 0..8 {
        let hits = service
            .find(pb::SearchRequest {
                k: 1,
                ..request(by_image(glyph(character, 9)))
            })
            .await
            .unwrap();
        right += u32::from(hits[0].label == character.to_string());
    }
    assert!(right >= 7, "{right} of 8 characters in a new hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_searches_name_the_field() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let good = || request(by_vector(&[1.0, 0.0]));
    let bound = Condition::Range(pb::RangeFilter {
        field: "n".into(),
        ..Default::default()
    });
    let path = Condition::Exists(pb::ExistsFilter {
        field: String::new(),
    });
    let list = Condition::Equals(pb::EqualsFilter {
        field: "n".into(),
        value: None,
    });
    let nan = || {
        Some(prost_types::Value {
            kind: Some(prost_types::value::Kind::NumberValue(f64::NAN)),
        })
    };
    let equals_nan = Condition::Equals(pb::EqualsFilter {
        field: "n".into(),
        value: nan(),
    });
    let in_nan = Condition::In(pb::InFilter {
        field: "n".into(),
        values: nan().into_iter().collect(),
    });
    let begins_with_nothing = Condition::StartsWith(pb::StartsWithFilter {
        field: "n".into(),
        ..Default::default()
    });
    let no_time = Condition::TimeRange(pb::TimeRangeFilter {
        field: "n".into(),
        ..Default::default()
    });
    let no_such_time = Condition::TimeRange(pb::TimeRangeFilter {
        field: "n".into(),
        lt: Some(prost_types::Timestamp {
            seconds: 0,
            nanos: 1_000_000_000,
        }),
        ..Default::default()
    });
    let mut deep = filter(Condition::Exists(pb::ExistsFilter { field: "n".into() }));
    for _ in 0..40 {
        deep = Some(pb::Filter {
            condition: Some(Condition::Not(Box::new(deep.unwrap()))),
        });
    }
    let cases = [
        (request(None), "probe"),
        (
            pb::SearchRequest {
                k: 10_001,
                ..good()
            },
            "k",
        ),
        (
            pb::SearchRequest {
                ef: 10_001,
                ..good()
            },
            "ef",
        ),
        (
            pb::SearchRequest {
                recall_target: Some(0.3),
                ..good()
            },
            "recall_target",
        ),
        (
            pb::SearchRequest {
                recall_target: Some(f32::NAN),
                ..good()
            },
            "recall_target",
        ),
        (
            pb::SearchRequest {
                recall_target: Some(0.9),
                exact: true,
                ..good()
            },
            "recall_target",
        ),
        (
            pb::SearchRequest {
                recall_target: Some(0.9),
                ef: 100,
                ..good()
            },
            "recall_target",
        ),
        (
            pb::SearchRequest {
                min_similarity: Some(f32::NAN),
                ..good()
            },
            "min_similarity",
        ),
        (request(by_vector(&[1.0])), "probe.vector"),
        (request(by_vector(&[])), "probe.vector"),
        (request(by_vector(&[f32::NAN, 0.0])), "probe.vector[0]"),
        (request(by_vector(&[0.0, f32::INFINITY])), "probe.vector[1]"),
        (request(by_vector(&[0.0, 0.0])), "probe.vector"),
        (request(by_image(glyph(0, 0))), "probe.image"),
        (request(by_item(&"x".repeat(257))), "probe.item_id"),
        (
            pb::SearchRequest {
                filter: Some(pb::Filter::default()),
                ..good()
            },
            "filter",
        ),
        (
            pb::SearchRequest {
                filter: filter(bound),
                ..good()
            },
            "filter.range",
        ),
        (
            pb::SearchRequest {
                filter: filter(path),
                ..good()
            },
            "filter.exists.field",
        ),
        (
            pb::SearchRequest {
                filter: filter(list),
                ..good()
            },
            "filter.equals.value",
        ),
        (
            pb::SearchRequest {
                filter: filter(equals_nan),
                ..good()
            },
            "filter.equals.value",
        ),
        (
            pb::SearchRequest {
                filter: filter(in_nan),
                ..good()
            },
            "filter.in.values",
        ),
        (
            pb::SearchRequest {
                filter: filter(begins_with_nothing),
                ..good()
            },
            "filter.starts_with.prefix",
        ),
        (
            pb::SearchRequest {
                filter: filter(no_time),
                ..good()
            },
            "filter.time_range",
        ),
        (
            pb::SearchRequest {
                filter: filter(no_such_time),
                ..good()
            },
            "filter.time_range.lt",
        ),
        (
            pb::SearchRequest {
                filter: deep,
                ..good()
            },
            "filter",
        ),
    ];
    for (request, field) in cases {
        let status = service.find(request).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let status = service.find(request(by_item("nobody"))).await.unwrap_err();
    assert_error(&status, Code::NotFound, "ITEM_NOT_FOUND", "");
    let status = service
        .find(pb::SearchRequest {
            collection: "w".into(),
            ..good()
        })
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");
    assert_eq!(service.find(good()).await.unwrap(), []);
}
