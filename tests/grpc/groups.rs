use super::support::{
    Service, assert_error, by_image, by_item, by_vector, glyph, image_item, payload, sealed,
    vector_item,
};
use pb::filter::Condition;
use serde_json::json;
use std::collections::HashMap;
use tonic::{Code, Status};
use twindex::grpc::pb;
use twindex::training::random::Random;

fn request(probe: Option<pb::Probe>, k: u32, hits_per_group: u32) -> pb::SearchRequest {
    pb::SearchRequest {
        collection: "v".into(),
        probe,
        k,
        group_by_label: Some(pb::GroupByLabel { hits_per_group }),
        ..Default::default()
    }
}

async fn groups(
    service: &Service,
    request: pb::SearchRequest,
) -> Result<Vec<pb::HitGroup>, Status> {
    let answer = service.search().search(request).await?.into_inner();
    assert!(answer.hits.is_empty());
    Ok(answer.groups)
}

/// What groups come to, by a search for everything.
async fn truth(service: &Service, request: &pb::SearchRequest) -> Vec<(String, Vec<String>)> {
    let all = pb::SearchRequest {
        k: 10_000,
        exact: true,
        ef: 0,
        recall_target: None,
        group_by_label: None,
        ..request.clone()
    };
    let each = request.group_by_label.as_ref().unwrap().hits_per_group as usize;
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for hit in service.find(all).await.unwrap() {
        if hit.label.is_empty() {
            continue;
        }
        let place = *places.entry(hit.label.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((hit.label, Vec::new()));
        }
        groups[place].1.push(hit.id);
    }
    groups.truncate(request.k as usize);
    groups.iter_mut().for_each(|(_, ids)| ids.truncate(each));
    groups
}

fn plain(groups: Vec<pb::HitGroup>) -> Vec<(String, Vec<String>)> {
    let ids = |hits: Vec<pb::Hit>| hits.into_iter().map(|h| h.id).collect();
    let groups = groups.into_iter();
    groups.map(|g| (g.label, ids(g.hits))).collect()
}

async fn fill(service: &Service, items: Vec<pb::Item>) {
    for part in items.chunks(2_000) {
        let request = pb::BatchUpsertItemsRequest {
            collection: "v".into(),
            items: part.to_vec(),
            ..Default::default()
        };
        service.items().batch_upsert_items(request).await.unwrap();
    }
}

/// Labels of 1, 2, 4, ... items; every fifth item has none.
fn mixed(n: usize, random: &mut Random) -> pb::Item {
    let label = match n % 5 {
        0 => String::new(),
        _ => format!("label{}", (n / 5).ilog2()),
    };
    let values: Vec<f32> = (0..8).map(|_| random.normal()).collect();
    pb::Item {
        payload: payload(json!({ "n": n })),
        ..vector_item(&n.to_string(), &label, &values)
    }
}

fn filters() -> Vec<Option<pb::Filter>> {
    let filter = |condition| {
        Some(pb::Filter {
            condition: Some(condition),
        })
    };
    let any_of = ["label3", "label7", "nobody"].map(str::to_owned).to_vec();
    vec![
        None,
        filter(Condition::Label(pb::LabelFilter { any_of })),
        filter(Condition::Range(pb::RangeFilter {
            field: "n".into(),
            lt: Some(150.0),
            ..Default::default()
        })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_those_of_a_search_for_everything() {
    for metric in [pb::Metric::Euclidean, pb::Metric::Dot, pb::Metric::Cosine] {
        let service = Service::start().await;
        service.vectors("v", 8, metric).await;
        let mut random = Random::new(3, 3);
        let items: Vec<_> = (5..1_000).map(|n| mixed(n, &mut random)).collect();
        fill(&service, items).await;
        let values: Vec<f32> = (0..8).map(|_| random.normal()).collect();
        for probe in [by_vector(&values), by_item("5"), by_item("7")] {
            for filter in filters() {
                for (k, each) in [
                    (1, 1),
                    (3, 2),
                    (5, 40),
                    (100, 100),
                    (10_000, 1),
                    (1, 10_000),
                ] {
                    let mut request = request(probe.clone(), k, each);
                    request.filter = filter.clone();
                    request.exact = k == 3;
                    let found = plain(groups(&service, request.clone()).await.unwrap());
                    assert_eq!(found, truth(&service, &request).await, "{request:?}");
                    request.min_similarity = Some(0.25);
                    let found = plain(groups(&service, request.clone()).await.unwrap());
                    assert_eq!(found, truth(&service, &request).await, "{request:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k_labels_come_back_whole_from_a_sealed_collection() {
    let service = Service::start().await;
    service.vectors("v", 8, pb::Metric::Euclidean).await;
    let mut random = Random::new(4, 4);
    let items: Vec<_> = (5..10_005).map(|n| mixed(n, &mut random)).collect();
    fill(&service, items).await;
    sealed(&service).await;
    // Some of a label die after it was sealed: counts and rows go together.
    for n in [6, 11, 12, 21] {
        service.delete("v", &n.to_string()).await.unwrap();
    }
    let (mut right, mut all) = (0, 0);
    for round in 0..8 {
        let values: Vec<f32> = (0..8).map(|_| random.normal()).collect();
        let probe = if round == 0 {
            by_item("13")
        } else {
            by_vector(&values)
        };
        for filter in filters() {
            for (k, each) in [(2, 2), (4, 1), (10, 3), (20, 50)] {
                let mut request = request(probe.clone(), k, each);
                request.filter = filter.clone();
                let truth = truth(&service, &request).await;
                let shape = |groups: &[(String, Vec<String>)]| {
                    let mut sizes: Vec<_> = groups
                        .iter()
                        .map(|(l, ids)| (l.clone(), ids.len()))
                        .collect();
                    sizes.sort();
                    sizes
                };
                for ef in [0, 12] {
                    request.ef = ef;
                    let found = plain(groups(&service, request.clone()).await.unwrap());
                    assert_eq!(found.len(), truth.len(), "{request:?}");
                    if k >= 10 {
                        assert_eq!(shape(&found), shape(&truth), "{request:?}");
                    }
                    let ids: Vec<_> = found.iter().flat_map(|(_, ids)| ids).collect();
                    let wanted = truth.iter().flat_map(|(_, ids)| ids);
                    let wanted: Vec<_> = wanted.collect();
                    if ef == 0 {
                        all += wanted.len();
                        right += ids.iter().filter(|id| wanted.contains(id)).count();
                    }
                }
                request.ef = 0;
                request.exact = true;
                let found = plain(groups(&service, request.clone()).await.unwrap());
                assert_eq!(found, truth, "{request:?}");
            }
        }
    }
    let recall = right as f64 / all as f64;
    assert!(recall > 0.95, "{recall}");
}

/// A label of thousands lies all around: the others are found behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_label_hides_no_other() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    let near = |n: u32| vector_item(&format!("near{n}"), "crowd", &[n as f32 / 1e4, 0.0]);
    let far = |n: u32| {
        let label = format!("far{}", n / 3);
        vector_item(&format!("far{n}"), &label, &[100.0 + n as f32, 0.0])
    };
    let items: Vec<_> = (0..10_000).map(near).chain((0..30).map(far)).collect();
    fill(&service, items).await;
    sealed(&service).await;
    let request = request(by_vector(&[0.0, 0.0]), 4, 2);
    let found = plain(groups(&service, request.clone()).await.unwrap());
    let of = |label: &str, ids: [&str; 2]| (label.to_owned(), ids.map(str::to_owned).to_vec());
    let expected = [
        of("crowd", ["near0", "near1"]),
        of("far0", ["far0", "far1"]),
        of("far1", ["far3", "far4"]),
        of("far2", ["far6", "far7"]),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_of_groups_carry_what_was_asked_for() {
    let service = Service::start().await;
    service.images("v").await;
    for (n, label) in ["a", "b", "a", ""].iter().enumerate() {
        let item = pb::Item {
            payload: payload(json!({ "n": n })),
            ..image_item(&n.to_string(), label, glyph(n, 0))
        };
        service.put("v", item).await.unwrap();
    }
    let full = pb::SearchRequest {
        with_payload: true,
        with_vector: true,
        with_image: true,
        ..request(by_image(glyph(1, 0)), 5, 0)
    };
    let found = groups(&service, full).await.unwrap();
    let labels: Vec<&str> = found.iter().map(|g| g.label.as_str()).collect();
    assert_eq!(labels, ["b", "a"]);
    assert!(found.iter().all(|g| g.hits.len() == 1));
    let hit = &found[0].hits[0];
    assert_eq!((hit.id.as_str(), &hit.image), ("1", &glyph(1, 0)));
    assert!(hit.payload.is_some() && hit.vector.is_some());
    assert_eq!(hit.label, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_groups_name_the_field() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    let probe = || by_vector(&[1.0, 0.0]);
    let each = "group_by_label.hits_per_group";
    for (request, field) in [
        (request(probe(), 0, 1_001), each),
        (request(probe(), 10_000, 2), each),
        (request(probe(), 10_001, 1), "k"),
        (request(None, 1, 1), "probe"),
    ] {
        let status = groups(&service, request).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    assert_eq!(
        groups(&service, request(probe(), 0, 1_000)).await.unwrap(),
        []
    );
}
