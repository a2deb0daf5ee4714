//! Items one by one: the bidirectional stream, and batches that answer each item.

use super::pb;
use super::{convert, edge, status};
use crate::domain::{CollectionName, Invalid, ItemId};
use crate::engine::{Engine, NewItem, Reserved, Staged, Ticket, Upserted};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Items of one stream that are embedded at once.
const EMBEDDING: usize = 128;
/// Items of one stream that wait for their commit at once.
const COMMITTING: usize = 1_024;

/// The answers of a stream.
pub(super) type Answers =
    Pin<Box<dyn Stream<Item = Result<pb::StreamUpsertItemsResponse, Status>> + Send>>;

/// A message, checked and embedded, or why not.
struct Step {
    tag: u64,
    id: String,
    staged: Result<Staged, Status>,
}

/// A message whose write is queued, or why not.
struct Waiting {
    tag: u64,
    id: String,
    ticket: Result<Ticket, Status>,
}

/// Stores a stream: many items are embedded at once, but written in the order they came in.
///
/// The client is read only as fast as items are embedded and written; the stream ends with
/// its last answer, also when the server is asked to stop in between.
pub(super) fn upsert(
    engine: Arc<Engine>,
    requests: Streaming<pb::StreamUpsertItemsRequest>,
) -> Answers {
    let (queued, waiting) = mpsc::channel::<Result<Waiting, Status>>(COMMITTING);
    tokio::spawn(feed(engine, requests, queued));
    let answers = ReceiverStream::new(waiting)
        .map(|waiting| async move {
            let waiting = waiting?;
            let done = match waiting.ticket {
                Ok(ticket) => ticket.durable().await.map_err(Status::from),
                Err(status) => Err(status),
            };
            Ok(answer(waiting.tag, waiting.id, done))
        })
        .buffer_unordered(COMMITTING);
    Box::pin(answers)
}

/// Reads the client until it ends, breaks off, or nobody takes the answers any more.
async fn feed(
    engine: Arc<Engine>,
    requests: Streaming<pb::StreamUpsertItemsRequest>,
    queued: mpsc::Sender<Result<Waiting, Status>>,
) {
    let mut name = String::new();
    let steps = requests
        .map(|message| {
            let message = message.map_err(|status| edge::explain(&status))?;
            if !message.collection.is_empty() {
                name.clone_from(&message.collection);
            }
            Ok((name.clone(), message))
        })
        // One at a time: the next message is not taken before there is memory for this one.
        .then(|message: Result<_, Status>| {
            let engine = Arc::clone(&engine);
            async move {
                let (name, message) = message?;
                let id = message
                    .item
                    .as_ref()
                    .map_or_else(String::new, |i| i.id.clone());
                let admitted = admit(&engine, name, message.item).await;
                Ok((message.tag, id, admitted))
            }
        })
        .map(|message: Result<_, Status>| {
            let engine = Arc::clone(&engine);
            async move {
                let (tag, id, admitted) = message?;
                let staged = match admitted {
                    Ok((collection, item, bytes)) => {
                        let staged = engine.stage(&collection, item, bytes).await;
                        staged.map_err(Status::from)
                    }
                    Err(status) => Err(status),
                };
                Ok(Step { tag, id, staged })
            }
        })
        .buffered(EMBEDDING)
        // A client that is silent must not keep alive what nobody listens to.
        .take_until(queued.closed());
    let mut steps = std::pin::pin!(steps);
    while let Some(step) = steps.next().await {
        let waiting = match step {
            Ok(step) => {
                let ticket = match step.staged {
                    Ok(staged) => engine.enqueue(staged).await.map_err(Status::from),
                    Err(status) => Err(status),
                };
                Ok(Waiting {
                    tag: step.tag,
                    id: step.id,
                    ticket,
                })
            }
            Err(status) => Err(status),
        };
        let broken = waiting.is_err();
        if queued.send(waiting).await.is_err() || broken {
            return;
        }
    }
}

/// Parses an item, and waits until there is memory for it.
async fn admit(
    engine: &Engine,
    name: String,
    item: Option<pb::Item>,
) -> Result<(CollectionName, NewItem, Reserved), Status> {
    let collection = convert::collection(name)?;
    let item = convert::new_item(item, "item")?;
    let bytes = engine.reserve(std::slice::from_ref(&item)).await?;
    Ok((collection, item, bytes))
}

fn answer(tag: u64, id: String, done: Result<Upserted, Status>) -> pb::StreamUpsertItemsResponse {
    match done {
        Ok(done) => pb::StreamUpsertItemsResponse {
            tag,
            id: done.id.into(),
            created: done.created,
            status: Some(status::ok()),
        },
        Err(error) => pb::StreamUpsertItemsResponse {
            tag,
            id,
            created: false,
            status: Some(status::to_proto(&error)),
        },
    }
}

/// Stores the good ones of a batch, and answers a status for each.
pub(super) async fn each(
    engine: &Engine,
    collection: &CollectionName,
    items: Vec<pb::Item>,
    request_id: &str,
) -> Result<Vec<pb::ItemResult>, Status> {
    engine.check_batch("items", items.len())?;
    check_request_id(engine, request_id)?;
    let mut seen = HashSet::new();
    let work = items.into_iter().enumerate().map(|(nth, message)| {
        let id = ItemId::new(message.id.clone()).ok();
        let item = match &id {
            Some(id) if !seen.insert(id.clone()) => Err(status::invalid(&Invalid::new(
                format!("items[{nth}].id"),
                format!("{:?} a second time", id.as_str()),
                "the ids of a batch must be distinct",
            ))),
            _ => convert::new_item(Some(message), &format!("items[{nth}]")),
        };
        let request_id = remembered_as(request_id, nth);
        async move {
            let stored = async {
                Ok(engine
                    .upsert_waiting(collection, item?, &request_id)
                    .await?)
            };
            match stored.await {
                Ok(done) => pb::ItemResult {
                    id: done.id.into(),
                    created: done.created,
                    status: Some(status::ok()),
                },
                Err(why) => pb::ItemResult {
                    id: id.map_or_else(String::new, String::from),
                    created: false,
                    status: Some(status::to_proto(&why)),
                },
            }
        }
    });
    Ok(join_all(work).await)
}

fn check_request_id(engine: &Engine, id: &str) -> Result<(), Status> {
    let max = engine.limits().max_request_id_bytes;
    if id.len() <= max {
        return Ok(());
    }
    let was = format!("{} bytes", id.len());
    let allowed = format!("at most {max} bytes are allowed");
    Err(status::invalid(&Invalid::new("request_id", was, allowed)))
}

/// The request id of one item: each is remembered on its own, under an id that is no longer
/// than a client's may be and that no client gives by chance.
fn remembered_as(request_id: &str, nth: usize) -> String {
    if request_id.is_empty() {
        return String::new();
    }
    let hash = blake3::hash(format!("{request_id}/{nth}").as_bytes());
    hash.to_hex()[..32].to_owned()
}
