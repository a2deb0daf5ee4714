//! The models at hand: the server's own, those that are kept, and which of these are loaded.
//!
//! A kept model is loaded when it is first needed; of the loaded ones those used last stay.
//! Those thrown out live on until the images that wait for them are embedded.

use super::collection::Collection;
use super::error::Error;
use super::{Engine, Inner, inspect, lock};
use crate::encoder::Encoder;
use crate::store::{self, ModelRecord, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A model that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: ModelRecord,
    /// Why it cannot be used, if it cannot.
    broken: Mutex<Option<String>>,
}

impl Kept {
    pub(super) fn new(record: ModelRecord) -> Self {
        Self {
            record,
            broken: Mutex::default(),
        }
    }

    pub(super) fn broken(&self) -> Option<String> {
        lock(&self.broken).clone()
    }

    fn set_broken(&self, why: String) {
        tracing::error!(model = %self.record.version, why, "a model cannot be used");
        *lock(&self.broken) = Some(why);
    }

    /// Remembers that it cannot be used; the error that says so.
    fn is_broken(&self, why: String) -> Error {
        self.set_broken(why.clone());
        Error::ModelAbsent {
            model: self.record.version.clone(),
            why,
        }
    }
}

/// Kept models that are loaded, the one used last at the end.
#[derive(Debug, Default)]
struct Loaded(Vec<(Arc<Encoder>, u64)>);

impl Loaded {
    fn get(&mut self, version: &str) -> Option<Arc<Encoder>> {
        let at = self.0.iter().position(|(e, _)| e.version() == version)?;
        let found = self.0.remove(at);
        self.0.push(found);
        self.0.last().map(|(encoder, _)| Arc::clone(encoder))
    }

    /// Adds one; throws out others until all take at most `limit` bytes.
    fn put(&mut self, encoder: Arc<Encoder>, bytes: u64, limit: u64) {
        self.forget(encoder.version());
        self.0.push((encoder, bytes));
        while self.0.len() > 1 && self.0.iter().map(|(_, bytes)| bytes).sum::<u64>() > limit {
            self.0.remove(0);
        }
    }

    fn forget(&mut self, version: &str) {
        self.0.retain(|(encoder, _)| encoder.version() != version);
    }
}

/// A model that is part of the program or of its start: always loaded.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) encoder: Arc<Encoder>,
    /// What would be kept of it, but for a time.
    pub(super) record: ModelRecord,
}

impl Own {
    fn new(encoder: Arc<Encoder>) -> Self {
        let file = encoder.file().cloned().unwrap_or_default();
        Self {
            record: inspect::record(&encoder, &file, 0),
            encoder,
        }
    }
}

/// All models of a server.
#[derive(Debug)]
pub(super) struct Models {
    /// The server's own, which new collections take, and the bundled one.
    own: Vec<Own>,
    kept: RwLock<BTreeMap<String, Arc<Kept>>>,
    loaded: Mutex<Loaded>,
    /// Most bytes of weights that stay loaded.
    limit: u64,
    /// Held while a model's file is written, read or removed.
    pub(super) files: Arc<tokio::sync::Mutex<()>>,
}

impl Models {
    /// Reads what is kept. A model that cannot be used is told of, and the others serve.
    pub(super) fn open(store: &Store, own: Arc<Encoder>, limit: u64) -> Result<Self, Error> {
        let mut records = Vec::new();
        for record in store.models() {
            match record {
                Ok(record) => records.push(record),
                Err(error) => tracing::error!(%error, "a model's record cannot be read"),
            }
        }
        let wrong = store.tidy_models(&records)?;
        let kept: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| (record.version.clone(), Arc::new(Kept::new(record))))
            .collect();
        for (version, why) in wrong {
            if let Some(kept) = kept.get(&version) {
                kept.set_broken(why);
            }
        }
        let limits = own.limits();
        let mut own = vec![Own::new(own)];
        if let Ok(bundled) = Encoder::bundled()
            && bundled.version() != own[0].record.version
        {
            let bundled = Encoder::clone(&bundled).with_limits(limits);
            own.push(Own::new(Arc::new(bundled)));
        }
        Ok(Self {
            own,
            kept: RwLock::new(kept),
            loaded: Mutex::default(),
            limit,
            files: Arc::default(),
        })
    }

    /// The one that new collections take.
    pub(super) fn default_one(&self) -> &Arc<Encoder> {
        &self.own[0].encoder
    }

    /// The server's own one of this version.
    pub(super) fn own(&self, version: &str) -> Option<&Own> {
        self.own.iter().find(|own| own.record.version == version)
    }

    /// The server's own ones, the default first.
    pub(super) fn all_own(&self) -> &[Own] {
        &self.own
    }

    pub(super) fn kept(&self, version: &str) -> Option<Arc<Kept>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(version).cloned()
    }

    pub(super) fn all_kept(&self) -> Vec<Arc<Kept>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.values().cloned().collect()
    }

    /// Shows a model whose record is committed.
    pub(super) fn add(&self, record: ModelRecord) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.insert(record.version.clone(), Arc::new(Kept::new(record)));
    }

    pub(super) fn remove(&self, version: &str) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.remove(version);
        lock(&self.loaded).forget(version);
    }

    /// Dimensions of a model's vectors; `None` where there is no such model.
    pub(super) fn dim(&self, version: &str) -> Option<u32> {
        if let Some(own) = self.own(version) {
            return Some(own.record.dim);
        }
        self.kept(version).map(|kept| kept.record.dim)
    }

    /// The encoder, if it need not be loaded first.
    fn at_hand(&self, version: &str) -> Option<Arc<Encoder>> {
        let own = self.own(version).map(|own| Arc::clone(&own.encoder));
        own.or_else(|| lock(&self.loaded).get(version))
    }

    /// A kept model's file, verified.
    pub(super) fn file(store: &Store, kept: &Kept) -> Result<Vec<u8>, Error> {
        if let Some(why) = kept.broken() {
            return Err(Error::ModelAbsent {
                model: kept.record.version.clone(),
                why,
            });
        }
        match store.model(&kept.record) {
            Err(error @ store::Error::Damaged { .. }) => Err(kept.is_broken(error.to_string())),
            read => Ok(read?),
        }
    }

    /// Reads a kept model's file and loads it.
    fn load(&self, store: &Store, kept: &Kept) -> Result<Arc<Encoder>, Error> {
        let record = &kept.record;
        let file = Self::file(store, kept)?;
        let encoder = Encoder::from_bytes(&file).map_err(|e| match e {
            // The file is whole; what it stands on is not here.
            crate::encoder::Error::Backbone(_) => Error::ModelAbsent {
                model: record.version.clone(),
                why: e.to_string(),
            },
            _ => kept.is_broken(e.to_string()),
        })?;
        if encoder.version() != record.version {
            let why = format!("its file now reads as {}", encoder.version());
            return Err(kept.is_broken(why));
        }
        let encoder = Arc::new(encoder.with_limits(self.default_one().limits()));
        let bytes = encoder.memory_bytes();
        lock(&self.loaded).put(Arc::clone(&encoder), bytes, self.limit);
        Ok(encoder)
    }
}

impl Engine {
    /// The model of new collections, and of images that go nowhere.
    #[must_use]
    pub fn encoder(&self) -> &Arc<Encoder> {
        self.inner.models.default_one()
    }

    /// The encoder that made the vectors of a collection that embeds.
    pub(super) async fn encoder_of(&self, collection: &Collection) -> Result<Arc<Encoder>, Error> {
        match &collection.record().model {
            None => Ok(Arc::clone(self.encoder())),
            Some(version) => self.encoder_named(version).await,
        }
    }

    /// The encoder of a version, loaded where it has to be. One is loaded at a time.
    pub(super) async fn encoder_named(&self, version: &str) -> Result<Arc<Encoder>, Error> {
        let models = &self.inner.models;
        if let Some(encoder) = models.at_hand(version) {
            return Ok(encoder);
        }
        let files = Arc::clone(&models.files).lock_owned().await;
        if let Some(encoder) = models.at_hand(version) {
            return Ok(encoder);
        }
        let kept = models.kept(version);
        let kept = kept.ok_or_else(|| Error::ModelAbsent {
            model: version.to_owned(),
            why: "this server does not have it".into(),
        })?;
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        let loading = tokio::task::spawn_blocking(move || {
            // Also when nobody waits any more: the file is being read.
            let _files = files;
            inner.models.load(&inner.store, &kept)
        });
        let loaded = loading.await;
        loaded.map_err(|e| Error::Internal(format!("loading a model failed: {e}")))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Card, Plan};
    use crate::training::init;

    #[test]
    fn those_used_last_stay_loaded() {
        let plan = Plan {
            widths: [1, 1, 1],
            ..Plan::default()
        };
        let encoder = |seed: u64| {
            let weights = init::initial(plan, seed);
            Arc::new(Encoder::new(&weights, Card::new(format!("m{seed}"), plan)).unwrap())
        };
        let all: Vec<_> = (0..4).map(encoder).collect();
        let version = |n: usize| all[n].version();
        let mut loaded = Loaded::default();
        for encoder in &all[..3] {
            loaded.put(Arc::clone(encoder), 10, 30);
        }
        assert!(loaded.get(version(0)).is_some());
        loaded.put(Arc::clone(&all[3]), 10, 30);
        let there: Vec<_> = (0..4).map(|n| loaded.get(version(n)).is_some()).collect();
        assert_eq!(there, [true, false, true, true]);
        // One that is too large for all of it is still used, alone.
        loaded.put(Arc::clone(&all[1]), 31, 30);
        let there: Vec<_> = (0..4).map(|n| loaded.get(version(n)).is_some()).collect();
        assert_eq!(there, [false, true, false, false]);
        loaded.forget(version(1));
        assert!(loaded.get(version(1)).is_none());
    }
}
