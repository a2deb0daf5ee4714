//! A model on its way in: from a client, from a training, or from the program itself.

use super::error::Error;
use super::inspect::{self, Checked};
use super::registry::Model;
use super::requests::{Outcome, RequestKey};
use super::writer::{Op, Write};
use super::{Engine, Inner};
use crate::domain::Invalid;
use crate::encoder::weights;
use crate::store::{Batch, ModelRecord};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

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
            Some(Outcome::Imported(record)) => Ok(Some(self.as_imported(&record))),
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
        Ok(self.as_imported(&record))
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
}

impl Inner {
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

    /// Keeps a checked model, for a thread that may block.
    pub(super) fn keep_blocking(
        &self,
        queue: &mpsc::WeakSender<Op>,
        checked: Checked,
    ) -> Result<ModelRecord, Error> {
        let files = Arc::clone(&self.models.files).blocking_lock_owned();
        let (record, is_new) = self.stage(checked, false)?;
        let (answer, answered) = oneshot::channel();
        let op = Op {
            write: Write::AddModel {
                record: record.clone(),
                is_new,
                files,
            },
            request: None,
            answer,
            bytes: None,
        };
        let queue = queue.upgrade().ok_or(Error::Closed)?;
        queue.blocking_send(op).map_err(|_| Error::Closed)?;
        drop(queue);
        answered.blocking_recv().map_err(|_| Error::Closed)??;
        Ok(record)
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
