//! A group of item writes on its way to becoming one commit.

use super::Inner;
use super::collection::{Collection, RowTag};
use super::error::Error;
use super::item::{Change, Ready, Stored, Upserted};
use super::requests::{Outcome, RequestKey};
use super::writer::{Delete, Write};
use crate::domain::{Embedding, Facets, ItemId, Label};
use crate::index::Row;
use crate::store::{Batch, ItemRecord, Tag};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

/// What one collection's index will be told once the commit is on disk.
struct Effect {
    collection: Arc<Collection>,
    born: BTreeMap<u64, Row<RowTag>>,
    died: Vec<u64>,
    labels: Vec<(Label, i64)>,
}

/// Writes planned against the store as it will be after those before them.
///
/// Each write first reads and checks everything, then stages: one that fails leaves nothing.
pub(super) struct Plan<'a> {
    inner: &'a Inner,
    now: u64,
    at: u64,
    batch: Batch,
    items: HashMap<(u64, ItemId), Option<ItemRecord>>,
    requests: HashMap<RequestKey, Outcome>,
    effects: BTreeMap<u64, Effect>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(inner: &'a Inner, now: u64) -> Self {
        Self {
            inner,
            now,
            at: inner.sequence(),
            batch: Batch::new(),
            items: HashMap::new(),
            requests: HashMap::new(),
            effects: BTreeMap::new(),
        }
    }

    /// Plans one write and answers what it will have done.
    pub(super) fn add(
        &mut self,
        write: Write,
        request: Option<&RequestKey>,
    ) -> Result<Outcome, Error> {
        if let Some(key) = request
            && let Some(outcome) = self.remembered(key)?
        {
            return Ok(outcome);
        }
        let outcome = match write {
            Write::Upsert(collection, items) => self.upsert(&collection, items),
            Write::Update(collection, id, change) => self.update(&collection, id, change),
            Write::Delete(delete) => self.delete(delete),
            Write::Create(_)
            | Write::Calibrate(..)
            | Write::Index(..)
            | Write::Facets(..)
            | Write::Drop(_)
            | Write::AddModel { .. }
            | Write::RemoveModel { .. }
            | Write::Install(..) => Err(Error::Internal(
                "a write that stands alone in a group".into(),
            )),
        }?;
        if let Some(key) = request {
            self.batch
                .put_request(key.as_bytes(), self.now, &outcome.encode()?);
            self.requests.insert(key.clone(), outcome.clone());
        }
        Ok(outcome)
    }

    fn remembered(&self, key: &RequestKey) -> Result<Option<Outcome>, Error> {
        if let Some(outcome) = self.requests.get(key) {
            return Ok(Some(outcome.clone()));
        }
        match self.inner.store.request(key.as_bytes())? {
            Some((_, bytes)) => Outcome::decode(&bytes).map(Some),
            None => Ok(None),
        }
    }

    fn record(&self, number: u64, id: &ItemId) -> Result<Option<ItemRecord>, Error> {
        match self.items.get(&(number, id.clone())) {
            Some(planned) => Ok(planned.clone()),
            None => Ok(self.inner.store.item(number, id)?),
        }
    }

    fn effect(&mut self, collection: &Arc<Collection>) -> &mut Effect {
        self.effects
            .entry(collection.record().number)
            .or_insert_with(|| Effect {
                collection: Arc::clone(collection),
                born: BTreeMap::new(),
                died: Vec::new(),
                labels: Vec::new(),
            })
    }

    fn upsert(
        &mut self,
        collection: &Arc<Collection>,
        items: Vec<Ready>,
    ) -> Result<Outcome, Error> {
        collection.check_alive()?;
        let number = collection.record().number;
        let before = items
            .iter()
            .map(|item| self.record(number, &item.item.id))
            .collect::<Result<Vec<_>, _>>()?;
        let mut answers = Vec::with_capacity(items.len());
        for (new, old) in items.into_iter().zip(before) {
            let mut record = ItemRecord {
                seq: 0,
                label: new.item.label,
                payload: new.item.payload,
                image: None,
                created_ms: old.as_ref().map_or(self.now, |o| o.created_ms),
                updated_ms: self.now,
                model: collection.record().model.clone(),
            };
            if let Some(old) = &old {
                self.kill(collection, old);
                if let Some(image) = old.image {
                    self.batch.delete_image(number, image);
                }
            }
            if let Some(image) = new.image {
                record.image = Some(self.at + 1);
                self.batch.put_image(number, self.at + 1, &image);
            }
            answers.push(Upserted {
                id: new.item.id.clone(),
                created: old.is_none(),
            });
            self.bear(collection, new.item.id, record, new.vector);
        }
        Ok(Outcome::Upserted(answers))
    }

    fn update(
        &mut self,
        collection: &Arc<Collection>,
        id: ItemId,
        change: Change,
    ) -> Result<Outcome, Error> {
        collection.check_alive()?;
        let number = collection.record().number;
        let old = self
            .record(number, &id)?
            .ok_or_else(|| Collection::no_item(&id))?;
        let mut record = old.clone();
        change.apply(&mut record.label, &mut record.payload)?;
        record.updated_ms = self.now;
        let vector = self.vector(collection, old.seq)?;
        self.kill(collection, &old);
        let stored = Stored::new(id.clone(), &record);
        self.bear(collection, id, record, vector);
        Ok(Outcome::Updated(Box::new(stored)))
    }

    fn delete(&mut self, delete: Delete) -> Result<Outcome, Error> {
        let Delete {
            collection,
            ids,
            filter,
            earlier,
        } = delete;
        collection.check_alive()?;
        let filter = filter.as_ref();
        let number = collection.record().number;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(record) = self.record(number, &id)?
                && filter.is_none_or(|f| f.matches(record.label.as_ref(), &record.payload))
            {
                found.push((id, record));
            }
        }
        let mut deleted = earlier;
        for (id, record) in found {
            // Named twice: it dies once.
            if matches!(self.items.get(&(number, id.clone())), Some(None)) {
                continue;
            }
            deleted += 1;
            self.kill(&collection, &record);
            if let Some(image) = record.image {
                self.batch.delete_image(number, image);
            }
            self.batch.delete_item(number, &id);
            self.items.insert((number, id), None);
        }
        Ok(Outcome::Deleted(deleted))
    }

    /// The vector of a live row, as planned or as indexed.
    fn vector(&mut self, collection: &Arc<Collection>, seq: u64) -> Result<Embedding, Error> {
        if let Some(row) = self.effect(collection).born.get(&seq) {
            return Ok(row.vector.clone());
        }
        let values = collection
            .snapshot()
            .vector(seq)
            .ok_or_else(|| Error::Internal(format!("row {seq} is stored but not in the index")))?;
        collection.embedding("vector", values)
    }

    /// A row's end. Its stored vector stays while a sealed segment may still walk through it.
    fn kill(&mut self, collection: &Arc<Collection>, record: &ItemRecord) {
        let number = collection.record().number;
        self.batch.delete_tag(number, record.seq);
        if collection.indexed().indexes.is_some() {
            self.batch.delete_facets(number, record.seq);
        }
        let effect = self.effect(collection);
        let unborn = effect.born.remove(&record.seq).is_some();
        if !unborn {
            effect.died.push(record.seq);
        }
        if let Some(label) = &record.label {
            effect.labels.push((label.clone(), -1));
        }
        if unborn {
            self.batch.delete_vector(number, record.seq);
        }
    }

    /// A row's beginning, under the next sequence number.
    fn bear(
        &mut self,
        collection: &Arc<Collection>,
        id: ItemId,
        mut record: ItemRecord,
        vector: Embedding,
    ) {
        self.at += 1;
        record.seq = self.at;
        let number = collection.record().number;
        let tag = Tag {
            id: id.clone(),
            label: record.label.clone(),
        };
        let fields = &collection.indexed().fields;
        let facets = Facets::of(record.label.as_ref(), &record.payload, fields);
        if !fields.is_empty() {
            self.batch.put_facets(number, record.seq, &facets);
        }
        self.batch.put_item(number, &id, &record);
        self.batch.put_tag(number, record.seq, &tag);
        self.batch.put_vector(number, record.seq, vector.as_slice());
        let effect = self.effect(collection);
        if let Some(label) = &record.label {
            effect.labels.push((label.clone(), 1));
        }
        let row = Row {
            seq: record.seq,
            vector,
            tag: Arc::new(tag),
            facets,
        };
        effect.born.insert(record.seq, row);
        self.items.insert((number, id), Some(record));
    }

    /// Makes everything planned durable, then visible.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        // A number of its own, so that deletes too have a moment at which they happen.
        self.at += 1;
        self.batch.set_sequence(self.at);
        // Readers who found the store ahead of the index wait here for it to catch up.
        let _gate = self
            .inner
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.inner.store.commit(self.batch)?;
        for effect in self.effects.into_values() {
            let Effect {
                collection,
                born,
                died,
                labels,
            } = effect;
            collection.count_labels(self.at, &labels);
            collection
                .index()
                .apply(self.at, born.into_values().collect(), &died);
        }
        self.inner.set_sequence(self.at);
        Ok(())
    }
}
