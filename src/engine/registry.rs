//! Models as clients see them: list, show, export, delete.

use super::error::{Error, Resource};
use super::models::{Models, Own};
use super::requests::RequestKey;
use super::writer::Write;
use super::{Engine, Inner};
use crate::domain::CollectionName;
use crate::store::ModelRecord;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Most collections that are named as those which pin a model.
const MAX_NAMED: usize = 1_000;

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its card's name and a hash of its weights.
    pub version: String,
    /// Its card's name.
    pub name: String,
    /// The family of networks it belongs to.
    pub architecture: String,
    /// Dimensions of its vectors.
    pub dim: u32,
    /// Bytes of its file; 0 where it came from none.
    pub bytes: u64,
    /// BLAKE3 of its file, in hexadecimal; empty where it came from none.
    pub hash: String,
    /// When it was imported, in milliseconds since 1970; `None`: never.
    pub imported_ms: Option<u64>,
    /// Whether it is part of the program or of its start, and cannot be deleted.
    pub built_in: bool,
    /// Whether new collections take it.
    pub default: bool,
    /// Collections that pin it.
    pub collections: usize,
    /// Why it cannot be used, if it cannot.
    pub damage: Option<String>,
}

/// A model as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The model.
    pub model: Model,
    /// Its card.
    pub card: Map<String, Value>,
    /// The collections that pin it, by name; the first thousand.
    pub collections: Vec<CollectionName>,
}

impl Engine {
    /// Up to `limit` models after `after`, by version.
    #[must_use]
    pub fn models(&self, after: Option<&str>, limit: usize) -> Vec<Model> {
        let models = &self.inner.models;
        let mut all: BTreeMap<String, Model> = BTreeMap::new();
        let mut pins: HashMap<String, usize> = HashMap::new();
        for collection in self.inner.all() {
            if let Some(model) = &collection.record().model {
                *pins.entry(model.clone()).or_default() += 1;
            }
        }
        let pinned = |version: &str| pins.get(version).copied().unwrap_or(0);
        for own in models.all_own() {
            let version = &own.record.version;
            all.insert(version.clone(), self.as_own(own, pinned(version)));
        }
        for kept in models.all_kept() {
            let version = &kept.record.version;
            let model = self.as_shown(&kept.record, pinned(version));
            all.insert(version.clone(), model);
        }
        let rest = all.into_values();
        let rest = rest.filter(|m| after.is_none_or(|after| m.version.as_str() > after));
        rest.take(limit).collect()
    }

    /// One model with its card.
    ///
    /// # Errors
    /// There is none of this version.
    pub fn model(&self, version: &str) -> Result<Shown, Error> {
        let models = &self.inner.models;
        let mut collections = self.inner.pinning(version);
        let n = collections.len();
        let (model, card) = match (models.kept(version), models.own(version)) {
            (Some(kept), _) => (self.as_shown(&kept.record, n), kept.record.card.clone()),
            (None, Some(own)) => (self.as_own(own, n), own.record.card.clone()),
            (None, None) => return Err(Error::not_found(Resource::Model, version)),
        };
        collections.truncate(MAX_NAMED);
        Ok(Shown {
            model,
            card: serde_json::from_str(&card).unwrap_or_default(),
            collections,
        })
    }

    /// A model's weights file, and the place among the transfers to hold while it is sent.
    ///
    /// # Errors
    /// There is no such model, or it is damaged; too many imports and exports are under way.
    pub async fn export_model(&self, version: &str) -> Result<(Bytes, Transfer), Error> {
        let models = &self.inner.models;
        let slot = Transfer(self.transfer()?);
        if let Some(file) = models.own(version).and_then(|own| own.encoder.file()) {
            return Ok((file.clone(), slot));
        }
        let kept = models.kept(version);
        let kept = kept.ok_or_else(|| Error::not_found(Resource::Model, version))?;
        let files = Arc::clone(&models.files).lock_owned().await;
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        let reading = tokio::task::spawn_blocking(move || {
            let _files = files;
            Models::file(&inner.store, &kept)
        });
        let read = reading.await;
        let file = read.map_err(|e| Error::Internal(format!("an export failed: {e}")))??;
        Ok((file.into(), slot))
    }

    /// Deletes a model.
    ///
    /// # Errors
    /// There is none of this version; it is the server's own; a collection pins it.
    pub async fn delete_model(&self, version: &str, request_id: &str) -> Result<(), Error> {
        let request = RequestKey::new("delete model", version, request_id, self.limits())?;
        let write = Write::RemoveModel {
            version: version.to_owned(),
            files: Arc::clone(&self.inner.models.files).lock_owned().await,
        };
        self.write(write, request).await.map(drop)
    }

    pub(super) fn transfer(&self) -> Result<OwnedSemaphorePermit, Error> {
        let slot = Arc::clone(&self.transfers).try_acquire_owned();
        slot.map_err(|_| Error::Busy {
            queue: "the line of model imports and exports",
        })
    }

    pub(super) fn as_imported(&self, record: &ModelRecord) -> Model {
        let pinned = self.inner.pinning(&record.version).len();
        self.as_shown(record, pinned)
    }

    /// `collections`: how many pin it.
    fn as_shown(&self, record: &ModelRecord, collections: usize) -> Model {
        let models = &self.inner.models;
        let built_in = models.own(&record.version).is_some();
        let damage = models.kept(&record.version).and_then(|kept| kept.broken());
        Model {
            version: record.version.clone(),
            name: record.name.clone(),
            architecture: record.architecture.clone(),
            dim: record.dim,
            bytes: record.bytes,
            hash: record.hash.clone(),
            imported_ms: Some(record.imported_ms),
            built_in,
            default: models.default_one().version() == record.version,
            collections,
            // The server's own does not need its file.
            damage: damage.filter(|_| !built_in),
        }
    }

    fn as_own(&self, own: &Own, collections: usize) -> Model {
        Model {
            imported_ms: None,
            ..self.as_shown(&own.record, collections)
        }
    }
}

/// A place among the imports and exports under way, until it is dropped.
#[derive(Debug)]
pub struct Transfer(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Inner {
    /// The collections that pin a model, by name.
    pub(super) fn pinning(&self, version: &str) -> Vec<CollectionName> {
        let all = self.all();
        let pinning = all
            .iter()
            .filter(|c| c.record().model.as_deref() == Some(version));
        pinning.map(|c| c.record().name.clone()).collect()
    }

    /// Refuses to delete what is needed, or not there.
    pub(super) fn check_removable(&self, version: &str) -> Result<(), Error> {
        let model = version.to_owned();
        if self.models.own(version).is_some() {
            return Err(Error::ModelBuiltIn { model });
        }
        if self.models.kept(version).is_none() {
            return Err(Error::not_found(Resource::Model, model));
        }
        let pinning = self.pinning(version);
        match pinning.first() {
            None => Ok(()),
            Some(first) => Err(Error::ModelInUse {
                model,
                first: first.as_str().to_owned(),
                others: pinning.len() - 1,
            }),
        }
    }
}
