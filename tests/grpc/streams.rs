//! Streams under load and against the clock.

use super::support::{Service, assert_error, image_item, vector_item};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use twindex::grpc::pb;

/// A message each time the stream is asked, and never two at once: a frame a message, as
/// clients in other languages send them.
fn one_by_one(
    messages: Vec<pb::StreamUpsertItemsRequest>,
) -> impl tokio_stream::Stream<Item = pb::StreamUpsertItemsRequest> {
    futures_util::stream::unfold(messages.into_iter(), |mut rest| async move {
        tokio::task::yield_now().await;
        Some((rest.next()?, rest))
    })
}

fn dot() -> bytes::Bytes {
    let mut png = std::io::Cursor::new(Vec::new());
    let dot = image::DynamicImage::new_luma8(1, 1);
    dot.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_messages_that_are_pushed_back_do_not_cost_the_connection() {
    const STREAMS: usize = 4;
    const MESSAGES: usize = 1_000;
    let service = Service::start().await;
    service.images("dots").await;
    let image = dot();
    let streams = (0..STREAMS).map(|stream| {
        let messages = (0..MESSAGES).map(|n| pb::StreamUpsertItemsRequest {
            collection: "dots".into(),
            item: Some(image_item(&format!("{stream}/{n}"), "", image.clone())),
            tag: n as u64,
        });
        let messages = one_by_one(messages.collect());
        let mut items = service.items();
        async move {
            let answers = items.stream_upsert_items(messages).await.unwrap();
            let answers = answers.into_inner().map(|answer| {
                let answer = answer.unwrap();
                assert_eq!(answer.status.unwrap().code, 0);
                answer.tag
            });
            answers.collect::<BTreeSet<u64>>().await
        }
    });
    // All on one connection, at once.
    for tags in futures_util::future::join_all(streams).await {
        assert_eq!(tags, (0..MESSAGES as u64).collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream() {
    const SOON: Duration = Duration::from_secs(20);
    let service = Service::start().await;
    service.vectors("v", 1, pb::Metric::Euclidean).await;
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    let message = pb::StreamUpsertItemsRequest {
        collection: "v".into(),
        item: Some(vector_item("a", "", &[1.0])),
        tag: 0,
    };
    sender.send(message).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(messages));
    // The client of this test keeps the time of the answer's head only.
    request.set_timeout(Duration::from_secs(5));
    let answers = service.items().stream_upsert_items(request).await;
    let mut answers = answers.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    assert_eq!(answer.status.unwrap().code, 0);
    let end = timeout(SOON, answers.next()).await.unwrap();
    let status = end.unwrap().unwrap_err();
    assert_error(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "");
    assert!(answers.next().await.is_none());
    // Nothing waits for a client that is silent.
    timeout(SOON, sender.closed()).await.unwrap();
}
