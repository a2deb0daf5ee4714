//! A collection in memory: its record, its index, its label counts.

use super::drift::Checks;
use super::error::{Error, Resource};
use super::item::GivenVector;
use super::recent::Recent;
use crate::domain::calibration::Calibration;
use crate::domain::{
    At, Embedding, Facets, Fields, Invalid, ItemId, Label, Metric, VectorStorage, Views,
};
use crate::index::{Index, Options, Snapshot};
use crate::store::{CollectionRecord, PayloadIndex, Store, Tag};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the index carries for every row.
pub(super) type RowTag = Arc<Tag>;

/// A loaded collection.
#[derive(Debug)]
pub struct Collection {
    record: CollectionRecord,
    index: Index<RowTag>,
    labels: Mutex<Labels>,
    dropped: AtomicBool,
    calibration: ArcSwapOption<Calibration>,
    indexed: ArcSwap<Indexed>,
    /// Whether a payload index could not be completed.
    uncovered: AtomicBool,
    recent: Recent,
    checks: Checks,
}

/// The payload fields that filters are answered by without reading records.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexed {
    /// None if there never was any.
    pub(super) indexes: Option<Vec<PayloadIndex>>,
    pub(super) fields: Vec<Arc<str>>,
}

impl Indexed {
    pub(super) fn new(indexes: Option<Vec<PayloadIndex>>) -> Self {
        let fields = indexes.iter().flatten();
        Self {
            fields: fields.map(|index| index.field.as_str().into()).collect(),
            indexes,
        }
    }
}

/// How many rows each label has.
#[derive(Debug, Default)]
struct Labels {
    /// The sequence number of the commit that they were last counted with.
    at: u64,
    counts: BTreeMap<Label, u64>,
}

fn index_options(record: &CollectionRecord, store: &Store) -> Options {
    Options {
        rows_in: match record.storage {
            VectorStorage::Memory => None,
            VectorStorage::Disk => Some(store.dir().into()),
        },
        m: record.m as usize,
        ef_construction: record.ef_construction as usize,
        ..Options::new(record.dim as usize, record.metric)
    }
}

impl Collection {
    pub(super) fn new(record: CollectionRecord, store: &Store) -> Self {
        Self {
            index: Index::new(index_options(&record, store)),
            recent: Recent::new(record.dim as usize),
            record,
            labels: Mutex::default(),
            dropped: AtomicBool::new(false),
            calibration: ArcSwapOption::empty(),
            indexed: ArcSwap::default(),
            uncovered: AtomicBool::new(false),
            checks: Checks::default(),
        }
    }

    /// Reads a collection back without rebuilding a graph. Also answers the rows whose
    /// stored vectors nothing needs any more.
    pub(super) fn load(store: &Store, record: CollectionRecord) -> Result<(Self, Vec<u64>), Error> {
        let indexed = Indexed::new(store.payload_indexes(record.number)?);
        let mut facets = stored_facets(store, &record, &indexed);
        let mut tags = store.tags(record.number).peekable();
        let mut labels = BTreeMap::new();
        let mut rows = Vec::new();
        for vector in store.vectors(record.number) {
            let (seq, values) = vector?;
            let mut tag = None;
            // Both scans ascend; every tag has its vector.
            if let Some(next) = tags.next_if(|t| !matches!(t, Ok((s, _)) if *s > seq)) {
                let (tagged, found) = next?;
                if tagged != seq {
                    return Err(Error::Internal(format!(
                        "row {tagged} of collection {} has lost its vector",
                        record.name
                    )));
                }
                if let Some(label) = &found.label {
                    *labels.entry(label.clone()).or_default() += 1;
                }
                let known = Facets {
                    label: found.label.clone(),
                    fields: facets.remove(&seq).unwrap_or_default(),
                };
                tag = Some((Arc::new(found), known));
            }
            let vector = Embedding::new(values, record.dim as usize, record.metric)?;
            rows.push((seq, vector, tag));
        }
        let mut segments = Vec::new();
        for (id, graph) in store.segments(record.number)? {
            match graph {
                Ok(bytes) => segments.push((id, bytes)),
                Err(why) => tracing::error!(collection = %record.name, segment = id, %why,
                    "a sealed segment is damaged: its rows are searched exactly and sealed anew"),
            }
        }
        let calibration = store.calibration(record.number)?.map(Arc::new);
        let loaded = Index::load(index_options(&record, store), segments, rows);
        for (segment, why) in &loaded.broken {
            tracing::error!(collection = %record.name, segment, %why,
                "a sealed segment is damaged: its rows are searched exactly and sealed anew");
        }
        let loaded_at = loaded.index.snapshot().at();
        let collection = Self {
            index: loaded.index,
            recent: Recent::new(record.dim as usize),
            record,
            labels: Mutex::new(Labels {
                at: loaded_at,
                counts: labels,
            }),
            dropped: AtomicBool::new(false),
            calibration: ArcSwapOption::new(calibration),
            indexed: ArcSwap::from_pointee(indexed),
            uncovered: AtomicBool::new(false),
            checks: Checks::default(),
        };
        Ok((collection, loaded.dropped))
    }

    /// What was fixed at creation.
    #[must_use]
    pub fn record(&self) -> &CollectionRecord {
        &self.record
    }

    /// The views of an image that are embedded where a request does not say which.
    pub(super) fn views(&self) -> Views {
        Views::Mean(self.record.views)
    }

    pub(super) fn index(&self) -> &Index<RowTag> {
        &self.index
    }

    pub(super) fn snapshot(&self) -> Snapshot<RowTag> {
        self.index.snapshot()
    }

    /// Checks a vector that is to be stored or looked for here.
    pub(super) fn embedding(&self, field: &str, values: Vec<f32>) -> Result<Embedding, Error> {
        Embedding::new(values, self.record.dim as usize, self.record.metric).map_err(|mut e| {
            e.field = e.field.replacen("vector", field, 1);
            e.into()
        })
    }

    /// Keeps in mind what was asked for.
    pub(super) fn remember_query(&self, query: &Embedding) {
        self.recent.remember(query);
    }

    /// The vectors that were asked for of late, the latest last: what the collection is used for,
    /// where its own rows may lie elsewhere. In memory only.
    #[must_use]
    pub fn recent_queries(&self) -> Vec<Embedding> {
        self.recent.all()
    }

    /// How many of them came so far.
    pub(super) fn queries_so_far(&self) -> u64 {
        self.recent.came()
    }

    /// When its searches were checked by them.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    fn lock_labels(&self) -> MutexGuard<'_, Labels> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts labels in (`+1`) or out (`-1`), with the commit at a sequence number.
    pub(super) fn count_labels(&self, at: u64, changes: &[(Label, i64)]) {
        let mut labels = self.lock_labels();
        labels.at = at;
        for (label, change) in changes {
            let count = labels.counts.entry(label.clone()).or_default();
            *count = count.saturating_add_signed(*change);
            if *count == 0 {
                labels.counts.remove(label);
            }
        }
    }

    /// What `read` says of how many rows each label has, if those are the counts of the state at
    /// a sequence number.
    pub(super) fn counted_at<R>(
        &self,
        at: u64,
        read: impl FnOnce(&BTreeMap<Label, u64>) -> R,
    ) -> Option<R> {
        let labels = self.lock_labels();
        (labels.at == at).then(|| read(&labels.counts))
    }

    /// Up to `limit` labels after `after`, ascending, with their counts.
    pub(super) fn labels(&self, after: Option<&Label>, limit: usize) -> Vec<(Label, u64)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let labels = self.lock_labels();
        let from = after.map_or(Unbounded, Excluded);
        labels
            .counts
            .range((from, Unbounded))
            .take(limit)
            .map(|(label, count)| (label.clone(), *count))
            .collect()
    }

    pub(super) fn label_count(&self) -> usize {
        self.lock_labels().counts.len()
    }

    /// The calibration it keeps, whether or not it holds.
    pub(super) fn kept_calibration(&self) -> Option<Arc<Calibration>> {
        self.calibration.load_full()
    }

    /// The calibration that holds: one of another model says nothing of these vectors.
    pub(super) fn calibration(&self) -> Option<Arc<Calibration>> {
        self.kept_calibration().filter(|c| {
            c.origin.model == self.record.model && c.origin.metric == self.record.metric
        })
    }

    pub(super) fn set_calibration(&self, calibration: Option<Arc<Calibration>>) {
        self.calibration.store(calibration);
    }

    /// The error for what only a calibration can answer.
    pub(super) fn not_calibrated(&self, asked: &str) -> Error {
        let of = |model: &Option<String>| model.clone().unwrap_or_default();
        Error::NotCalibrated {
            asked: asked.to_owned(),
            collection: self.record.name.as_str().to_owned(),
            void: self
                .kept_calibration()
                .map(|c| (of(&c.origin.model), of(&self.record.model))),
        }
    }

    pub(super) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// Refuses writes to a collection that was deleted while they waited.
    pub(super) fn check_alive(&self) -> Result<(), Error> {
        if self.dropped.load(Ordering::Acquire) {
            return Err(Error::not_found(
                Resource::Collection,
                self.record.name.as_str(),
            ));
        }
        Ok(())
    }

    /// Checks a client's vector. Where images are embedded, it must be of the same model, if
    /// the client says whose it is.
    pub(super) fn given(&self, field: &str, given: GivenVector) -> Result<Embedding, Error> {
        match (&self.record.model, given.model) {
            (Some(pinned), Some(model)) if *pinned != model => Err(Error::ModelMismatch {
                field: field.to_owned(),
                given: model,
                collection: self.record.name.as_str().to_owned(),
                pinned: pinned.clone(),
            }),
            _ => self.embedding(field, given.values),
        }
    }

    /// The error for content of the wrong kind.
    pub(super) fn takes(&self, given: &str, field: &str) -> Error {
        let allowed = if self.record.model.is_some() {
            "this collection embeds images"
        } else {
            "this collection takes vectors"
        };
        Invalid::new(field, given, allowed).into()
    }

    /// The distance within which the similarity is at least `min`, a hair too far, so that
    /// rounding loses nothing; `None`: any.
    pub(super) fn max_distance(&self, min: Option<f32>) -> Result<Option<f32>, Error> {
        let Some(min) = min else { return Ok(None) };
        if !min.is_finite() {
            let was = min.to_string();
            return Err(Invalid::new("min_similarity", was, "a finite number is allowed").into());
        }
        if self.record.metric == Metric::Euclidean && min <= 0.0 {
            return Ok(None);
        }
        let distance = self.record.metric.distance(min);
        Ok(Some(distance + distance.abs() * 1e-5 + 1e-6))
    }

    /// The payload fields that are indexed.
    pub(super) fn indexed(&self) -> Arc<Indexed> {
        self.indexed.load_full()
    }

    /// Whether an item is damaged that payload indexes should cover: until the next start, it is
    /// not tried again.
    pub(super) fn is_uncovered(&self) -> bool {
        self.uncovered.load(Ordering::Acquire)
    }

    pub(super) fn set_uncovered(&self) {
        self.uncovered.store(true, Ordering::Release);
    }

    pub(super) fn set_indexed(&self, indexed: Indexed) {
        self.indexed.store(Arc::new(indexed));
    }

    /// The error for a missing item.
    pub(super) fn no_item(id: &ItemId) -> Error {
        Error::not_found(Resource::Item, id.as_str())
    }
}

/// What rows have at indexed fields. What is damaged costs time only: the records are read instead.
fn stored_facets(
    store: &Store,
    record: &CollectionRecord,
    indexed: &Indexed,
) -> HashMap<u64, Fields> {
    let mut all = HashMap::new();
    if indexed.fields.is_empty() {
        return all;
    }
    // One copy of each path for all rows.
    let known = |(path, at): (Arc<str>, At)| {
        let path = indexed.fields.iter().find(|field| **field == path)?;
        Some((Arc::clone(path), at))
    };
    for facets in store.facets(record.number) {
        match facets {
            Ok((seq, fields)) => {
                all.insert(seq, fields.into_iter().filter_map(known).collect());
            }
            Err(error) => tracing::error!(collection = %record.name, %error,
                "what a row has at indexed fields is damaged: filters read its record"),
        }
    }
    all
}
