//! Models: in, out, side by side, and what is refused.

use super::support::*;
use bytes::Bytes;
use pb::import_model_request::Content;
use std::sync::Arc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use twindex::encoder::{Card, Encoder, Weights};
use twindex::engine::{Limits, Options};
use twindex::grpc::pb;

async fn list(service: &Service, page_size: i32) -> Vec<pb::Model> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListModelsRequest {
            page_size,
            page_token,
        };
        let page = service.models().list_models(request).await.unwrap();
        let page = page.into_inner();
        all.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn show(service: &Service, version: &str) -> Result<pb::GetModelResponse, Status> {
    let request = pb::GetModelRequest {
        version: version.into(),
    };
    Ok(service.models().get_model(request).await?.into_inner())
}

async fn delete(service: &Service, version: &str, request_id: &str) -> Result<(), Status> {
    let request = pb::DeleteModelRequest {
        version: version.into(),
        request_id: request_id.into(),
    };
    service.models().delete_model(request).await.map(|_| ())
}

async fn export(service: &Service, version: &str) -> Result<Vec<u8>, Status> {
    let request = pb::ExportModelRequest {
        version: version.into(),
    };
    let mut pieces = service.models().export_model(request).await?.into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.next().await {
        file.extend_from_slice(&piece?.data);
    }
    Ok(file)
}

async fn images_of(service: &Service, name: &str, model: &str) -> Result<pb::Collection, Status> {
    let collection = pb::Collection {
        name: name.into(),
        model_version: model.into(),
        ..Default::default()
    };
    service.create(collection).await
}

fn search(collection: &str, probe: Option<pb::Probe>) -> pb::SearchRequest {
    pb::SearchRequest {
        collection: collection.into(),
        probe,
        ..Default::default()
    }
}

async fn embed(service: &Service, collection: &str, image: Bytes) -> pb::EmbedResponse {
    let request = pb::EmbedRequest {
        collection: collection.into(),
        images: vec![image],
        views: 0,
    };
    let embedded = service.decisions().embed(request).await.unwrap();
    embedded.into_inner()
}

fn limited(limits: Limits) -> Setup {
    Setup {
        engine: Options {
            limits,
            ..Options::default()
        },
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_goes_in_and_out_and_outlives_the_server() {
    let mut service = Service::start().await;
    let mut card = Card::new("tiny-1", weights(1, 5).plan);
    card.data = "what it was trained on".into();
    let file = weights(1, 5).to_file(&card).unwrap();
    let version = format!("tiny-1-{}", weights(1, 5).hash());

    let made = service.import("", &file).await.unwrap();
    assert_eq!(
        (made.version.as_str(), made.name.as_str()),
        (&*version, "tiny-1")
    );
    assert_eq!((made.dimension, made.size_bytes), (5, file.len() as u64));
    assert_eq!(made.hash, blake3::hash(&file).to_hex().as_str());
    assert!(made.import_time.is_some() && !made.built_in && !made.default);
    // The same file again is the same model.
    assert_eq!(service.import("", &file).await.unwrap(), made);

    let bundled = service.setup.encoder.version().to_owned();
    let all = list(&service, 1).await;
    assert_eq!(all, list(&service, 0).await);
    let versions: Vec<_> = all.iter().map(|m| m.version.as_str()).collect();
    assert_eq!(versions, [&*bundled, &*version]);
    assert!(all[0].built_in && all[0].default && all[0].size_bytes > 0);

    service.restart().await;
    let shown = show(&service, &version).await.unwrap();
    assert_eq!(shown.model.unwrap(), made);
    let card = twindex::grpc::from_struct(shown.card.unwrap()).unwrap();
    assert_eq!(card.fields()["data"], "what it was trained on");
    assert_eq!(card.fields()["plan"]["dim"], 5);
    assert_eq!(export(&service, &version).await.unwrap(), file);
    let own = export(&service, &bundled).await.unwrap();
    assert_eq!(Encoder::from_bytes(&own).unwrap().version(), bundled);

    delete(&service, &version, "").await.unwrap();
    let gone = [
        show(&service, &version).await.map(|_| ()).unwrap_err(),
        export(&service, &version).await.map(|_| ()).unwrap_err(),
        delete(&service, &version, "").await.unwrap_err(),
        images_of(&service, "a", &version)
            .await
            .map(|_| ())
            .unwrap_err(),
    ];
    for status in gone {
        assert_error(&status, Code::NotFound, "MODEL_NOT_FOUND", "");
        assert!(status.message().contains(&version));
    }
    assert_eq!(list(&service, 0).await.len(), 1);
    assert_eq!(
        std::fs::read_dir(service.dir.path().join("models"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_alike() {
    let service = Service::start().await;
    let file = weights_file("m", &weights(1, 5));
    let import = |id: &str, file: &[u8]| {
        let messages = import_messages("", id, file);
        let mut models = service.models();
        async move { models.import_model(tokio_stream::iter(messages)).await }
    };
    let made = import("one", &file)
        .await
        .unwrap()
        .into_inner()
        .model
        .unwrap();
    delete(&service, &made.version, "two").await.unwrap();
    // What was done is told again, and not done again.
    delete(&service, &made.version, "two").await.unwrap();
    let again = import("one", &file)
        .await
        .unwrap()
        .into_inner()
        .model
        .unwrap();
    assert_eq!(again, made);
    assert_eq!(list(&service, 0).await.len(), 1);
    import("three", &file).await.unwrap();
    assert_eq!(list(&service, 0).await.len(), 2);
    let status = import(&"x".repeat(129), &file).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "request_id",
    );
}

/// Two models of different dimensions beside the bundled one, with no memory to keep more than
/// one of them loaded.
#[tokio::test(flavor = "multi_thread")]
async fn collections_are_each_served_by_their_own_model() {
    let mut service = Service::of(limited(Limits {
        max_loaded_bytes: 1,
        ..Limits::default()
    }))
    .await;
    let mut encoders = Vec::new();
    for (name, dim) in [("a", 5), ("b", 7)] {
        let file = weights_file(name, &weights(dim, dim as usize));
        let encoder = Encoder::from_bytes(&file).unwrap();
        let made = service.import("", &file).await.unwrap();
        assert_eq!(made.version, encoder.version());
        let collection = images_of(&service, name, &made.version).await.unwrap();
        assert_eq!(collection.dimension, made.dimension);
        encoders.push((name, encoder));
    }
    service.images("own").await;
    encoders.push(("own", Encoder::clone(&service.setup.encoder)));
    for round in 0..2 {
        for nth in 0..4 {
            for (name, encoder) in &encoders {
                let image = glyph(nth, round);
                let item = image_item(&format!("{round}-{nth}"), &format!("{nth}"), image.clone());
                let put = service.put(name, item).await.unwrap();
                assert_eq!(put.model_version, encoder.version());
                let prepared = encoder.prepare(&image).unwrap();
                let expected = encoder.embed(&[prepared]).unwrap()[0].as_slice().to_vec();
                let embedded = embed(&service, name, image.clone()).await;
                assert_eq!(embedded.model_version, encoder.version());
                assert_eq!(embedded.vectors[0].values, expected);
                let hits = service.find(search(name, by_image(image))).await.unwrap();
                assert_eq!(hits[0].id, format!("{round}-{nth}"), "{name}");
                assert!(hits[0].similarity > 0.999_99);
            }
        }
        service.restart().await;
    }
    let all = list(&service, 0).await;
    let counts: Vec<_> = all
        .iter()
        .map(|m| (m.name.as_str(), m.collection_count))
        .collect();
    assert_eq!(counts[..2], [("a", 1), ("b", 1)]);
    let shown = show(&service, encoders[1].1.version()).await.unwrap();
    assert_eq!(shown.collections, ["b"]);

    // Pinned models stay; the server's own always do.
    let pinned = encoders[0].1.version();
    let status = delete(&service, pinned, "").await.unwrap_err();
    assert_error(&status, Code::FailedPrecondition, "MODEL_IN_USE", "");
    assert!(status.message().contains("\"a\""), "{status:?}");
    let status = delete(&service, encoders[2].1.version(), "")
        .await
        .unwrap_err();
    assert_error(&status, Code::FailedPrecondition, "MODEL_BUILT_IN", "");
    let request = pb::DeleteCollectionRequest {
        name: "a".into(),
        request_id: String::new(),
    };
    service
        .collections()
        .delete_collection(request)
        .await
        .unwrap();
    delete(&service, pinned, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_of_another_model_is_refused() {
    let service = Service::start().await;
    let file = weights_file("same-dim", &weights(1, service.setup.encoder.dim()));
    let other = service.import("", &file).await.unwrap().version;
    service.images("own").await;
    images_of(&service, "other", &other).await.unwrap();
    service
        .put("own", image_item("x", "l", glyph(0, 0)))
        .await
        .unwrap();

    let of = |vector: pb::Vector| {
        Some(pb::Probe {
            content: Some(pb::probe::Content::Vector(vector)),
            ..Default::default()
        })
    };
    let own = embed(&service, "own", glyph(0, 0)).await.vectors.remove(0);
    let stale = embed(&service, "other", glyph(0, 0))
        .await
        .vectors
        .remove(0);
    assert_eq!(stale.model_version, other);
    let hits = service.find(search("own", of(own.clone()))).await.unwrap();
    assert_eq!(hits[0].id, "x");
    let classify = pb::ClassifyRequest {
        collection: "own".into(),
        probe: of(stale.clone()),
        ..Default::default()
    };
    let compare = pb::CompareRequest {
        collection: "own".into(),
        a: of(own),
        b: of(stale.clone()),
        ..Default::default()
    };
    let refused = [
        service
            .find(search("own", of(stale.clone())))
            .await
            .map(|_| ()),
        service.decisions().classify(classify).await.map(|_| ()),
        service.decisions().compare(compare).await.map(|_| ()),
    ];
    for status in refused {
        let status = status.unwrap_err();
        assert_error(&status, Code::FailedPrecondition, "MODEL_MISMATCH", "");
        assert!(
            status.message().contains("vector.model_version"),
            "{status:?}"
        );
    }
    // Who says nothing vouches for it; a collection of vectors has no model to compare with.
    let unsaid = by_vector(&stale.values);
    assert_eq!(service.find(search("own", unsaid)).await.unwrap().len(), 1);
    let dimension = stale.values.len() as u32;
    service.vectors("bare", dimension, pb::Metric::Cosine).await;
    let item = pb::Item {
        content: Some(pb::item::Content::Vector(stale)),
        ..Default::default()
    };
    service.put("bare", item).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_refused_and_leave_nothing() {
    let service = Service::start().await;
    let good = weights(1, 5);
    let file = weights_file("m", &good);
    let plan = good.plan;
    let changed = |change: &dyn Fn(&mut Weights)| {
        let mut weights = good.clone();
        change(&mut weights);
        weights_file("m", &weights)
    };
    let carded = |change: &dyn Fn(&mut Card)| {
        let mut card = Card::new("m", plan);
        change(&mut card);
        good.to_file(&card).unwrap()
    };
    let mut no_card = file.clone();
    let at = file.windows(6).position(|w| w == b"\"card\"").unwrap();
    no_card[at + 1] = b'k';
    let mut long_header = file.clone();
    long_header[..8].copy_from_slice(&(40_u64 << 20).to_le_bytes());
    let mut endless = file.clone();
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases = [
        (Vec::new(), "0 bytes"),
        (b"short".to_vec(), "5 bytes"),
        (vec![0; 100], "safetensors"),
        (file[..file.len() - 1].to_vec(), "safetensors"),
        (file[..50].to_vec(), "safetensors"),
        ([&file[..], b"x"].concat(), "safetensors"),
        (long_header, "at most 1048576"),
        (endless, "at most 1048576"),
        (no_card, "card"),
        (
            carded(&|card| card.architecture = "other".into()),
            "architecture",
        ),
        (carded(&|card| card.name = "../up".into()), "name"),
        (carded(&|card| card.plan.dim = 6), "head"),
        (carded(&|card| card.plan.dim = 0), "dim"),
        (
            carded(&|card| card.data = "x".repeat(70_000)),
            "at most 65536",
        ),
        (changed(&|weights| weights.bias[1] = f32::NAN), "head.bias"),
        (
            changed(&|weights| weights.head[3] = f32::INFINITY),
            "head.weight",
        ),
        (changed(&|weights| weights.head.fill(0.0)), "drawings"),
    ];
    for (file, said) in cases {
        let status = service.import("", &file).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "MODEL_INVALID", "data");
        assert!(status.message().contains(said), "{said}: {status:?}");
    }
    let status = service.import("Not a name", &file).await.unwrap_err();
    assert_error(&status, Code::InvalidArgument, "MODEL_INVALID", "data");
    // More than a weights file may have is not waited for.
    let piece = Bytes::from(vec![0; 1 << 20]);
    let pieces = std::iter::repeat_n(Content::Data(piece), 70);
    let header = Content::Header(pb::ImportModelHeader::default());
    let contents = std::iter::once(header).chain(pieces);
    let messages = contents.map(|content| pb::ImportModelRequest {
        content: Some(content),
    });
    let messages: Vec<_> = messages.collect();
    let sent = service
        .models()
        .import_model(tokio_stream::iter(messages))
        .await;
    let status = sent.unwrap_err();
    assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "data");
    assert!(status.message().contains("at most 67108864"), "{status:?}");

    assert_eq!(list(&service, 0).await.len(), 1);
    let models = service.dir.path().join("models");
    assert!(!models.exists() || std::fs::read_dir(models).unwrap().count() == 0);
    service.import("", &file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_a_header_and_then_data() {
    let service = Service::start().await;
    let data = || Content::Data(Bytes::from_static(b"x"));
    let header = || Content::Header(pb::ImportModelHeader::default());
    let cases = [
        (vec![], "header"),
        (vec![Some(data())], "header"),
        (vec![None], "content"),
        (vec![Some(header()), Some(data()), Some(header())], "header"),
        (vec![Some(header()), None], "content"),
    ];
    for (contents, field) in cases {
        let messages = contents.into_iter();
        let messages = messages.map(|content| pb::ImportModelRequest { content });
        let messages: Vec<_> = messages.collect();
        let sent = service
            .models()
            .import_model(tokio_stream::iter(messages))
            .await;
        assert_error(
            &sent.unwrap_err(),
            Code::InvalidArgument,
            "INVALID_FIELD",
            field,
        );
    }
    let bad = pb::ListModelsRequest {
        page_size: 0,
        page_token: "x".into(),
    };
    let status = service.models().list_models(bad).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        "page_token",
    );
}

/// Begins an import that ends when what is answered is dropped.
async fn begin(
    service: &Service,
    file: &[u8],
) -> (
    tokio::sync::mpsc::Sender<pb::ImportModelRequest>,
    tokio::task::JoinHandle<Result<tonic::Response<pb::ImportModelResponse>, Status>>,
) {
    let (sender, messages) = tokio::sync::mpsc::channel(8);
    for message in import_messages("", "", &file[..10]) {
        sender.send(message).await.unwrap();
    }
    let mut models = service.models();
    let import = async move { models.import_model(ReceiverStream::new(messages)).await };
    (sender, tokio::spawn(import))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_imports_are_under_way() {
    let service = Service::of(limited(Limits {
        max_transfers: 1,
        ..Limits::default()
    }))
    .await;
    let file = weights_file("m", &weights(1, 5));
    let (mut sender, mut open) = begin(&service, &file).await;
    // Until the first has come; it may itself have met one of those that follow.
    let status = loop {
        if open.is_finished() {
            (sender, open) = begin(&service, &file).await;
        }
        match service.import("", &file).await {
            Err(status) => break status,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert_error(&status, Code::ResourceExhausted, "OVERLOADED", "");
    drop(sender);
    let status = open.await.unwrap().unwrap_err();
    assert_error(&status, Code::InvalidArgument, "MODEL_INVALID", "data");
    service.import("", &file).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_import_is_not_waited_for() {
    let service = Service::of(limited(Limits {
        max_transfers: 1,
        import_patience_ms: 100,
        ..Limits::default()
    }))
    .await;
    let file = weights_file("m", &weights(1, 5));
    let (sender, silent) = begin(&service, &file).await;
    let status = silent.await.unwrap().unwrap_err();
    assert_error(&status, Code::DeadlineExceeded, "IMPORT_STALLED", "");
    drop(sender);
    // Its place is free: this asks for one, and for nothing that takes time.
    let own = service.setup.encoder.version();
    assert!(!export(&service, own).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_one_file() {
    let service = Service::of(limited(Limits {
        max_models: 2,
        ..Limits::default()
    }))
    .await;
    let weights = weights(1, 5);
    let made = service
        .import("", &weights_file("m", &weights))
        .await
        .unwrap();
    let mut card = Card::new("m", weights.plan);
    card.data = "something else".into();
    let other = weights.to_file(&card).unwrap();
    let status = service.import("", &other).await.unwrap_err();
    assert_error(&status, Code::AlreadyExists, "MODEL_EXISTS", "");
    assert_eq!(
        show(&service, &made.version).await.unwrap().model.unwrap(),
        made
    );
    // The weights of the bundled one under its name, in a file of another card.
    let bundled = service.setup.encoder.file().unwrap();
    let (same, mut card) = Weights::parse(bundled).unwrap();
    card.data += " and more";
    let status = service
        .import("", &same.to_file(&card).unwrap())
        .await
        .unwrap_err();
    assert_error(&status, Code::AlreadyExists, "MODEL_EXISTS", "");

    let renamed = service.import("other", &other).await.unwrap();
    assert_eq!(renamed.version, format!("other-{}", weights.hash()));
    assert_eq!(service.import("other", &other).await.unwrap(), renamed);
    let status = service.import("third", &other).await.unwrap_err();
    assert_error(&status, Code::FailedPrecondition, "LIMIT_REACHED", "");
    // What is there already is not one more.
    service.import("other", &other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_model_is_told_of_set_aside_and_mended() {
    let mut service = Service::start().await;
    let file = weights_file("m", &weights(1, 5));
    let version = service.import("", &file).await.unwrap().version;
    images_of(&service, "c", &version).await.unwrap();
    service
        .put("c", image_item("x", "", glyph(0, 0)))
        .await
        .unwrap();
    let vector = embed(&service, "c", glyph(0, 0))
        .await
        .vectors
        .remove(0)
        .values;

    let place = service.dir.path().join("models");
    let place = place.join(format!("{version}.safetensors"));
    let mut bad = file.clone();
    *bad.last_mut().unwrap() ^= 1;
    for (change, said) in [
        (Some(&bad[..]), "not the one"),
        (Some(b"x"), "1 bytes"),
        (None, "missing"),
    ] {
        match change {
            Some(bytes) => std::fs::write(&place, bytes).unwrap(),
            None => std::fs::remove_file(&place).unwrap(),
        }
        service.restart().await;
        let by_glyph = || search("c", by_image(glyph(0, 0)));
        for _ in 0..2 {
            let status = service.find(by_glyph()).await.unwrap_err();
            assert_error(&status, Code::FailedPrecondition, "MODEL_UNUSABLE", "");
            let told = status.message();
            assert!(
                told.contains(&version) && told.contains(said),
                "{said}: {told}"
            );
        }
        let status = export(&service, &version).await.unwrap_err();
        assert_error(&status, Code::FailedPrecondition, "MODEL_UNUSABLE", "");
        let shown = show(&service, &version).await.unwrap().model.unwrap();
        assert!(shown.damage.contains(said), "{}", shown.damage);
        // Vectors need no model.
        let hits = service.find(search("c", by_vector(&vector))).await.unwrap();
        assert_eq!(hits[0].id, "x");

        assert_eq!(service.import("", &file).await.unwrap().damage, "");
        let hits = service.find(by_glyph()).await.unwrap();
        assert_eq!(hits[0].id, "x");
        assert_eq!(export(&service, &version).await.unwrap(), file);
    }
}

/// What a collection pins is in its directory, whatever server made it.
#[tokio::test(flavor = "multi_thread")]
async fn the_directory_keeps_the_models_of_its_server() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("given.safetensors");
    std::fs::write(&file, weights_file("given", &weights(1, 5))).unwrap();
    let given = Arc::new(Encoder::load(&file).unwrap());
    let mut service = Service::of(Setup {
        encoder: Arc::clone(&given),
        ..Setup::default()
    })
    .await;
    let all = list(&service, 0).await;
    assert!(all.len() == 2 && all.iter().all(|m| m.built_in && m.import_time.is_none()));
    assert!(all[0].default && all[0].version == given.version());
    service.images("c").await;
    service
        .put("c", image_item("x", "", glyph(0, 0)))
        .await
        .unwrap();
    let bundled = Encoder::bundled().unwrap();
    images_of(&service, "d", bundled.version()).await.unwrap();

    service.setup.encoder = bundled;
    service.restart().await;
    let model = show(&service, given.version())
        .await
        .unwrap()
        .model
        .unwrap();
    assert!(!model.built_in && model.import_time.is_some() && model.collection_count == 1);
    let hits = service
        .find(search("c", by_image(glyph(0, 0))))
        .await
        .unwrap();
    assert_eq!(hits[0].id, "x");
    assert_eq!(list(&service, 0).await.len(), 2);
}
