//! Reading items: get, list, count, labels.

use super::collection::Collection;
use super::error::Error;
use super::item::Stored;
use super::size::encoded_bytes;
use super::{Engine, Inner};
use crate::domain::{CollectionName, Filter, ItemId, Label, Payload};
use crate::store::ItemRecord;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

/// What of an item to answer beside id, label, payload and times.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    /// The vector.
    pub vector: bool,
    /// The source image, where one is kept.
    pub image: bool,
}

/// An item read.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The item.
    pub stored: Stored,
    /// Its vector, where asked for.
    pub vector: Option<Vec<f32>>,
    /// Its source image, where asked for and kept.
    pub image: Option<Vec<u8>>,
}

impl Found {
    /// About what it takes in a message.
    fn bytes(&self) -> usize {
        let label = self.stored.label.as_ref().map_or(0, |l| l.as_str().len());
        let named = self.stored.id.as_str().len() + label;
        let vector = self.vector.as_ref().map_or(0, |v| v.len() * 4);
        let image = self.image.as_ref().map_or(0, Vec::len);
        256 + named + vector + image + encoded_bytes(&self.stored.payload)
    }
}

/// Bytes after which a page of a list ends early.
const PAGE_BYTES: usize = 8 << 20;

impl Engine {
    /// One item.
    ///
    /// # Errors
    /// No such collection or item.
    pub async fn item(
        &self,
        collection: &CollectionName,
        id: ItemId,
        view: View,
    ) -> Result<Found, Error> {
        let mut found = self.items(collection, vec![id.clone()], view).await?.0;
        found.pop().ok_or_else(|| Collection::no_item(&id))
    }

    /// Several items in the order of `ids`, and the ids that do not exist.
    ///
    /// # Errors
    /// No such collection; too many ids; more than a message holds.
    pub async fn items(
        &self,
        collection: &CollectionName,
        ids: Vec<ItemId>,
        view: View,
    ) -> Result<(Vec<Found>, Vec<ItemId>), Error> {
        self.check_batch("ids", ids.len())?;
        let collection = self.inner.collection(collection)?;
        let inner = Arc::clone(&self.inner);
        let limit = self.limits().max_answer_bytes;
        let work = move |given_up: &AtomicBool| {
            let (mut found, mut missing, mut bytes) = (Vec::new(), Vec::new(), 0);
            for id in ids {
                check_waited_for(given_up)?;
                match read(&inner, &collection, &id, view, |_| true)? {
                    None => missing.push(id),
                    Some(item) => {
                        bytes += item.bytes();
                        // One item that could be stored can be read.
                        if bytes > limit && !found.is_empty() {
                            return Err(Error::TooLarge { limit });
                        }
                        found.push(item);
                    }
                }
            }
            Ok((found, missing))
        };
        self.off_thread(work).await
    }

    /// Up to `limit` items after `after` that match, by id; fewer where they are large. Also
    /// the id to go on after, if there are more.
    ///
    /// # Errors
    /// No such collection, or a damaged record.
    pub async fn list(
        &self,
        collection: &CollectionName,
        filter: Option<Filter>,
        after: Option<ItemId>,
        limit: usize,
        view: View,
    ) -> Result<(Vec<Found>, Option<ItemId>), Error> {
        let collection = self.inner.collection(collection)?;
        let inner = Arc::clone(&self.inner);
        let work = move |given_up: &AtomicBool| {
            let (mut page, mut bytes) = (Vec::<Found>::new(), 0);
            let matches = |record: &ItemRecord| {
                let filter = filter.as_ref();
                filter.is_none_or(|f| f.matches(record.label.as_ref(), &record.payload))
            };
            for next in inner
                .store
                .items(collection.record().number, after.as_ref())
            {
                check_waited_for(given_up)?;
                let (id, record) = next?;
                if !matches(&record) {
                    continue;
                }
                let Some(found) = read(&inner, &collection, &id, view, matches)? else {
                    continue;
                };
                bytes += found.bytes();
                if let Some(last) = page.last()
                    && (page.len() == limit || bytes > PAGE_BYTES)
                {
                    let last = last.stored.id.clone();
                    return Ok((page, Some(last)));
                }
                page.push(found);
            }
            Ok((page, None))
        };
        self.off_thread(work).await
    }

    /// How many items there are, or match.
    ///
    /// # Errors
    /// No such collection, or a damaged record.
    pub async fn count(
        &self,
        collection: &CollectionName,
        filter: Option<Filter>,
    ) -> Result<u64, Error> {
        let matching = match filter {
            None => self.inner.collection(collection)?.snapshot().len(),
            Some(filter) => {
                let collection = self.inner.collection(collection)?;
                self.matching(collection, filter).await?.len()
            }
        };
        Ok(matching as u64)
    }

    /// The ids of the items that match.
    pub(super) async fn matching(
        &self,
        collection: Arc<Collection>,
        filter: Filter,
    ) -> Result<Vec<ItemId>, Error> {
        let inner = Arc::clone(&self.inner);
        let work = move |given_up: &AtomicBool| {
            let mut ids = Vec::new();
            if filter.is_label_only() {
                for (_, tag, _) in collection.snapshot().iter() {
                    check_waited_for(given_up)?;
                    if filter.matches(tag.label.as_ref(), &Payload::default()) {
                        ids.push(tag.id.clone());
                    }
                }
                return Ok(ids);
            }
            for next in inner.store.items(collection.record().number, None) {
                check_waited_for(given_up)?;
                let (id, record) = next?;
                if filter.matches(record.label.as_ref(), &record.payload) {
                    ids.push(id);
                }
            }
            Ok(ids)
        };
        self.off_thread(work).await
    }

    /// Up to `limit` labels after `after` with their counts, ascending.
    ///
    /// # Errors
    /// No such collection.
    pub fn labels(
        &self,
        collection: &CollectionName,
        after: Option<&Label>,
        limit: usize,
    ) -> Result<Vec<(Label, u64)>, Error> {
        Ok(self.inner.collection(collection)?.labels(after, limit))
    }
}

/// Ends work whose answer nobody will see.
fn check_waited_for(given_up: &AtomicBool) -> Result<(), Error> {
    if given_up.load(Ordering::Relaxed) {
        return Err(Error::Closed);
    }
    Ok(())
}

/// Reads an item that is wanted, once it is durable: a record ahead of the index is still
/// being committed.
fn read(
    inner: &Inner,
    collection: &Collection,
    id: &ItemId,
    view: View,
    wanted: impl Fn(&ItemRecord) -> bool,
) -> Result<Option<Found>, Error> {
    let number = collection.record().number;
    let whole = |record: &ItemRecord| -> Result<Option<Found>, Error> {
        if !wanted(record) {
            return Ok(None);
        }
        let mut found = Found {
            stored: Stored::new(id.clone(), record),
            vector: None,
            image: None,
        };
        if view.vector {
            found.vector = collection.snapshot().vector(record.seq);
            if found.vector.is_none() {
                return Ok(None);
            }
        }
        if let Some(image) = record.image.filter(|_| view.image) {
            found.image = inner.store.image(number, image)?;
            if found.image.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    };
    let Some(record) = inner.store.item(number, id)? else {
        return Ok(None);
    };
    if record.seq <= collection.snapshot().at()
        && let Some(found) = whole(&record)?
    {
        return Ok(Some(found));
    }
    let _gate = inner.gate.read().unwrap_or_else(PoisonError::into_inner);
    match inner.store.item(number, id)? {
        Some(record) => whole(&record),
        None => Ok(None),
    }
}
