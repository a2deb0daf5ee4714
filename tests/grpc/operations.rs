//! Long work: trainings asked for, waited for, cancelled, and what a restart makes of them.

use super::support::*;
use lro::operation::Result as Ended;
use pb::train_model_request::Length;
use prost::Message;
use tonic::{Code, Status};
use twindex::engine::{Limits, Options};
use twindex::grpc::{longrunning as lro, pb};

/// A collection of drawings: 8 labels of 3 items.
async fn drawings(service: &Service, name: &str) {
    service.images(name).await;
    let mut items = Vec::new();
    for character in 0..8 {
        for hand in 0..3 {
            let label = format!("label{character}");
            items.push(image_item("", &label, glyph(character, hand)));
        }
    }
    let request = pb::BatchUpsertItemsRequest {
        collection: name.into(),
        items,
        ..Default::default()
    };
    service.items().batch_upsert_items(request).await.unwrap();
}

fn training(collection: &str, length: Length) -> pb::TrainModelRequest {
    pb::TrainModelRequest {
        collection: collection.into(),
        length: Some(length),
        ..Default::default()
    }
}

/// One that nobody waits for to end.
fn endless(collection: &str) -> pb::TrainModelRequest {
    training(collection, Length::Minutes(600.0))
}

async fn train(
    service: &Service,
    request: pb::TrainModelRequest,
) -> Result<lro::Operation, Status> {
    Ok(service.models().train_model(request).await?.into_inner())
}

async fn get(service: &Service, name: &str) -> Result<lro::Operation, Status> {
    let request = lro::GetOperationRequest { name: name.into() };
    Ok(service
        .operations()
        .get_operation(request)
        .await?
        .into_inner())
}

async fn wait(service: &Service, name: &str) -> lro::Operation {
    let request = lro::WaitOperationRequest {
        name: name.into(),
        timeout: None,
    };
    let waited = service.operations().wait_operation(request).await;
    let operation = waited.unwrap().into_inner();
    assert!(operation.done);
    operation
}

async fn cancel(service: &Service, name: &str) -> Result<(), Status> {
    let request = lro::CancelOperationRequest { name: name.into() };
    service
        .operations()
        .cancel_operation(request)
        .await
        .map(|_| ())
}

async fn delete(service: &Service, name: &str) -> Result<(), Status> {
    let request = lro::DeleteOperationRequest { name: name.into() };
    service
        .operations()
        .delete_operation(request)
        .await
        .map(|_| ())
}

async fn list(service: &Service, page_size: i32) -> Vec<lro::Operation> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = lro::ListOperationsRequest {
            page_size,
            page_token,
            ..Default::default()
        };
        let page = service.operations().list_operations(request).await.unwrap();
        let page = page.into_inner();
        all.extend(page.operations);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn about(operation: &lro::Operation) -> pb::TrainModelMetadata {
    let any = operation.metadata.clone().unwrap();
    assert_eq!(
        any.type_url,
        "type.googleapis.com/twindex.v1.TrainModelMetadata"
    );
    pb::TrainModelMetadata::decode(&*any.value).unwrap()
}

fn made(operation: lro::Operation) -> pb::TrainModelResponse {
    let Some(Ended::Response(any)) = operation.result else {
        panic!("{operation:?}")
    };
    assert_eq!(
        any.type_url,
        "type.googleapis.com/twindex.v1.TrainModelResponse"
    );
    pb::TrainModelResponse::decode(&*any.value).unwrap()
}

fn failed(operation: lro::Operation) -> Status {
    let Some(Ended::Error(status)) = operation.result else {
        panic!("{operation:?}")
    };
    status_of(Some(status))
}

/// Waits until a training takes its steps.
async fn under_way(service: &Service, name: &str) {
    while about(&get(service, name).await.unwrap()).step == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn nothing_is_left(service: &Service) {
    let scratch = service.dir.path().join("scratch");
    assert!(!scratch.exists() || std::fs::read_dir(scratch).unwrap().count() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_makes_a_model_that_collections_may_take() {
    let mut service = Service::start().await;
    drawings(&service, "learn").await;
    // Neither has what a training needs; both are passed over.
    service
        .put("learn", image_item("u", "", glyph(0, 5)))
        .await
        .unwrap();

    let request = pb::TrainModelRequest {
        name: "own".into(),
        loss: "triplet".into(),
        seed: Some(3),
        request_id: "once".into(),
        ..training("learn", Length::Steps(2))
    };
    let operation = train(&service, request.clone()).await.unwrap();
    assert!(operation.name.starts_with("operations/") && !operation.done);
    assert_eq!(about(&operation).collection, "learn");
    // A retry is the same training.
    let again = train(&service, request.clone()).await.unwrap();
    assert_eq!(again.name, operation.name);

    let ended = wait(&service, &operation.name).await;
    let metadata = about(&ended);
    assert_eq!((metadata.step, metadata.fraction), (2, 1.0));
    assert!(metadata.end_time.is_some() && !metadata.waiting);
    let made_first = made(ended.clone());
    assert_eq!(
        (made_first.steps, made_first.classes, made_first.images),
        (2, 8, 24)
    );
    let version = made_first.model_version;
    assert!(version.starts_with("own-"));

    let request_show = pb::GetModelRequest {
        version: version.clone(),
    };
    let shown = service
        .models()
        .get_model(request_show)
        .await
        .unwrap()
        .into_inner();
    let model = shown.model.unwrap();
    assert!(!model.default && model.collection_count == 0 && model.damage.is_empty());
    let card = twindex::grpc::from_struct(shown.card.unwrap()).unwrap();
    let told = card.fields()["data"].as_str().unwrap().to_owned();
    assert!(told.contains("collection learn"), "{told}");
    // The collection is as it was; a new one takes the model.
    let own = service.setup.encoder.version();
    let put = service
        .put("learn", image_item("x", "", glyph(0, 6)))
        .await
        .unwrap();
    assert_eq!(put.model_version, own);
    let collection = pb::Collection {
        name: "use".into(),
        model_version: version.clone(),
        ..Default::default()
    };
    service.create(collection).await.unwrap();
    let put = service
        .put("use", image_item("x", "", glyph(0, 6)))
        .await
        .unwrap();
    assert_eq!(put.model_version, version);

    // Counted in steps, it makes the same model again.
    let request = pb::TrainModelRequest {
        request_id: String::new(),
        ..request
    };
    let second = train(&service, request).await.unwrap();
    let second = wait(&service, &second.name).await;
    assert_eq!(made(second.clone()).model_version, version);
    nothing_is_left(&service);

    service.restart().await;
    let names = |all: &[lro::Operation]| all.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    let all = list(&service, 1).await;
    assert_eq!(names(&all), [&*operation.name, &*second.name]);
    assert_eq!(list(&service, 0).await, all);
    assert_eq!(all[0], ended);
    delete(&service, &operation.name).await.unwrap();
    assert_eq!(names(&list(&service, 0).await), [&*second.name]);
    service.restart().await;
    assert_eq!(names(&list(&service, 0).await), [&*second.name]);
    let unknown = [
        get(&service, &operation.name).await.map(|_| ()),
        cancel(&service, &operation.name).await,
        delete(&service, &operation.name).await,
    ];
    for status in unknown {
        let status = status.unwrap_err();
        assert_error(&status, Code::NotFound, "OPERATION_NOT_FOUND", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_while_others_wait_and_all_can_be_cancelled() {
    let service = Service::of(Setup {
        engine: Options {
            limits: Limits {
                max_waiting_operations: 1,
                max_operations: 2,
                ..Limits::default()
            },
            ..Options::default()
        },
        ..Setup::default()
    })
    .await;
    drawings(&service, "learn").await;
    let first = train(&service, endless("learn")).await.unwrap().name;
    under_way(&service, &first).await;
    let second = train(&service, endless("learn")).await.unwrap().name;
    assert!(about(&get(&service, &second).await.unwrap()).waiting);
    let status = train(&service, endless("learn")).await.unwrap_err();
    assert_error(&status, Code::ResourceExhausted, "OVERLOADED", "");

    // Waiting for a little tells how it stands.
    let request = lro::WaitOperationRequest {
        name: first.clone(),
        timeout: Some(prost_types::Duration {
            seconds: 0,
            nanos: 1_000_000,
        }),
    };
    let waited = service.operations().wait_operation(request).await;
    let waited = waited.unwrap().into_inner();
    let metadata = about(&waited);
    assert!(!waited.done && metadata.step > 0 && metadata.time_left.is_some());
    // Searches go on beside it.
    let search = pb::SearchRequest {
        collection: "learn".into(),
        probe: by_image(glyph(0, 0)),
        ..Default::default()
    };
    assert!(service.find(search).await.unwrap()[0].similarity > 0.999);

    for name in [&first, &second] {
        let status = delete(&service, name).await.unwrap_err();
        assert_error(&status, Code::FailedPrecondition, "UNDER_WAY", "");
    }
    // The one in the line ends at once, the other after its step.
    cancel(&service, &second).await.unwrap();
    for name in [&second, &first] {
        cancel(&service, name).await.unwrap();
        let status = failed(wait(&service, name).await);
        assert_error(&status, Code::Cancelled, "OPERATION_CANCELLED", "");
        cancel(&service, name).await.unwrap();
    }
    nothing_is_left(&service);
    let request = pb::ListModelsRequest::default();
    let models = service.models().list_models(request).await.unwrap();
    assert_eq!(models.into_inner().models.len(), 1);
    // The oldest beyond the limit is forgotten.
    let third = train(&service, training("learn", Length::Steps(1)))
        .await
        .unwrap()
        .name;
    made(wait(&service, &third).await);
    let all = list(&service, 0).await;
    let names: Vec<_> = all.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, [&*second, &*third]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_interrupts_is_told_as_aborted() {
    let mut service = Service::start().await;
    drawings(&service, "learn").await;
    let running = train(&service, endless("learn")).await.unwrap().name;
    under_way(&service, &running).await;
    let waiting = train(&service, endless("learn")).await.unwrap().name;
    service.restart().await;
    for name in [&running, &waiting] {
        let status = failed(get(&service, name).await.unwrap());
        assert_error(&status, Code::Aborted, "OPERATION_ABORTED", "");
        assert!(status.message().contains("stopped"), "{status:?}");
    }
    nothing_is_left(&service);
    let next = train(&service, training("learn", Length::Steps(1)))
        .await
        .unwrap();
    made(wait(&service, &next.name).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trained_is_refused_with_the_reason() {
    let service = Service::of(Setup {
        engine: Options {
            limits: Limits {
                max_training_images: 25,
                ..Limits::default()
            },
            ..Options::default()
        },
        ..Setup::default()
    })
    .await;
    drawings(&service, "learn").await;
    let steps = |steps| training("learn", Length::Steps(steps));
    let minutes = |minutes| training("learn", Length::Minutes(minutes));
    let named = |name: &str| pb::TrainModelRequest {
        name: name.into(),
        ..steps(1)
    };
    let losing = pb::TrainModelRequest {
        loss: "hope".into(),
        ..steps(1)
    };
    let bad = [
        (minutes(0.0), "minutes"),
        (minutes(f64::NAN), "minutes"),
        (minutes(1_441.0), "minutes"),
        (steps(1_000_001), "steps"),
        (steps(0), "steps"),
        (named("Not a name"), "name"),
        (losing, "loss"),
    ];
    for (request, field) in bad {
        let status = train(&service, request).await.unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    let status = train(&service, training("none", Length::Steps(1)))
        .await
        .unwrap_err();
    assert_error(&status, Code::NotFound, "COLLECTION_NOT_FOUND", "");

    service.vectors("vectors", 2, pb::Metric::Cosine).await;
    let discarding = pb::Collection {
        name: "discarding".into(),
        discard_images: true,
        ..Default::default()
    };
    service.create(discarding).await.unwrap();
    service.images("few").await;
    for (nth, label) in ["a", "a", "b", "c"].into_iter().enumerate() {
        let item = image_item("", label, glyph(nth, 0));
        service.put("few", item).await.unwrap();
    }
    for nth in 0..2 {
        let item = image_item("", "more", glyph(0, 4 + nth));
        service.put("learn", item).await.unwrap();
    }
    let cases = [
        ("vectors", "IMAGES_NOT_KEPT"),
        ("discarding", "IMAGES_NOT_KEPT"),
        ("few", "TOO_FEW_CLASSES"),
        ("learn", "LIMIT_REACHED"),
    ];
    for (collection, reason) in cases {
        let status = train(&service, training(collection, Length::Steps(1)))
            .await
            .unwrap_err();
        assert_error(&status, Code::FailedPrecondition, reason, "");
    }
    assert_eq!(list(&service, 0).await, []);

    let filtered = lro::ListOperationsRequest {
        filter: "done=true".into(),
        ..Default::default()
    };
    let elsewhere = lro::ListOperationsRequest {
        name: "projects/x".into(),
        ..Default::default()
    };
    for (request, field) in [(filtered, "filter"), (elsewhere, "name")] {
        let status = service
            .operations()
            .list_operations(request)
            .await
            .unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    for seconds in [-1, 601] {
        let request = lro::WaitOperationRequest {
            name: "operations/x".into(),
            timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        let status = service
            .operations()
            .wait_operation(request)
            .await
            .unwrap_err();
        assert_error(&status, Code::InvalidArgument, "INVALID_FIELD", "timeout");
    }
}

/// A collection that is deleted while its training waits has nothing to learn from.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_goes_takes_its_training_along() {
    let service = Service::start().await;
    drawings(&service, "keep").await;
    drawings(&service, "go").await;
    let first = train(&service, endless("keep")).await.unwrap().name;
    let second = train(&service, training("go", Length::Steps(1)))
        .await
        .unwrap()
        .name;
    let request = pb::DeleteCollectionRequest {
        name: "go".into(),
        request_id: String::new(),
    };
    service
        .collections()
        .delete_collection(request)
        .await
        .unwrap();
    cancel(&service, &first).await.unwrap();
    let status = failed(wait(&service, &second).await);
    assert_error(&status, Code::FailedPrecondition, "OPERATION_UNFIT", "");
}
