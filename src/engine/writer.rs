//! The only writer: takes what waits, commits it as one, shows it, then answers.

use super::collection::{Collection, RowTag};
use super::error::{Error, Resource};
use super::item::{Change, Ready};
use super::items::Reserved;
use super::payload_index;
use super::plan::Plan;
use super::requests::{Outcome, RequestKey};
use super::{Inner, now_ms};
use crate::domain::calibration::Calibration;
use crate::domain::{CollectionName, Filter, ItemId};
use crate::index::Built;
use crate::store::{Batch, CollectionRecord, ModelRecord};
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};

/// Most writes in one commit.
const MAX_GROUP: usize = 1_024;
/// A commit takes no further write beyond this many bytes of items.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Write {
    /// Creates a collection; its number is not set yet.
    Create(CollectionRecord),
    /// Deletes a collection.
    Drop(CollectionName),
    /// Keeps a model whose file is aside, if it is new; else only remembers the request.
    AddModel {
        record: ModelRecord,
        is_new: bool,
        /// The right to touch models' files, until it is done.
        files: OwnedMutexGuard<()>,
    },
    /// Deletes a model.
    RemoveModel {
        version: String,
        files: OwnedMutexGuard<()>,
    },
    /// Stores items with distinct ids, all or none.
    Upsert(Arc<Collection>, Vec<Ready>),
    /// Changes an item.
    Update(Arc<Collection>, ItemId, Change),
    /// Deletes items.
    Delete(Delete),
    /// Sets or forgets a collection's calibration.
    Calibrate(Arc<Collection>, Option<Box<Calibration>>),
    /// Changes a collection's payload indexes.
    Index(Arc<Collection>, payload_index::Change),
    /// Keeps what rows have at indexed fields.
    Facets(Arc<Collection>, Vec<payload_index::Row>),
    /// Makes a sealed segment part of its collection.
    Install(Arc<Collection>, Box<Built<RowTag>>),
}

/// Deletes those of the items that are there and match.
#[derive(Debug)]
pub(super) struct Delete {
    pub(super) collection: Arc<Collection>,
    pub(super) ids: Vec<ItemId>,
    pub(super) filter: Option<Filter>,
    /// What earlier parts of one request deleted: the answer counts all.
    pub(super) earlier: u64,
}

impl Delete {
    pub(super) fn ids(collection: Arc<Collection>, ids: Vec<ItemId>) -> Self {
        Self {
            collection,
            ids,
            filter: None,
            earlier: 0,
        }
    }
}

impl Write {
    /// Writes that are committed alone: they change what other writes stand on.
    fn stands_alone(&self) -> bool {
        !matches!(self, Self::Upsert(..) | Self::Update(..) | Self::Delete(_))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Upsert(_, items) => items.iter().map(Ready::bytes).sum(),
            Self::Delete(delete) => delete.ids.len() * 64,
            _ => 1_024,
        }
    }
}

/// A write, and who waits for it.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) write: Write,
    pub(super) request: Option<RequestKey>,
    pub(super) answer: oneshot::Sender<Result<Outcome, Error>>,
    /// The memory an item of a stream takes, given back once it is written: a client that
    /// does not read its answers must not hold on to it.
    pub(super) bytes: Option<Reserved>,
}

/// Hands in a write from the background, and waits until it is done.
pub(super) fn hand_in(queue: &mpsc::WeakSender<Op>, write: Write) -> Result<(), Error> {
    let queue = queue.upgrade().ok_or(Error::Closed)?;
    let (answer, answered) = oneshot::channel();
    let op = Op {
        write,
        request: None,
        answer,
        bytes: None,
    };
    queue.blocking_send(op).map_err(|_| Error::Closed)?;
    drop(queue);
    answered.blocking_recv().map_err(|_| Error::Closed)??;
    Ok(())
}

/// Runs until every sender is gone and the queue is empty.
pub(super) fn run(inner: &Inner, mut queue: mpsc::Receiver<Op>) {
    let mut held: Option<Op> = None;
    loop {
        let Some(first) = held.take().or_else(|| queue.blocking_recv()) else {
            return;
        };
        if first.write.stands_alone() {
            alone(inner, first);
            continue;
        }
        let mut bytes = first.write.bytes();
        let mut group = vec![first];
        while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
            match queue.try_recv() {
                Ok(op) if op.write.stands_alone() => {
                    held = Some(op);
                    break;
                }
                Ok(op) => {
                    bytes += op.write.bytes();
                    group.push(op);
                }
                Err(_) => break,
            }
        }
        together(inner, group);
    }
}

/// Commits a group of item writes as one, shows them, and answers.
fn together(inner: &Inner, group: Vec<Op>) {
    let mut plan = Plan::new(inner, now_ms());
    let mut planned = Vec::with_capacity(group.len());
    let mut held = Vec::with_capacity(group.len());
    for op in group {
        // Nobody waits any more (deadline, cancellation): it is not done.
        if op.answer.is_closed() {
            continue;
        }
        let outcome = plan.add(op.write, op.request.as_ref());
        planned.push((op.answer, outcome));
        held.push(op.bytes);
    }
    let committed = plan.commit();
    drop(held);
    for (answer, outcome) in planned {
        let outcome = match (&committed, outcome) {
            (Err(e), Ok(_)) => Err(e.again()),
            (_, outcome) => outcome,
        };
        // The caller may have gone in the meantime; the write stands.
        let _ = answer.send(outcome);
    }
    inner.wake_background();
}

fn alone(inner: &Inner, op: Op) {
    if op.answer.is_closed() {
        return;
    }
    let outcome = match remembered(inner, op.request.as_ref()) {
        Err(e) => Err(e),
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => match op.write {
            Write::Create(record) => create(inner, record, op.request.as_ref()),
            Write::Drop(name) => drop_collection(inner, &name, op.request.as_ref()),
            Write::AddModel {
                record,
                is_new,
                files: _files,
            } => add_model(inner, record, is_new, op.request.as_ref()),
            Write::RemoveModel {
                version,
                files: _files,
            } => remove_model(inner, &version, op.request.as_ref()),
            Write::Calibrate(collection, calibration) => {
                calibrate(inner, &collection, calibration, op.request.as_ref())
            }
            Write::Index(collection, change) => {
                payload_index::change(inner, &collection, &change, op.request.as_ref())
            }
            Write::Facets(collection, rows) => payload_index::keep(inner, &collection, rows),
            Write::Install(collection, built) => install(inner, &collection, *built),
            Write::Upsert(..) | Write::Update(..) | Write::Delete(..) => {
                Err(Error::Internal("an item write outside a group".into()))
            }
        },
    };
    let _ = op.answer.send(outcome);
    inner.wake_background();
}

fn remembered(inner: &Inner, key: Option<&RequestKey>) -> Result<Option<Outcome>, Error> {
    let Some(key) = key else { return Ok(None) };
    match inner.store.request(key.as_bytes())? {
        Some((_, bytes)) => Outcome::decode(&bytes).map(Some),
        None => Ok(None),
    }
}

/// Remembers the answer to a request, if it bears an id.
pub(super) fn remember(
    batch: &mut Batch,
    key: Option<&RequestKey>,
    outcome: &Outcome,
) -> Result<(), Error> {
    if let Some(key) = key {
        batch.put_request(key.as_bytes(), now_ms(), &outcome.encode()?);
    }
    Ok(())
}

fn create(
    inner: &Inner,
    mut record: CollectionRecord,
    request: Option<&RequestKey>,
) -> Result<Outcome, Error> {
    if inner.collection(&record.name).is_ok() {
        let name = record.name;
        return Err(Error::AlreadyExists {
            resource: Resource::Collection,
            name: name.into(),
        });
    }
    inner.check_room_for_collection()?;
    // It was there when this write was queued; it may have been deleted since.
    if let Some(model) = &record.model
        && inner.models.dim(model).is_none()
    {
        return Err(Error::not_found(Resource::Model, model.as_str()));
    }
    record.number = inner.store.next_collection_number()?;
    let outcome = Outcome::Created(Box::new(record.clone()));
    let mut batch = Batch::new();
    batch.put_collection(&record);
    batch.set_next_collection_number(record.number + 1);
    remember(&mut batch, request, &outcome)?;
    inner.store.commit(batch)?;
    inner.add(Collection::new(record, &inner.store));
    Ok(outcome)
}

fn drop_collection(
    inner: &Inner,
    name: &CollectionName,
    request: Option<&RequestKey>,
) -> Result<Outcome, Error> {
    let collection = inner.collection(name)?;
    let outcome = Outcome::Deleted(1);
    let mut batch = Batch::new();
    batch.drop_collection(collection.record().number);
    remember(&mut batch, request, &outcome)?;
    inner.store.commit(batch)?;
    inner.remove(&collection);
    Ok(outcome)
}

fn add_model(
    inner: &Inner,
    record: ModelRecord,
    is_new: bool,
    request: Option<&RequestKey>,
) -> Result<Outcome, Error> {
    let outcome = Outcome::Imported(Box::new(record.clone()));
    let mut batch = Batch::new();
    remember(&mut batch, request, &outcome)?;
    if is_new {
        batch.put_model(&record);
    }
    inner.store.commit(batch)?;
    if is_new {
        inner.store.place_model(&record.version)?;
        inner.models.add(record);
    }
    Ok(outcome)
}

fn remove_model(
    inner: &Inner,
    version: &str,
    request: Option<&RequestKey>,
) -> Result<Outcome, Error> {
    inner.check_removable(version)?;
    let outcome = Outcome::Deleted(1);
    let mut batch = Batch::new();
    batch.delete_model(version);
    remember(&mut batch, request, &outcome)?;
    inner.store.displace_model(version)?;
    if let Err(error) = inner.store.commit(batch) {
        inner.store.place_model(version)?;
        return Err(error.into());
    }
    inner.store.remove_model(version)?;
    inner.models.remove(version);
    Ok(outcome)
}

fn calibrate(
    inner: &Inner,
    collection: &Collection,
    calibration: Option<Box<Calibration>>,
    request: Option<&RequestKey>,
) -> Result<Outcome, Error> {
    let outcome = match &calibration {
        Some(calibration) => Outcome::Calibrated(calibration.clone()),
        None if collection.kept_calibration().is_none() => {
            let name = collection.record().name.as_str();
            return Err(Error::not_found(Resource::Calibration, name));
        }
        None => Outcome::Deleted(1),
    };
    let mut batch = Batch::new();
    remember(&mut batch, request, &outcome)?;
    super::calibrate::keep(inner, collection, calibration, batch)?;
    Ok(outcome)
}

/// The graph's chunks are on disk already; this makes them count.
fn install(inner: &Inner, collection: &Collection, built: Built<RowTag>) -> Result<Outcome, Error> {
    let number = collection.record().number;
    let mut batch = Batch::new();
    if !built.is_empty() {
        batch.add_segment(number, built.id());
    }
    for replaced in built.replaces() {
        batch.remove_segment(number, replaced);
    }
    for dead in built.will_drop() {
        batch.delete_vector(number, *dead);
    }
    if collection.is_dropped() {
        // Its chunks may have come after all else was removed.
        let mut batch = Batch::new();
        batch.remove_segment(number, built.id());
        if !built.is_empty() {
            inner.store.commit(batch)?;
        }
        return Ok(Outcome::Installed);
    }
    inner.store.commit(batch)?;
    collection.index().install(built);
    Ok(Outcome::Installed)
}
