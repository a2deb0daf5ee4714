//! Payload indexes: filters on their fields are answered without reading records.

use super::collection::{Collection, Indexed, RowTag};
use super::error::{Error, Resource};
use super::requests::{Outcome, RequestKey};
use super::writer::{Op, Write, hand_in, remember};
use super::{Engine, Inner};
use crate::domain::{CollectionName, Facets, Invalid, ItemId};
use crate::store::{Batch, PayloadIndex};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use tokio::sync::mpsc;

/// Most payload indexes of a collection: each costs memory for every item.
const MAX_INDEXES: usize = 32;
/// Longest path of a field, in bytes.
const MAX_FIELD_BYTES: usize = 256;
/// Rows whose facets are written in one commit.
const STEP: usize = 1_000;

/// What becomes of a collection's payload indexes.
#[derive(Debug)]
pub(super) enum Change {
    /// One more field; items that are there already follow in the background.
    Add(String),
    /// All items are covered.
    Ready(String),
    /// One less.
    Remove(String),
}

/// A row, and whose it is.
pub(super) type Row = (u64, ItemId);

impl Engine {
    /// Indexes a payload field, if it is not yet; in the background for what is stored already.
    ///
    /// # Errors
    /// No such collection; an empty or too long path; too many indexes.
    pub async fn create_payload_index(
        &self,
        collection: &CollectionName,
        field: String,
        request_id: &str,
    ) -> Result<PayloadIndex, Error> {
        if field.is_empty() || field.len() > MAX_FIELD_BYTES {
            let was = format!("{} bytes", field.len());
            let rule = format!("1 to {MAX_FIELD_BYTES} bytes are allowed");
            return Err(Invalid::new("field", was, rule).into());
        }
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("index", &collection, request_id, self.limits())?;
        let change = Write::Index(Arc::clone(&collection), Change::Add(field.clone()));
        self.write(change, request).await?;
        let indexed = collection.indexed();
        let mut indexes = indexed.indexes.iter().flatten();
        let index = indexes.find(|index| index.field == field);
        // Another request may have deleted it meanwhile.
        index.cloned().ok_or_else(|| no_index(&field))
    }

    /// Forgets an index; filters on the field read records again.
    ///
    /// # Errors
    /// No such collection or index.
    pub async fn delete_payload_index(
        &self,
        collection: &CollectionName,
        field: String,
        request_id: &str,
    ) -> Result<(), Error> {
        let collection = self.inner.collection(collection)?;
        let request = RequestKey::items("unindex", &collection, request_id, self.limits())?;
        let change = Write::Index(Arc::clone(&collection), Change::Remove(field));
        self.write(change, request).await?;
        Ok(())
    }

    /// A collection's payload indexes, in the order they were made.
    ///
    /// # Errors
    /// No such collection.
    pub fn payload_indexes(&self, collection: &CollectionName) -> Result<Vec<PayloadIndex>, Error> {
        let indexed = self.inner.collection(collection)?.indexed();
        Ok(indexed.indexes.clone().unwrap_or_default())
    }
}

fn no_index(field: &str) -> Error {
    Error::not_found(Resource::PayloadIndex, field)
}

/// The writer's part.
pub(super) fn change(
    inner: &Inner,
    collection: &Collection,
    change: &Change,
    request: Option<&RequestKey>,
) -> Result<Outcome, Error> {
    collection.check_alive()?;
    let mut indexes = collection.indexed().indexes.clone().unwrap_or_default();
    let place = |field: &str| indexes.iter().position(|index| index.field == field);
    match change {
        Change::Add(field) if place(field).is_none() => {
            if indexes.len() >= MAX_INDEXES {
                let what = "payload indexes of a collection";
                return Err(Error::Full {
                    what,
                    limit: MAX_INDEXES,
                });
            }
            indexes.push(PayloadIndex {
                field: field.clone(),
                ready: collection.snapshot().is_empty(),
            });
        }
        Change::Add(_) => {}
        Change::Ready(field) => {
            if let Some(place) = place(field) {
                indexes[place].ready = true;
            }
        }
        Change::Remove(field) => {
            let place = place(field).ok_or_else(|| no_index(field))?;
            indexes.remove(place);
        }
    }
    let mut batch = Batch::new();
    batch.put_payload_indexes(collection.record().number, &indexes);
    remember(&mut batch, request, &Outcome::Indexed)?;
    inner.store.commit(batch)?;
    collection.set_indexed(Indexed::new(Some(indexes)));
    if let Change::Remove(field) = change {
        collection.index().untabulate(field);
    }
    Ok(Outcome::Indexed)
}

/// The writer's part: keeps what rows that still live have at the indexed fields.
pub(super) fn keep(
    inner: &Inner,
    collection: &Collection,
    rows: Vec<Row>,
) -> Result<Outcome, Error> {
    let number = collection.record().number;
    let fields = &collection.indexed().fields;
    let mut batch = Batch::new();
    for (seq, id) in rows {
        if let Some(facets) = facets(inner, number, &id, seq, fields)?
            && !collection.is_dropped()
        {
            batch.put_facets(number, seq, &facets);
        }
    }
    if !batch.is_empty() {
        inner.store.commit(batch)?;
    }
    Ok(Outcome::Indexed)
}

/// What a row has at some fields, if it is still the item's.
fn facets(
    inner: &Inner,
    collection: u64,
    id: &ItemId,
    seq: u64,
    fields: &[Arc<str>],
) -> Result<Option<Facets>, Error> {
    let item = inner.store.item(collection, id)?;
    let item = item.filter(|item| item.seq == seq);
    Ok(item.map(|item| Facets::of(item.label.as_ref(), &item.payload, fields)))
}

/// The housekeeper's part: covers the items that were there before an index.
pub(super) fn cover(
    inner: &Inner,
    queue: &mpsc::WeakSender<Op>,
    collection: &Arc<Collection>,
) -> Result<(), Error> {
    let indexed = collection.indexed();
    let indexes = indexed.indexes.iter().flatten();
    let unready = indexes.filter(|index| !index.ready);
    let unready: Vec<Arc<str>> = unready.map(|index| index.field.as_str().into()).collect();
    if unready.is_empty() || collection.is_uncovered() {
        return Ok(());
    }
    let record = collection.record();
    let began = std::time::Instant::now();
    tracing::info!(collection = %record.name, fields = ?unready, "indexing payload fields");
    let (mut known, mut rows) = (HashMap::new(), Vec::new());
    let flush = |rows: &mut Vec<Row>| {
        let rows = std::mem::take(rows);
        hand_in(queue, Write::Facets(Arc::clone(collection), rows))
    };
    for item in inner.store.items(record.number, None) {
        if collection.is_dropped() || inner.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let (id, item) = match item {
            Ok(item) => item,
            Err(error) => {
                tracing::error!(collection = %record.name, %error,
                    "an item is damaged: filters on what was to be indexed read records");
                continue;
            }
        };
        let facets = Facets::of(item.label.as_ref(), &item.payload, &unready);
        known.insert(item.seq, facets);
        rows.push((item.seq, id));
        if rows.len() == STEP {
            flush(&mut rows)?;
        }
    }
    flush(&mut rows)?;
    for field in unready {
        let scanned = |seq: u64, _: &RowTag| known.get(&seq).cloned();
        let index = collection.index();
        index.tabulate_sealed(&field, shown(inner, collection).1, scanned);
        let (gate, since) = shown(inner, collection);
        // What came since the items were read is read now.
        let whole = index.tabulate(&field, since, |seq, tag| {
            let now = || facets(inner, record.number, &tag.id, seq, &[Arc::clone(&field)]);
            known.get(&seq).cloned().or_else(|| now().ok().flatten())
        });
        drop(gate);
        if whole {
            let ready = Change::Ready(field.to_string());
            hand_in(queue, Write::Index(Arc::clone(collection), ready))?;
        } else {
            collection.set_uncovered();
        }
    }
    tracing::info!(collection = %record.name, rows = known.len(),
        seconds = began.elapsed().as_secs_f32(), "indexed payload fields");
    Ok(())
}

/// What is shown of a collection, up to where, while nothing is committed.
fn shown<'a>(inner: &'a Inner, collection: &Collection) -> (RwLockReadGuard<'a, ()>, u64) {
    let gate = inner.gate.read().unwrap_or_else(PoisonError::into_inner);
    let at = collection.snapshot().at();
    (gate, at)
}
