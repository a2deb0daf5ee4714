//! Streams under load.

use super::support::{Service, image_item};
use std::collections::BTreeSet;
use tokio_stream::StreamExt;
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
