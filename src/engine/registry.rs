//! Models as clients see them: import, list, show, export, delete.

use super::error::{Error, Resource};
use super::inspect::{self, Checked};
use super::models::{Models, Own};
use super::requests::{Outcome, RequestKey};
use super::writer::Write;
use super::{Engine, Inner};
use crate::domain::{CollectionName, Invalid};
use crate::encoder::weights;
use crate::store::{Batch, ModelRecord};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

/// A weights file on its way in.
#[derive(Debug)]
pub struct Import {
    name: Option<String>,
    bytes: Vec<u8>,
    _slot: OwnedSemaphorePermit,
}

impl Import {
    /// Adds the next bytes of the file.
    ///
    /// # Errors
    /// More than a weights file may have.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let bytes = self.bytes.len() as u64 + chunk.len() as u64;
        if bytes > weights::MAX_BYTES {
            let allowed = format!("at most {} bytes are allowed", weights::MAX_BYTES);
            return Err(Invalid::new("data", format!("{bytes} bytes or more"), allowed).into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

impl Engine {
    /// Begins an import. `name`: instead of the card's.
    ///
    /// # Errors
    /// As many imports and exports are under way as may be.
    pub fn begin_import(&self, name: Option<String>) -> Result<Import, Error> {
        Ok(Import {
            name,
            bytes: Vec::new(),
            _slot: self.transfer()?,
        })
    }

    /// What a request that was applied already answered.
    ///
    /// # Errors
    /// The id is too long.
    pub fn imported(&self, request_id: &str) -> Result<Option<Model>, Error> {
        let key = RequestKey::new("import model", "", request_id, self.limits())?;
        match self.remembered(key.as_ref())? {
            Some(Outcome::Imported(record)) => Ok(Some(self.as_shown(&record))),
            _ => Ok(None),
        }
    }

    /// Checks a weights file and keeps it for good. The same file again is the same model.
    ///
    /// # Errors
    /// Not a usable model; another file of the same version is kept; too many models; a
    /// failed disk.
    pub async fn import_model(&self, import: Import, request_id: &str) -> Result<Model, Error> {
        let request = RequestKey::new("import model", "", request_id, self.limits())?;
        let Import { name, bytes, _slot } = import;
        let checked = self
            .off_thread(move |_| inspect::check(bytes, name))
            .await?;
        let record = self.keep(checked, request, false).await?;
        Ok(self.as_shown(&record))
    }

    /// Keeps the server's own model of this version, unless it is kept: a directory holds what
    /// its collections pin, whatever program opens it next.
    pub(super) async fn keep_own(&self, version: &str) -> Result<(), Error> {
        let models = &self.inner.models;
        let Some(own) = models.own(version) else {
            return Ok(());
        };
        let Some(file) = own
            .encoder
            .file()
            .filter(|_| models.kept(version).is_none())
        else {
            return Ok(());
        };
        let checked = inspect::trusted(&own.encoder, file.clone());
        self.keep(checked, None, true).await.map(drop)
    }

    async fn keep(
        &self,
        checked: Checked,
        request: Option<RequestKey>,
        beyond_limit: bool,
    ) -> Result<ModelRecord, Error> {
        let inner: Arc<Inner> = Arc::clone(&self.inner);
        let files = Arc::clone(&inner.models.files).lock_owned().await;
        let staging = tokio::task::spawn_blocking(move || {
            let staged = inner.stage(checked, beyond_limit)?;
            Ok::<_, Error>((staged, files))
        });
        let staged = staging.await;
        let staged = staged.map_err(|e| Error::Internal(format!("an import failed: {e}")))?;
        let ((record, is_new), files) = staged?;
        let write = Write::AddModel {
            record,
            is_new,
            files,
        };
        match self.write(write, request).await? {
            Outcome::Imported(record) => Ok(*record),
            other => Err(Error::Internal(format!(
                "an answer to something else: {other:?}"
            ))),
        }
    }

    /// Up to `limit` models after `after`, by version.
    #[must_use]
    pub fn models(&self, after: Option<&str>, limit: usize) -> Vec<Model> {
        let models = &self.inner.models;
        let mut all: BTreeMap<String, Model> = BTreeMap::new();
        for own in models.all_own() {
            all.insert(own.record.version.clone(), self.as_own(own));
        }
        for kept in models.all_kept() {
            let model = self.as_shown(&kept.record);
            all.insert(model.version.clone(), model);
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
        let (model, card) = match (models.kept(version), models.own(version)) {
            (Some(kept), _) => (self.as_shown(&kept.record), kept.record.card.clone()),
            (None, Some(own)) => (self.as_own(own), own.record.card.clone()),
            (None, None) => return Err(Error::not_found(Resource::Model, version)),
        };
        let mut collections = self.inner.pinning(version);
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

    fn transfer(&self) -> Result<OwnedSemaphorePermit, Error> {
        let slot = Arc::clone(&self.transfers).try_acquire_owned();
        slot.map_err(|_| Error::Busy {
            queue: "the line of model imports and exports",
        })
    }

    fn as_shown(&self, record: &ModelRecord) -> Model {
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
            collections: self.inner.pinning(&record.version).len(),
            // The server's own does not need its file.
            damage: damage.filter(|_| !built_in),
        }
    }

    fn as_own(&self, own: &Own) -> Model {
        Model {
            imported_ms: None,
            ..self.as_shown(&own.record)
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

    /// Puts a checked file aside; or, where the model is kept already, makes sure that it is
    /// whole. Answers its record, and whether that is still to be written.
    fn stage(&self, checked: Checked, beyond_limit: bool) -> Result<(ModelRecord, bool), Error> {
        let Checked { record, file } = checked;
        let version = record.version.clone();
        let differs = |hash: &str| hash != record.hash;
        if let Some(kept) = self.models.kept(&version) {
            if differs(&kept.record.hash) {
                return Err(Error::ModelDiffers { version });
            }
            if kept.broken().is_some() {
                self.store.put_model_aside(&version, &file)?;
                self.store.place_model(&version)?;
                self.models.add(kept.record.clone());
            }
            return Ok((kept.record.clone(), false));
        }
        if let Some(own) = self.models.own(&version)
            && differs(&own.record.hash)
        {
            return Err(Error::ModelDiffers { version });
        }
        let limit = self.limits.max_models;
        if !beyond_limit && self.models.all_kept().len() >= limit {
            return Err(Error::Full {
                what: "models",
                limit,
            });
        }
        self.store.put_model_aside(&version, &file)?;
        Ok((record, true))
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

    /// Keeps those of the server's own models that a collection pins: for directories that
    /// were made before models were kept.
    pub(super) fn keep_pinned(&self) -> Result<(), Error> {
        for own in self.models.all_own() {
            let version = &own.record.version;
            let needed = !self.pinning(version).is_empty() && self.models.kept(version).is_none();
            let Some(file) = own.encoder.file().filter(|_| needed) else {
                continue;
            };
            if self.store.failed().is_some() {
                return Ok(());
            }
            let checked = inspect::trusted(&own.encoder, file.clone());
            let (record, _) = self.stage(checked, true)?;
            let mut batch = Batch::new();
            batch.put_model(&record);
            self.store.commit(batch)?;
            self.store.place_model(version)?;
            self.models.add(record);
        }
        Ok(())
    }
}
