//! Writing items: check, embed, then hand over to the writer.

use super::Engine;
use super::collection::Collection;
use super::embed::Wait;
use super::error::Error;
use super::item::{Change, Content, NewItem, Ready, Stored, Upserted};
use super::requests::{Outcome, RequestKey};
use super::writer::{Delete, Op, Write};
use crate::domain::{CollectionName, Filter, Invalid, Item, ItemId};
use futures_util::future::join_all;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

/// An item that is checked and embedded, on its way to the writer.
#[derive(Debug)]
pub struct Staged {
    collection: Arc<Collection>,
    ready: Ready,
    request: Option<RequestKey>,
    bytes: Reserved,
}

/// Memory set aside, until it is dropped.
#[derive(Debug)]
pub struct Reserved(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// A write in the writer's queue.
#[derive(Debug)]
pub struct Ticket {
    answered: oneshot::Receiver<Result<Outcome, Error>>,
}

impl Ticket {
    /// Waits until the item is durable and visible.
    ///
    /// # Errors
    /// The collection is gone, or the disk failed.
    pub async fn durable(self) -> Result<Upserted, Error> {
        one(self.answered.await.map_err(|_| Error::Closed)??)
    }
}

fn one(outcome: Outcome) -> Result<Upserted, Error> {
    match outcome {
        Outcome::Upserted(mut items) if items.len() == 1 => Ok(items.remove(0)),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(outcome: &Outcome) -> Error {
    Error::Internal(format!("an answer to something else: {outcome:?}"))
}

impl Engine {
    /// Stores an item; one with the same id is replaced. Durable and visible on return.
    ///
    /// # Errors
    /// No such collection; bad content; a full queue; a failed disk.
    pub async fn upsert(
        &self,
        collection: &CollectionName,
        item: NewItem,
        request_id: &str,
    ) -> Result<Upserted, Error> {
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("upsert", &collection, request_id, self.limits())?;
        let _bytes = self.reserve(std::slice::from_ref(&item)).await?;
        let ready = self.ready(&collection, item, Wait::No, "item").await?;
        one(self
            .write(Write::Upsert(collection, vec![ready]), request)
            .await?)
    }

    /// As [`Engine::upsert`], but waits where a queue is full: for items of a batch.
    ///
    /// # Errors
    /// As [`Engine::upsert`], but for a full queue.
    pub async fn upsert_waiting(
        &self,
        collection: &CollectionName,
        item: NewItem,
        request_id: &str,
    ) -> Result<Upserted, Error> {
        let bytes = self.reserve(std::slice::from_ref(&item)).await?;
        let mut staged = self.stage(collection, item, bytes).await?;
        let about = &staged.collection;
        staged.request = RequestKey::items("upsert", about, request_id, self.limits())?;
        self.enqueue(staged).await?.durable().await
    }

    /// Stores items with distinct ids in one commit: all, or none if any is bad.
    ///
    /// # Errors
    /// As [`Engine::upsert`]; the field names the item (`items[3].id`).
    pub async fn upsert_batch(
        &self,
        collection: &CollectionName,
        items: Vec<NewItem>,
        request_id: &str,
    ) -> Result<Vec<Upserted>, Error> {
        self.check_batch("items", items.len())?;
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("batch", &collection, request_id, self.limits())?;
        let mut ids = HashSet::new();
        for (nth, id) in items.iter().enumerate() {
            if let Some(id) = &id.id
                && !ids.insert(id)
            {
                return Err(Invalid::new(
                    format!("items[{nth}].id"),
                    format!("{:?} a second time", id.as_str()),
                    "the ids of a batch must be distinct",
                )
                .into());
            }
        }
        let _bytes = self.reserve(&items).await?;
        let ready = self.ready_all(&collection, items).await;
        let ready = ready.into_iter().collect::<Result<Vec<_>, _>>()?;
        match self
            .write(Write::Upsert(collection, ready), request)
            .await?
        {
            Outcome::Upserted(items) => Ok(items),
            other => Err(unexpected(&other)),
        }
    }

    /// Checks and embeds an item of a stream in memory that was reserved for it, waiting for
    /// room in the encoder's queue.
    ///
    /// # Errors
    /// No such collection, or bad content.
    pub async fn stage(
        &self,
        collection: &CollectionName,
        item: NewItem,
        bytes: Reserved,
    ) -> Result<Staged, Error> {
        let collection = self.inner.collection(collection)?;
        let ready = self.ready(&collection, item, Wait::Yes, "item").await?;
        Ok(Staged {
            collection,
            ready,
            request: None,
            bytes,
        })
    }

    /// Queues a staged item, waiting for room. Items are written in the order of these calls.
    ///
    /// # Errors
    /// The engine is shutting down.
    pub async fn enqueue(&self, staged: Staged) -> Result<Ticket, Error> {
        let (answer, answered) = oneshot::channel();
        let op = Op {
            write: Write::Upsert(staged.collection, vec![staged.ready]),
            request: staged.request,
            answer,
            bytes: Some(staged.bytes),
        };
        let sent = self.sender()?.send(op).await;
        sent.map_err(|_| Error::Closed)?;
        Ok(Ticket { answered })
    }

    /// Changes label or payload of an item without embedding it again.
    ///
    /// # Errors
    /// No such item; a payload that becomes too large.
    pub async fn update(
        &self,
        collection: &CollectionName,
        id: ItemId,
        change: Change,
        request_id: &str,
    ) -> Result<Stored, Error> {
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("update", &collection, request_id, self.limits())?;
        match self
            .write(Write::Update(collection, id, change), request)
            .await?
        {
            Outcome::Updated(stored) => Ok(*stored),
            other => Err(unexpected(&other)),
        }
    }

    /// Deletes one item.
    ///
    /// # Errors
    /// No such collection or item.
    pub async fn delete_one(
        &self,
        collection: &CollectionName,
        id: ItemId,
        request_id: &str,
    ) -> Result<(), Error> {
        match self
            .delete(collection, vec![id.clone()], request_id)
            .await?
        {
            0 => Err(Collection::no_item(&id)),
            _ => Ok(()),
        }
    }

    /// Deletes items by id; ids that do not exist are passed over. Answers how many there were.
    ///
    /// # Errors
    /// No such collection; too many ids.
    pub async fn delete(
        &self,
        collection: &CollectionName,
        ids: Vec<ItemId>,
        request_id: &str,
    ) -> Result<u64, Error> {
        self.check_batch("ids", ids.len())?;
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("delete", &collection, request_id, self.limits())?;
        self.delete_some(Write::Delete(Delete::ids(collection, ids)), request)
            .await
    }

    /// Deletes the items that match, in commits of bounded size. Answers how many there were.
    ///
    /// # Errors
    /// No such collection.
    pub async fn delete_matching(
        &self,
        collection: &CollectionName,
        filter: Filter,
        request_id: &str,
    ) -> Result<u64, Error> {
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("delete", &collection, request_id, self.limits())?;
        if let Some(Outcome::Deleted(n)) = self.remembered(request.as_ref())? {
            return Ok(n);
        }
        let matching = self
            .matching(Arc::clone(&collection), filter.clone())
            .await?;
        let mut rest = matching.as_slice();
        let mut earlier = 0;
        loop {
            let (ids, left) = rest.split_at(rest.len().min(self.limits().max_batch));
            rest = left;
            // Only the last commit is remembered, with the sum of all, also if that is nothing:
            // a retry after a crash finishes the rest.
            let request = request.clone().filter(|_| rest.is_empty());
            let write = Write::Delete(Delete {
                collection: Arc::clone(&collection),
                ids: ids.to_vec(),
                filter: Some(filter.clone()),
                earlier,
            });
            earlier = self.delete_some(write, request).await?;
            if rest.is_empty() {
                return Ok(earlier);
            }
        }
    }

    async fn delete_some(&self, write: Write, request: Option<RequestKey>) -> Result<u64, Error> {
        match self.write(write, request).await? {
            Outcome::Deleted(n) => Ok(n),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn remembered(
        &self,
        request: Option<&RequestKey>,
    ) -> Result<Option<Outcome>, Error> {
        let Some(key) = request else { return Ok(None) };
        match self.inner.store.request(key.as_bytes())? {
            Some((_, bytes)) => Outcome::decode(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Checks that a request names 1 to [`super::Limits::max_batch`] things.
    ///
    /// # Errors
    /// None, or too many.
    pub fn check_batch(&self, field: &str, n: usize) -> Result<(), Error> {
        let max = self.limits().max_batch;
        if (1..=max).contains(&n) {
            return Ok(());
        }
        Err(Invalid::new(
            field,
            format!("{n} entries"),
            format!("1 to {max} are allowed"),
        )
        .into())
    }

    /// Waits until there is memory for the items.
    ///
    /// # Errors
    /// The engine is shutting down.
    pub async fn reserve(&self, items: &[NewItem]) -> Result<Reserved, Error> {
        self.reserve_bytes(items.iter().map(NewItem::bytes).sum())
            .await
    }

    /// Waits until so many bytes of memory may be taken.
    pub(super) async fn reserve_bytes(&self, bytes: usize) -> Result<Reserved, Error> {
        let bytes = bytes.min(self.limits().max_bytes_under_way);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        Ok(Reserved(permit.map_err(|_| Error::Closed)?))
    }

    /// Readies the items of a batch, the embedding of many at once.
    async fn ready_all(
        &self,
        collection: &Arc<Collection>,
        items: Vec<NewItem>,
    ) -> Vec<Result<Ready, Error>> {
        let work = items.into_iter().enumerate().map(|(nth, item)| {
            let outer = format!("items[{nth}]");
            async move { self.ready(collection, item, Wait::Yes, &outer).await }
        });
        join_all(work).await
    }

    async fn ready(
        &self,
        collection: &Collection,
        item: NewItem,
        wait: Wait,
        outer: &str,
    ) -> Result<Ready, Error> {
        let takes_images = collection.record().model.is_some();
        let (vector, image) = match item.content {
            Content::Image(image) if takes_images => {
                let field = format!("{outer}.image");
                let other_view = image.views.is_some_and(|v| !v.with_image_itself());
                let keep = collection.record().keep_images && !other_view;
                let kept = keep.then(|| image.bytes.clone());
                let vector = self.embed_for(collection, &field, image, wait).await?;
                (vector, kept)
            }
            Content::Vector(given) if !takes_images => {
                let vector = collection.given(&format!("{outer}.vector"), given)?;
                (vector, None)
            }
            Content::Image(_) => {
                return Err(collection.takes("an image", &format!("{outer}.image")));
            }
            Content::Vector(_) => {
                return Err(collection.takes("a vector", &format!("{outer}.vector")));
            }
        };
        let id = match item.id {
            Some(id) => id,
            None => ItemId::new(Uuid::now_v7().to_string())?,
        };
        let item = Item {
            id,
            label: item.label,
            payload: item.payload,
        };
        Ok(Ready {
            item,
            vector,
            image,
        })
    }
}
