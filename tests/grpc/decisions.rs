use super::support::{Service, assert_error, by_image, by_item, by_vector, glyph, vector_item};
use tonic::Code;
use twindex::grpc::pb;

async fn two_labels() -> Service {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Euclidean).await;
    // The nearest to the origin is a b; of the nearest three two are an a.
    for (id, label, x) in [
        ("b1", "b", 1.0),
        ("a1", "a", 2.0),
        ("a2", "a", 3.0),
        ("b2", "b", 30.0),
        ("none", "", 0.5),
    ] {
        service
            .put("v", vector_item(id, label, &[x, 0.0]))
            .await
            .unwrap();
    }
    service
}

fn classify(probe: Option<pb::Probe>, method: pb::ClassifyMethod) -> pb::ClassifyRequest {
    pb::ClassifyRequest {
        collection: "v".into(),
        probe,
        method: method.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_decides_in_its_way() {
    use pb::ClassifyMethod::{Nearest, Prototype, Unspecified, Vote};
    let service = two_labels().await;
    let origin = || by_vector(&[0.0, 0.0]);
    let cases = [
        (
            pb::ClassifyRequest {
                ..classify(origin(), Nearest)
            },
            "b",
            "b1",
            1.0,
        ),
        (classify(origin(), Unspecified), "b", "b1", 1.0),
        (
            pb::ClassifyRequest {
                k: 3,
                ..classify(origin(), Vote)
            },
            "b",
            "b1",
            1.0,
        ),
        (classify(origin(), Prototype), "a", "a1", 2.5),
        // A stored item is not compared with itself.
        (classify(by_item("b1"), Nearest), "a", "a1", 1.0),
    ];
    for (request, label, example, distance) in cases {
        let answer = service
            .decisions()
            .classify(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!((answer.unknown, answer.label.as_str()), (false, label));
        assert_eq!(answer.labels[0].example_id, example);
        assert!((answer.labels[0].distance - distance).abs() < 1e-5);
        assert_eq!(answer.labels.len(), 2, "the unlabelled item is no example");
    }
    let votes = pb::ClassifyRequest {
        k: 3,
        ..classify(origin(), Vote)
    };
    let votes = service
        .decisions()
        .classify(votes)
        .await
        .unwrap()
        .into_inner()
        .labels;
    assert!(
        (votes[0].vote_share - 6.0 / 11.0).abs() < 1e-5
            && (votes[1].vote_share - 5.0 / 11.0).abs() < 1e-5
    );
    let one = pb::ClassifyRequest {
        max_labels: 1,
        ..classify(origin(), Nearest)
    };
    assert_eq!(
        service
            .decisions()
            .classify(one)
            .await
            .unwrap()
            .into_inner()
            .labels
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_like_nothing_is_unknown() {
    let service = two_labels().await;
    for method in [
        pb::ClassifyMethod::Nearest,
        pb::ClassifyMethod::Vote,
        pb::ClassifyMethod::Prototype,
    ] {
        let far = classify(by_vector(&[0.0, 99.0]), method);
        let answer = service
            .decisions()
            .classify(far.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(!answer.unknown, "without a threshold nothing is unknown");
        let strict = pb::ClassifyRequest {
            min_similarity: Some(0.2),
            ..far
        };
        let answer = service
            .decisions()
            .classify(strict)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (answer.unknown, answer.label.as_str(), answer.labels.len()),
            (true, "", 2)
        );
    }
    service.vectors("empty", 2, pb::Metric::Cosine).await;
    let nothing = pb::ClassifyRequest {
        collection: "empty".into(),
        ..classify(by_vector(&[1.0, 0.0]), pb::ClassifyMethod::Prototype)
    };
    let answer = service
        .decisions()
        .classify(nothing)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.unknown, answer.labels), (true, vec![]));
    let filter = Some(pb::Filter {
        condition: Some(pb::filter::Condition::Label(pb::LabelFilter {
            any_of: vec!["a".into()],
        })),
    });
    let only = pb::ClassifyRequest {
        filter,
        ..classify(by_vector(&[0.0, 0.0]), pb::ClassifyMethod::Nearest)
    };
    assert_eq!(
        service
            .decisions()
            .classify(only)
            .await
            .unwrap()
            .into_inner()
            .label,
        "a"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_are_compared_and_claims_verified() {
    let service = two_labels().await;
    let compare = |min| pb::CompareRequest {
        collection: "v".into(),
        a: by_item("a1"),
        b: by_vector(&[3.0, 0.0]),
        min_similarity: min,
        ..Default::default()
    };
    for (min, decision) in [
        (None, pb::Decision::Unspecified),
        (Some(0.5), pb::Decision::Same),
        (Some(0.51), pb::Decision::Different),
    ] {
        let answer = service
            .decisions()
            .compare(compare(min))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.decision(), decision);
        assert!((answer.distance - 1.0).abs() < 1e-6 && (answer.similarity - 0.5).abs() < 1e-6);
    }
    let verify = |probe, label: &str, min| pb::VerifyRequest {
        collection: "v".into(),
        probe,
        label: label.into(),
        min_similarity: min,
        ..Default::default()
    };
    let answer = service
        .decisions()
        .verify(verify(by_vector(&[2.1, 0.0]), "a", Some(0.9)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.decision(), answer.example_id.as_str()),
        (pb::Decision::Same, "a1")
    );
    let answer = service
        .decisions()
        .verify(verify(by_vector(&[2.1, 0.0]), "b", Some(0.9)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.decision(), answer.example_id.as_str()),
        (pb::Decision::Different, "b1")
    );
    let answer = service
        .decisions()
        .verify(verify(by_item("a1"), "a", Some(0.9)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.example_id, "a2", "not compared with itself");
    let status = service
        .decisions()
        .verify(verify(by_vector(&[0.0, 0.0]), "c", Some(0.9)))
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "LABEL_NOT_FOUND", "");
    let cases = [
        (verify(by_vector(&[0.0, 0.0]), "a", None), "min_similarity"),
        (verify(by_vector(&[0.0, 0.0]), "", Some(0.5)), "label"),
        (verify(None, "a", Some(0.5)), "probe"),
    ];
    for (request, field) in cases {
        let status = service.decisions().verify(request).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let status = service
        .decisions()
        .compare(pb::CompareRequest {
            b: None,
            ..compare(None)
        })
        .await
        .unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "b");
    for (request, field) in [
        (
            pb::ClassifyRequest {
                method: 9,
                ..classify(by_vector(&[0.0, 0.0]), pb::ClassifyMethod::Vote)
            },
            "method",
        ),
        (
            pb::ClassifyRequest {
                k: 1_001,
                ..classify(by_vector(&[0.0, 0.0]), pb::ClassifyMethod::Vote)
            },
            "k",
        ),
        (
            pb::ClassifyRequest {
                max_labels: 101,
                ..classify(by_vector(&[0.0, 0.0]), pb::ClassifyMethod::Vote)
            },
            "max_labels",
        ),
    ] {
        let status = service.decisions().classify(request).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_embedded_alike_alone_and_together() {
    let service = two_labels().await;
    service.images("glyphs").await;
    let embed = |collection: &str, images| pb::EmbedRequest {
        collection: collection.into(),
        images,
        views: 0,
    };
    let images: Vec<_> = (0..30).map(|n| glyph(n % 10, n / 10)).collect();
    let together = service
        .decisions()
        .embed(embed("", images.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (together.vectors.len(), together.vectors[0].values.len()),
        (30, 64)
    );
    for (image, vector) in images.iter().zip(&together.vectors) {
        let alone = service
            .decisions()
            .embed(embed("glyphs", vec![image.clone()]))
            .await
            .unwrap()
            .into_inner();
        let apart = alone.vectors[0]
            .values
            .iter()
            .zip(&vector.values)
            .map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) <= 1e-5);
    }
    let same = pb::CompareRequest {
        collection: "glyphs".into(),
        a: by_image(glyph(1, 1)),
        b: by_image(glyph(1, 1)),
        ..Default::default()
    };
    assert!(
        service
            .decisions()
            .compare(same)
            .await
            .unwrap()
            .into_inner()
            .similarity
            > 0.999_99
    );
    let status = service
        .decisions()
        .embed(embed("v", vec![glyph(0, 0)]))
        .await
        .unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "images");
    let status = service
        .decisions()
        .embed(embed("", vec![]))
        .await
        .unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "images");
    let bad = vec![glyph(0, 0), bytes::Bytes::from_static(b"GIF89a....")];
    let status = service.decisions().embed(embed("", bad)).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "IMAGE_UNSUPPORTED",
        "images[1]",
    );
}
