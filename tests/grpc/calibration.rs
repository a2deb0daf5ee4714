use super::support::{Service, assert_error, by_item, by_vector, vector_item};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use twindex::grpc::pb;
use twindex::grpc::pb::calibration_service_client::CalibrationServiceClient;
use twindex::training::random::Random;

const DIM: usize = 4;
const LABELS: usize = 120;

fn client(service: &Service) -> CalibrationServiceClient<tonic::transport::Channel> {
    CalibrationServiceClient::new(service.channel.clone())
}

/// Where a label lies, and its examples about it.
fn point(label: usize, example: u64) -> [f32; DIM] {
    let mut centre = Random::new(1, label as u64);
    let mut scatter = Random::new(label as u64 + 2, example);
    [(); DIM].map(|()| 2.0 * centre.normal() + 0.3 * scatter.normal())
}

async fn fill(service: &Service, name: &str, labels: usize, examples: u64) {
    let items = (0..labels).flat_map(|label| {
        (0..examples).map(move |n| {
            let id = format!("{label}/{n}");
            vector_item(&id, &format!("label {label}"), &point(label, n))
        })
    });
    let request = pb::BatchUpsertItemsRequest {
        collection: name.into(),
        items: items.collect(),
        ..Default::default()
    };
    service.items().batch_upsert_items(request).await.unwrap();
}

async fn filled(labels: usize) -> Service {
    let service = Service::start().await;
    service
        .vectors("v", DIM as u32, pb::Metric::Euclidean)
        .await;
    fill(&service, "v", labels, 5).await;
    service
}

fn request(far: Option<f64>) -> pb::CalibrateCollectionRequest {
    pb::CalibrateCollectionRequest {
        collection: "v".into(),
        far,
        fpir: Some(0.1),
        ..Default::default()
    }
}

async fn calibrate(
    service: &Service,
    request: pb::CalibrateCollectionRequest,
) -> Result<pb::Calibration, Status> {
    let answer = client(service).calibrate_collection(request).await?;
    Ok(answer.into_inner().calibration.unwrap())
}

async fn kept(service: &Service) -> Result<pb::Calibration, Status> {
    let request = pb::GetCalibrationRequest {
        collection: "v".into(),
    };
    let answer = client(service).get_calibration(request).await?;
    Ok(answer.into_inner().calibration.unwrap())
}

async fn verify(
    service: &Service,
    label: usize,
    probe: usize,
    change: impl Fn(&mut pb::VerifyRequest),
) -> Result<pb::VerifyResponse, Status> {
    let mut request = pb::VerifyRequest {
        collection: "v".into(),
        probe: by_vector(&point(probe, 99)),
        label: format!("label {label}"),
        ..Default::default()
    };
    change(&mut request);
    Ok(service.decisions().verify(request).await?.into_inner())
}

async fn classify(
    service: &Service,
    probe: &[f32],
    change: impl Fn(&mut pb::ClassifyRequest),
) -> Result<pb::ClassifyResponse, Status> {
    let mut request = pb::ClassifyRequest {
        collection: "v".into(),
        probe: by_vector(probe),
        ..Default::default()
    };
    change(&mut request);
    Ok(service.decisions().classify(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calibrated_collection_decides() {
    let mut service = filled(LABELS).await;
    let error = verify(&service, 1, 1, |_| {}).await.unwrap_err();
    assert_error(
        &error,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "min_similarity",
    );
    assert!(error.message().contains("calibrate it"), "{error:?}");
    let error = verify(&service, 1, 1, |r| r.target_far = Some(0.05)).await;
    assert_error(
        &error.unwrap_err(),
        Code::FailedPrecondition,
        "NOT_CALIBRATED",
        "",
    );
    let error = kept(&service).await.unwrap_err();
    assert_error(&error, Code::NotFound, "CALIBRATION_NOT_FOUND", "");

    let made = calibrate(&service, request(Some(0.02))).await.unwrap();
    assert_eq!((made.labels, made.items, made.valid), (120, 600, true));
    assert_eq!((made.far, made.fpir, made.prior), (0.02, 0.1, 0.5));
    assert_eq!(made.pairs.as_ref().unwrap().genuine, 120 * 10);
    assert_eq!(made.nearest.as_ref().unwrap().impostor, 600 * 119);
    let again = calibrate(&service, request(Some(0.02))).await.unwrap();
    let timeless = |c: &pb::Calibration| pb::Calibration {
        create_time: None,
        ..c.clone()
    };
    assert_eq!(
        timeless(&again),
        timeless(&made),
        "data and seed are an answer"
    );

    let same = verify(&service, 1, 1, |_| {}).await.unwrap();
    assert_eq!(same.decision(), pb::Decision::Same);
    assert!(same.probability.unwrap() > 0.9 && same.example_id.starts_with("1/"));
    let at = same.operating_point.unwrap();
    assert_eq!((Some(at), at.target_rate), (made.verify_point, Some(0.02)));
    assert!(at.rate_low < at.target_rate && at.target_rate < at.rate_high);
    let other = verify(&service, 1, 2, |_| {}).await.unwrap();
    assert_eq!(other.decision(), pb::Decision::Different);
    assert!(other.probability.unwrap() < 0.1);
    // Another rate, another threshold; a rarer genuine claim, a smaller probability.
    let lax = verify(&service, 1, 1, |r| r.target_far = Some(0.2))
        .await
        .unwrap();
    assert!(lax.operating_point.unwrap().min_similarity < at.min_similarity);
    let rare = verify(&service, 1, 1, |r| r.prior = Some(0.001))
        .await
        .unwrap();
    assert!(rare.probability < same.probability && rare.decision() == same.decision());
    // A similarity that the request names is what counts.
    let own = verify(&service, 1, 1, |r| r.min_similarity = Some(0.999))
        .await
        .unwrap();
    assert_eq!(own.decision(), pb::Decision::Different);
    let point_of_own = own.operating_point.unwrap();
    assert_eq!(
        (point_of_own.min_similarity, point_of_own.target_rate),
        (0.999, None)
    );
    assert_eq!(own.probability, same.probability);

    let compare = pb::CompareRequest {
        collection: "v".into(),
        a: by_item("3/0"),
        b: by_item("3/1"),
        ..Default::default()
    };
    let compared = service
        .decisions()
        .compare(compare)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(compared.operating_point, made.compare_point);
    assert_eq!(compared.decision(), pb::Decision::Same);
    assert!(compared.probability.unwrap() > 0.5);

    type Change = fn(&mut pb::VerifyRequest);
    let bad: [(Change, &str); 5] = [
        (|r| r.target_far = Some(1.0), "target_far"),
        (|r| r.target_far = Some(f64::NAN), "target_far"),
        (|r| r.target_far = Some(1e-12), "target_far"),
        (|r| r.prior = Some(0.0), "prior"),
        (
            |r| {
                r.target_far = Some(0.1);
                r.min_similarity = Some(0.1);
            },
            "target_far",
        ),
    ];
    for (change, field) in bad {
        let error = verify(&service, 1, 1, change).await.unwrap_err();
        assert_error(&error, Code::InvalidArgument, "INVALID_FIELD", field);
    }

    service.restart().await;
    assert_eq!(kept(&service).await.unwrap(), again);
    let request = pb::DeleteCalibrationRequest {
        collection: "v".into(),
        ..Default::default()
    };
    client(&service)
        .delete_calibration(request.clone())
        .await
        .unwrap();
    let error = client(&service)
        .delete_calibration(request)
        .await
        .unwrap_err();
    assert_error(&error, Code::NotFound, "CALIBRATION_NOT_FOUND", "");
    assert!(verify(&service, 1, 1, |_| {}).await.is_err());
    service.restart().await;
    assert!(kept(&service).await.is_err(), "it does not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unknown_is_told_apart() {
    let service = filled(LABELS).await;
    let far_off = point(LABELS + 1, 0);
    let before = classify(&service, &far_off, |_| {}).await.unwrap();
    assert!(!before.unknown && before.operating_point.is_none());
    let made = calibrate(&service, request(Some(0.02))).await.unwrap();
    use pb::ClassifyMethod::{Nearest, Prototype, Vote};
    for method in [Nearest, Vote, Prototype] {
        let set = |r: &mut pb::ClassifyRequest| r.method = method.into();
        let unknown = classify(&service, &far_off, set).await.unwrap();
        assert!(
            unknown.unknown && unknown.label.is_empty(),
            "{method:?} {unknown:?}"
        );
        assert_eq!(unknown.unknown_reason(), pb::UnknownReason::NotSimilar);
        assert_eq!(unknown.example_id, unknown.labels[0].example_id);
        let known = classify(&service, &point(7, 99), set).await.unwrap();
        assert_eq!((known.unknown, known.label.as_str()), (false, "label 7"));
        assert!(known.example_id.starts_with("7/"), "{known:?}");
        let best = known.labels[0].probability.unwrap();
        let others = known.labels[1..].iter().map(|l| l.probability.unwrap());
        assert!(best > 0.5 && others.fold(0.0, f64::max) < best);
        let at = known.operating_point.unwrap();
        assert_eq!((at.target_rate, at.gallery_labels), (Some(0.1), 120));
        if method != Prototype {
            assert_eq!(Some(at), made.classify_point);
        }
    }
    let lax = |r: &mut pb::ClassifyRequest| r.target_fpir = Some(0.3);
    let lax = classify(&service, &far_off, lax)
        .await
        .unwrap()
        .operating_point
        .unwrap();
    assert!(lax.min_similarity < made.classify_point.unwrap().min_similarity);
    let any = |r: &mut pb::ClassifyRequest| r.min_similarity = Some(0.0);
    assert!(!classify(&service, &far_off, any).await.unwrap().unknown);

    // A larger gallery asks for more similarity, as calibrated for it.
    fill(&service, "v", 3 * LABELS, 1).await;
    let grown = classify(&service, &far_off, |_| {})
        .await
        .unwrap()
        .operating_point
        .unwrap();
    assert_eq!(grown.gallery_labels, 360);
    assert!(grown.min_similarity > made.classify_point.unwrap().min_similarity);

    service.vectors("empty", 2, pb::Metric::Cosine).await;
    let nothing = classify(&service, &[1.0, 0.0], |r| r.collection = "empty".into());
    let nothing = nothing.await.unwrap();
    assert_eq!(nothing.unknown_reason(), pb::UnknownReason::NoExample);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_is_refused_and_changes_nothing() {
    let service = filled(9).await;
    let error = calibrate(&service, request(Some(0.1))).await.unwrap_err();
    assert_error(&error, Code::FailedPrecondition, "TOO_FEW_PAIRS", "");
    let info = error
        .get_error_details()
        .error_info()
        .unwrap()
        .metadata
        .clone();
    assert_eq!(
        (info["labels"].as_str(), info["labels_needed"].as_str()),
        ("9", "10")
    );
    fill(&service, "v", LABELS, 5).await;
    let first = calibrate(&service, request(Some(0.02))).await.unwrap();
    let error = calibrate(&service, request(Some(1e-6))).await.unwrap_err();
    assert_error(&error, Code::FailedPrecondition, "TOO_FEW_PAIRS", "");
    let info = error
        .get_error_details()
        .error_info()
        .unwrap()
        .metadata
        .clone();
    let number = |name: &str| info[name].parse::<u64>().unwrap();
    assert!(
        number("labels_needed") > 120 && number("needed") > number("there"),
        "{info:?}"
    );
    assert_eq!(kept(&service).await.unwrap(), first);
    for (bad, field) in [
        (request(Some(0.0)), "far"),
        (
            pb::CalibrateCollectionRequest {
                fpir: Some(2.0),
                ..request(None)
            },
            "fpir",
        ),
        (
            pb::CalibrateCollectionRequest {
                prior: Some(1.0),
                ..request(None)
            },
            "prior",
        ),
    ] {
        let error = calibrate(&service, bad).await.unwrap_err();
        assert_error(&error, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let nobody = pb::CalibrateCollectionRequest {
        collection: "w".into(),
        ..request(None)
    };
    let error = calibrate(&service, nobody).await.unwrap_err();
    assert_error(&error, Code::NotFound, "COLLECTION_NOT_FOUND", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_another_collection_serve() {
    let service = filled(LABELS).await;
    for (name, dim, metric) in [
        ("few", DIM as u32, pb::Metric::Euclidean),
        ("other", DIM as u32, pb::Metric::Cosine),
    ] {
        service.vectors(name, dim, metric).await;
    }
    let from = |collection: &str| pb::CalibrateCollectionRequest {
        collection: collection.into(),
        source_collection: "v".into(),
        request_id: "once".into(),
        ..request(Some(0.02))
    };
    let made = calibrate(&service, from("few")).await.unwrap();
    assert_eq!((made.source_collection.as_str(), made.labels), ("v", 120));
    let again = calibrate(&service, from("few")).await.unwrap();
    assert_eq!(again, made, "answered alike, to the time");
    let error = calibrate(&service, from("other")).await.unwrap_err();
    assert_error(
        &error,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "source_collection",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calibration_of_another_model_is_void() {
    let mut service = filled(LABELS).await;
    calibrate(&service, request(Some(0.02))).await.unwrap();
    service.channel = tonic::transport::Channel::from_static("http://127.0.0.1:1").connect_lazy();
    service.stop().await;
    {
        let store = loop {
            match twindex::store::Store::open(service.dir.path(), &Default::default()) {
                Err(e) if e.to_string().contains("already open") => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        let number = store.collections().unwrap()[0].number;
        let mut calibration = store.calibration(number).unwrap().unwrap();
        calibration.origin.model = Some("older".into());
        let mut batch = twindex::store::Batch::new();
        batch.put_calibration(number, &calibration);
        store.commit(batch).unwrap();
        assert!(store.check().unwrap().is_sound());
    }
    service.start_again().await;
    let found = kept(&service).await.unwrap();
    assert_eq!(
        (found.valid, found.model_version.as_str()),
        (false, "older")
    );
    assert_eq!(found.classify_point, None);
    let error = verify(&service, 1, 1, |_| {}).await.unwrap_err();
    assert_error(
        &error,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "min_similarity",
    );
    assert!(error.message().contains("older"), "{error:?}");
    let error = verify(&service, 1, 1, |r| r.prior = Some(0.1))
        .await
        .unwrap_err();
    assert_error(&error, Code::FailedPrecondition, "NOT_CALIBRATED", "");
    assert!(
        !classify(&service, &point(99, 0), |_| {})
            .await
            .unwrap()
            .unknown
    );
    assert!(
        calibrate(&service, request(Some(0.02)))
            .await
            .unwrap()
            .valid
    );
    assert!(verify(&service, 1, 1, |_| {}).await.is_ok());
}

fn batch(probes: &[f32], one_to_one: bool) -> pb::ClassifyBatchRequest {
    pb::ClassifyBatchRequest {
        collection: "line".into(),
        probes: probes.iter().map(|x| by_vector(&[*x]).unwrap()).collect(),
        one_to_one,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_holds_each_label_once_is_assigned() {
    let service = Service::start().await;
    service.vectors("line", 1, pb::Metric::Euclidean).await;
    for (label, x) in [("a", 0.0), ("b", 1.0), ("c", 5.0)] {
        let item = vector_item(label, label, &[x]);
        service.put("line", item).await.unwrap();
    }
    let labels = async |request| {
        let answer = service
            .decisions()
            .classify_batch(request)
            .await?
            .into_inner();
        let each = answer.classifications.into_iter().map(|c| {
            assert_eq!(c.example_id, c.label, "the example that decided");
            c.label
        });
        Ok::<_, Status>(each.collect::<Vec<_>>())
    };
    // Both are nearest to b; only one can be.
    assert_eq!(labels(batch(&[0.9, 1.2], false)).await.unwrap(), ["b", "b"]);
    assert_eq!(labels(batch(&[0.9, 1.2], true)).await.unwrap(), ["a", "b"]);
    assert_eq!(
        labels(batch(&[2.0, 0.9, 1.2], true)).await.unwrap(),
        ["c", "a", "b"]
    );
    let only = pb::Filter {
        condition: Some(pb::filter::Condition::Label(pb::LabelFilter {
            any_of: vec!["a".into(), "c".into()],
        })),
    };
    let filtered = pb::ClassifyBatchRequest {
        filter: Some(only.clone()),
        ..batch(&[0.9, 1.2], true)
    };
    assert_eq!(labels(filtered).await.unwrap(), ["a", "c"]);
    for (bad, field) in [
        (batch(&[], true), "probes"),
        (batch(&[0.0; 1_001], false), "probes"),
        (batch(&[0.0; 4], true), "probes"),
        (
            pb::ClassifyBatchRequest {
                filter: Some(only),
                ..batch(&[0.0; 3], true)
            },
            "probes",
        ),
        (
            pb::ClassifyBatchRequest {
                method: pb::ClassifyMethod::Vote.into(),
                ..batch(&[0.0], true)
            },
            "one_to_one",
        ),
        (
            pb::ClassifyBatchRequest {
                min_similarity: Some(0.5),
                ..batch(&[0.0], true)
            },
            "one_to_one",
        ),
        (
            pb::ClassifyBatchRequest {
                probes: vec![by_vector(&[1.0]).unwrap(), pb::Probe::default()],
                ..batch(&[], false)
            },
            "probes[1]",
        ),
        (
            pb::ClassifyBatchRequest {
                probes: vec![by_vector(&[1.0, 2.0]).unwrap()],
                ..batch(&[], false)
            },
            "probes[0].vector",
        ),
    ] {
        let error = labels(bad).await.unwrap_err();
        assert_error(&error, Code::InvalidArgument, "INVALID_FIELD", field);
    }
}
