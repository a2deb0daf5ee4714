use super::support::{Service, assert_error, by_vector, glyph, image_item, payload, vector_item};
use bytes::Bytes;
use serde_json::json;
use tonic::Code;
use twindex::grpc::pb;

/// A PNG file of one grey level, header and checksums right, whatever its size.
fn png(width: u32, height: u32, rows: u32) -> Bytes {
    fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
        out.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let body = [kind.as_slice(), data].concat();
        out.extend(&body);
        let crc = body.iter().fold(u32::MAX, |mut crc, byte| {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            }
            crc
        });
        out.extend((!crc).to_be_bytes());
    }
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(
        &mut out,
        b"IHDR",
        &[size.as_slice(), &[8, 0, 0, 0, 0]].concat(),
    );
    let raw = vec![0; (width as usize + 1) * rows as usize];
    let mut data = miniz_oxide::deflate::compress_to_vec_zlib(&raw, 9);
    chunk(&mut out, b"IDAT", &std::mem::take(&mut data));
    chunk(&mut out, b"IEND", &[]);
    out.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_images_are_refused_and_the_server_goes_on() {
    let service = Service::start().await;
    service.images("v").await;
    let whole = glyph(0, 0);
    let refused = [
        (Bytes::new(), "IMAGE_EMPTY"),
        (Bytes::from_static(b"hello"), "IMAGE_UNSUPPORTED"),
        (whole.slice(..whole.len() / 2), "IMAGE_CORRUPT"),
        (whole.slice(..30), "IMAGE_CORRUPT"),
        // 100 megapixels, which compress to 100 KB; and a header that lies.
        (png(10_000, 10_000, 100), "IMAGE_TOO_LARGE"),
        (png(60_000, 60_000, 10), "IMAGE_TOO_LARGE"),
        (png(u32::MAX >> 1, 1, 0), "IMAGE_TOO_LARGE"),
        (vec![0; (16 << 20) - 100].into(), "IMAGE_UNSUPPORTED"),
    ];
    for (image, reason) in refused {
        let status = service
            .put("v", image_item("x", "", image))
            .await
            .unwrap_err();
        assert_error(&status, Code::InvalidArgument, reason, "item.image");
    }
    for (id, image) in [
        ("dot", png(1, 1, 1)),
        ("blank", png(7_000, 7_000, 7_000)),
        ("thin", png(5_000, 1, 1)),
    ] {
        service.put("v", image_item(id, "", image)).await.unwrap();
    }
    service
        .put("v", image_item("good", "", whole))
        .await
        .unwrap();
    assert_eq!(service.get("v", "good").await.unwrap().id, "good");
    let status = service
        .put("v", vector_item("x", "", &[1.0; 64]))
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "item.vector",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_vectors_and_names_are_refused() {
    let service = Service::start().await;
    service.vectors("v", 3, pb::Metric::Euclidean).await;
    let vectors: [(&[f32], &str); 6] = [
        (&[], "item.vector"),
        (&[1.0, 2.0], "item.vector"),
        (&[1.0, 2.0, 3.0, 4.0], "item.vector"),
        (&[f32::NAN, 0.0, 0.0], "item.vector[0]"),
        (&[0.0, f32::NEG_INFINITY, 0.0], "item.vector[1]"),
        (&[3e38, 3e38, 3e38], "item.vector"),
    ];
    for (values, field) in vectors {
        let status = service
            .put("v", vector_item("x", "", values))
            .await
            .unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let long = "é".repeat(129);
    for (id, label, field) in [
        (long.as_str(), "", "item.id"),
        ("a\0b", "", "item.id"),
        ("x", long.as_str(), "item.label"),
    ] {
        let status = service
            .put("v", vector_item(id, label, &[0.0; 3]))
            .await
            .unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    for id in [
        "🦀🔥",
        "../../etc/passwd",
        "a b",
        &"x".repeat(256),
        "' OR 1=1",
    ] {
        service
            .put("v", vector_item(id, "ярлык", &[0.0; 3]))
            .await
            .unwrap();
        assert_eq!(service.get("v", id).await.unwrap().id, id);
        service.delete("v", id).await.unwrap();
    }
    let none = pb::UpsertItemRequest {
        collection: "v".into(),
        item: None,
        request_id: String::new(),
    };
    let status = service.items().upsert_item(none).await.unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "item");
    let status = service.put("v", pb::Item::default()).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "item.content",
    );
    let zero = pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[0.0; 3]),
        ..Default::default()
    };
    assert_eq!(service.find(zero).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_have_a_depth_and_a_size() {
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let put = |json| pb::Item {
        payload: payload(json),
        ..vector_item("x", "", &[1.0])
    };
    let nested = |depth: usize| {
        let mut value = json!({});
        for _ in 1..depth {
            value = json!({ "k": value });
        }
        value
    };
    service.put("v", put(nested(32))).await.unwrap();
    let deep = service.get("v", "x").await.unwrap().payload;
    assert_eq!(deep, payload(nested(32)));
    // The decoder's own limit comes first for objects, ours for what it lets through.
    let status = service.put("v", put(nested(1_000))).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "MALFORMED_MESSAGE",
        "request",
    );
    let mut list = json!([]);
    for _ in 0..40 {
        list = json!([list]);
    }
    let status = service
        .put("v", put(json!({ "k": list })))
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "item.payload",
    );
    service
        .put("v", put(json!({ "k": "x".repeat(65_000) })))
        .await
        .unwrap();
    assert_eq!(
        service.get("v", "x").await.unwrap().payload,
        payload(json!({ "k": "x".repeat(65_000) }))
    );
    let status = service
        .put("v", put(json!({ "k": "x".repeat(65_530) })))
        .await
        .unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "item.payload",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_have_no_cosine_and_are_told_so() {
    let service = Service::start().await;
    let zeros = || vector_item("zeros", "", &[0.0, -0.0]);
    for metric in [pb::Metric::Euclidean, pb::Metric::Dot] {
        let name = format!("{metric:?}").to_lowercase();
        service.vectors(&name, 2, metric).await;
        service.put(&name, zeros()).await.unwrap();
    }
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let good = vector_item("good", "", &[0.0, 1.0]);
    service.put("v", good.clone()).await.unwrap();
    let batch = pb::BatchUpsertItemsRequest {
        collection: "v".into(),
        items: vec![good, zeros()],
        ..Default::default()
    };
    let search = pb::SearchRequest {
        collection: "v".into(),
        probe: by_vector(&[0.0, 0.0]),
        ..Default::default()
    };
    let batch = service.items().batch_upsert_items(batch).await;
    let refused = [
        (service.put("v", zeros()).await.err(), "item.vector"),
        (batch.err(), "items[1].vector"),
        (service.find(search).await.err(), "probe.vector"),
    ];
    for (status, field) in refused {
        let status = status.unwrap();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
        assert!(status.message().contains("zero vector"), "{status:?}");
    }
}
