use super::support::{Service, assert_error, connect, vector_item};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;
use twindex::grpc::pb;
use twindex::grpc::pb::item_service_client::ItemServiceClient;

const SERVICES: [&str; 7] = [
    "twindex.v1.CollectionService",
    "twindex.v1.ItemService",
    "twindex.v1.SearchService",
    "twindex.v1.DecisionService",
    "twindex.v1.ModelService",
    "google.longrunning.Operations",
    "twindex.v1.CalibrationService",
];

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_and_watched() {
    let mut service = Service::start().await;
    let mut health = HealthClient::new(service.channel.clone());
    for name in SERVICES.iter().copied().chain([""]) {
        let answer = health
            .check(HealthCheckRequest {
                service: name.into(),
            })
            .await
            .unwrap();
        assert_eq!(
            answer.into_inner().status(),
            ServingStatus::Serving,
            "{name}"
        );
    }
    let unknown = health
        .check(HealthCheckRequest {
            service: "nobody".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let details = unknown.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "NOT_FOUND");
    let watched = health
        .watch(HealthCheckRequest {
            service: String::new(),
        })
        .await
        .unwrap();
    let mut watched = watched.into_inner();
    assert_eq!(
        watched.next().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let seen = tokio::spawn(async move { watched.next().await.unwrap().unwrap().status() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(health);
    service.channel = tonic::transport::Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let told = async {
        assert_eq!(
            seen.await.unwrap(),
            ServingStatus::NotServing,
            "it is told before it stops"
        );
    };
    tokio::join!(told, service.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_does_not_keep_the_server() {
    let mut service = Service::start().await;
    let mut watched = Vec::new();
    for name in SERVICES.iter().copied().chain([""]) {
        let request = HealthCheckRequest {
            service: name.into(),
        };
        let mut health = HealthClient::new(service.channel.clone());
        watched.push(health.watch(request).await.unwrap().into_inner());
    }
    // Calls under way would be waited for half a minute.
    let stopped = tokio::time::timeout(Duration::from_secs(20), service.stop());
    stopped.await.expect("it waits for those who watch");
    for watched in watched {
        let told: Vec<_> = watched.map(|told| told.unwrap().status()).collect().await;
        assert_eq!(told.last(), Some(&ServingStatus::NotServing), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_shows_every_service_with_its_comments() {
    let service = Service::start().await;
    let ask = |r| {
        tokio_stream::iter(vec![v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(r),
        }])
    };
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let list = ask(v1::server_reflection_request::MessageRequest::ListServices(
        String::new(),
    ));
    let answer = client
        .server_reflection_info(list)
        .await
        .unwrap()
        .into_inner()
        .next()
        .await
        .unwrap()
        .unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(all)) =
        answer.message_response
    else {
        panic!("a list")
    };
    let names: Vec<&str> = all.service.iter().map(|s| s.name.as_str()).collect();
    for name in SERVICES.iter().copied().chain(["grpc.health.v1.Health"]) {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let symbol = ask(
        v1::server_reflection_request::MessageRequest::FileContainingSymbol(SERVICES[2].into()),
    );
    let answer = client
        .server_reflection_info(symbol)
        .await
        .unwrap()
        .into_inner()
        .next()
        .await
        .unwrap()
        .unwrap();
    let Some(v1::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) =
        answer.message_response
    else {
        panic!("a file")
    };
    let text = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
    assert!(
        text.contains("Finds the k nearest items"),
        "comments are in the descriptors"
    );

    let mut old =
        v1alpha::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let list = tokio_stream::iter(vec![v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    }]);
    assert!(
        old.server_reflection_info(list)
            .await
            .unwrap()
            .into_inner()
            .next()
            .await
            .unwrap()
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_and_field_has_a_comment() {
    use prost::Message;
    let set = prost_types::FileDescriptorSet::decode(twindex::grpc::DESCRIPTORS).unwrap();
    let ours = set.file.iter().filter(|f| f.package() == "twindex.v1");
    let mut checked = 0;
    for file in ours {
        let commented: std::collections::HashSet<Vec<i32>> = file
            .source_code_info
            .as_ref()
            .unwrap()
            .location
            .iter()
            .filter(|l| !l.leading_comments().trim().is_empty())
            .map(|l| l.path.clone())
            .collect();
        let mut check = |path: Vec<i32>, name: String| {
            assert!(
                commented.contains(&path),
                "{}: {name} has no comment",
                file.name()
            );
            checked += 1;
        };
        for (i, message) in (0..).zip(&file.message_type) {
            check(vec![4, i], message.name().to_owned());
            for (j, field) in (0..).zip(&message.field) {
                check(
                    vec![4, i, 2, j],
                    format!("{}.{}", message.name(), field.name()),
                );
            }
        }
        for (i, service) in (0..).zip(&file.service) {
            check(vec![6, i], service.name().to_owned());
            for (j, method) in (0..).zip(&service.method) {
                check(
                    vec![6, i, 2, j],
                    format!("{}.{}", service.name(), method.name()),
                );
            }
        }
    }
    assert!(checked > 150, "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_kept_and_errors_of_the_transport_explained() {
    let service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    // Over HTTP/1.1, where no client of ours gives up first.
    let images = vec![super::support::glyph(0, 0); 500];
    let message = pb::EmbedRequest {
        collection: String::new(),
        images,
        views: 0,
    };
    let message = prost::Message::encode_to_vec(&message);
    let answer = by_web(
        &service,
        "DecisionService/Embed",
        "grpc-timeout: 4m\r\n",
        &message,
    )
    .await;
    assert!(answer.contains("grpc-status: 4"), "{answer}");
    assert!(answer.contains("not%20done%20within"), "{answer}");

    let path =
        tonic::codegen::http::uri::PathAndQuery::from_static("/twindex.v1.SearchService/Nothing");
    let mut grpc = tonic::client::Grpc::new(service.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<pb::SearchRequest, pb::SearchResponse>::default();
    let status = grpc
        .unary(Request::new(pb::SearchRequest::default()), path, codec)
        .await
        .unwrap_err();
    assert_error(&status, Code::Unimplemented, "UNIMPLEMENTED", "");

    let large = pb::Item {
        content: Some(pb::item::Content::Image(vec![0; 17 << 20].into())),
        ..Default::default()
    };
    let status = service.put("v", large).await.unwrap_err();
    assert_error(
        &status,
        Code::InvalidArgument,
        "MESSAGE_TOO_LARGE",
        "request",
    );
}

/// Calls by gRPC-Web, with a message as it is encoded.
async fn by_web(service: &Service, method: &str, headers: &str, message: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0], length.as_slice(), message].concat();
    let mut socket = tokio::net::TcpStream::connect(service.address)
        .await
        .unwrap();
    let head = format!(
        "POST /twindex.v1.{method} HTTP/1.1\r\nhost: x\r\n{headers}content-type: application/grpc-web+proto\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_call_by_grpc_web() {
    let service = Service::start().await;
    let answer = by_web(&service, "CollectionService/ListCollections", "", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("application/grpc-web+proto") && answer.contains("grpc-status:0"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_finished_before_the_server_stops() {
    let mut service = Service::start().await;
    service.vectors("v", 2, pb::Metric::Cosine).await;
    let items: Vec<_> = (0..5_000)
        .map(|n| vector_item(&n.to_string(), "l", &[1.0, n as f32]))
        .collect();
    let count = items.len() as u64;
    let batch = pb::BatchUpsertItemsRequest {
        collection: "v".into(),
        items,
        ..Default::default()
    };
    let mut client = ItemServiceClient::new(connect(service.address).await);
    let mut same = client.clone();
    let writing = async move { client.batch_upsert_items(batch).await.map(drop) };
    let counting = async |items: &mut ItemServiceClient<Channel>| {
        let request = pb::CountItemsRequest {
            collection: "v".into(),
            filter: None,
        };
        items.count_items(request).await.unwrap().into_inner().count
    };
    let stopping = async {
        // Asked second on the same connection: once it is answered, the batch is under way.
        counting(&mut same).await;
        service.restart().await;
    };
    let (written, ()) = tokio::join!(writing, stopping);
    written.unwrap();
    assert_eq!(counting(&mut service.items()).await, count);
}
