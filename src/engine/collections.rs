//! Collections: create, get, list, delete, statistics.

use super::error::{Error, Resource};
use super::requests::{Outcome, RequestKey};
use super::writer::Write;
use super::{Engine, now_ms};
use crate::domain::{CollectionName, Invalid, MAX_DIM, Metric, Recall, VectorStorage, ViewNumber};
use crate::store::CollectionRecord;
use std::ops::RangeInclusive;

/// Longest description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 1_024;
const M: RangeInclusive<u32> = 2..=128;
const EF_CONSTRUCTION: RangeInclusive<u32> = 8..=4_096;

/// Who makes the vectors of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The server embeds images, by this model version or, if `None`, its own.
    Images(Option<String>),
    /// Clients bring vectors of this dimension.
    Vectors(u32),
}

/// A collection to create.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Its name.
    pub name: CollectionName,
    /// What it is for, in words.
    pub description: String,
    /// How far apart two vectors are.
    pub metric: Metric,
    /// Who makes the vectors.
    pub source: Source,
    /// Links a graph node keeps; 0 takes 16.
    pub m: u32,
    /// Candidates considered for them; 0 takes 200.
    pub ef_construction: u32,
    /// Whether source images are kept.
    pub keep_images: bool,
    /// Views of an image whose mean is embedded, unless a request asks for others; 0 takes 1.
    pub views: u32,
    /// The recall of searches that ask for none; 0 takes 0.98.
    pub recall: f32,
    /// Where its vectors lie while it is served.
    pub storage: VectorStorage,
}

/// Counts and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Items stored.
    pub items: usize,
    /// Distinct labels.
    pub labels: usize,
    /// Sealed segments.
    pub segments: usize,
    /// Rows in sealed segments, dead ones included.
    pub sealed_rows: usize,
    /// Rows not sealed yet.
    pub tail_rows: usize,
    /// Deleted or replaced rows that still take space.
    pub dead_rows: usize,
    /// Memory of vectors and graphs, in bytes.
    pub index_bytes: usize,
    /// Disk space of the whole store, in bytes.
    pub disk_bytes: u64,
}

impl Engine {
    /// Creates a collection.
    ///
    /// # Errors
    /// The name is taken; a parameter is out of range; the model is not known.
    pub async fn create_collection(
        &self,
        new: NewCollection,
        request_id: &str,
    ) -> Result<CollectionRecord, Error> {
        let request = RequestKey::new("create", new.name.as_str(), request_id, self.limits())?;
        let record = self.record(new)?;
        if let Some(model) = &record.model {
            self.keep_own(model).await?;
        }
        match self.write(Write::Create(record), request).await? {
            Outcome::Created(record) => Ok(*record),
            other => Err(Error::Internal(format!(
                "an answer to something else: {other:?}"
            ))),
        }
    }

    fn record(&self, new: NewCollection) -> Result<CollectionRecord, Error> {
        if new.description.len() > MAX_DESCRIPTION_BYTES {
            return Err(Invalid::new(
                "description",
                format!("{} bytes", new.description.len()),
                format!("at most {MAX_DESCRIPTION_BYTES} bytes are allowed"),
            )
            .into());
        }
        let views = match new.views {
            0 => ViewNumber::ONE,
            n => ViewNumber::new("views", n)?,
        };
        if matches!(new.source, Source::Vectors(_)) && views != ViewNumber::ONE {
            let was = views.get().to_string();
            return Err(Invalid::new("views", was, "a vector has no views: 1 is allowed").into());
        }
        let (dim, model) = match new.source {
            Source::Vectors(dim) => (dim, None),
            Source::Images(model) => {
                let model = model.unwrap_or_else(|| self.encoder().version().to_owned());
                let dim = self.inner.models.dim(&model);
                let dim = dim.ok_or_else(|| Error::not_found(Resource::Model, model.as_str()))?;
                (dim, Some(model))
            }
        };
        if !(1..=MAX_DIM).contains(&(dim as usize)) {
            return Err(Invalid::new(
                "dimension",
                dim.to_string(),
                format!("1 to {MAX_DIM} are allowed"),
            )
            .into());
        }
        Ok(CollectionRecord {
            number: 0,
            name: new.name,
            description: new.description,
            metric: new.metric,
            dim,
            model,
            m: within("m", new.m, 16, &M)?,
            ef_construction: within(
                "ef_construction",
                new.ef_construction,
                200,
                &EF_CONSTRUCTION,
            )?,
            keep_images: new.keep_images,
            views,
            recall: match new.recall {
                0.0 => Recall::default(),
                recall => Recall::new("recall_target", recall)?,
            },
            storage: new.storage,
            created_ms: now_ms(),
        })
    }

    /// A collection's record.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn collection(&self, name: &CollectionName) -> Result<CollectionRecord, Error> {
        Ok(self.inner.collection(name)?.record().clone())
    }

    /// Up to `limit` collections after `after`, by name.
    #[must_use]
    pub fn collections(
        &self,
        after: Option<&CollectionName>,
        limit: usize,
    ) -> Vec<CollectionRecord> {
        let all = self.inner.all();
        let rest = all
            .iter()
            .filter(|c| after.is_none_or(|a| c.record().name > *a));
        rest.take(limit).map(|c| c.record().clone()).collect()
    }

    /// Deletes a collection and everything in it.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn delete_collection(
        &self,
        name: CollectionName,
        request_id: &str,
    ) -> Result<(), Error> {
        let request = RequestKey::new("drop", name.as_str(), request_id, self.limits())?;
        self.write(Write::Drop(name), request).await?;
        Ok(())
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// No such collection, or the disk cannot be read.
    pub fn stats(&self, name: &CollectionName) -> Result<Stats, Error> {
        let collection = self.inner.collection(name)?;
        let index = collection.snapshot().stats();
        Ok(Stats {
            items: index.live,
            labels: collection.label_count(),
            segments: index.segments,
            sealed_rows: index.sealed_rows,
            tail_rows: index.tail_rows,
            dead_rows: index.dead,
            index_bytes: index.bytes,
            disk_bytes: self.inner.store.size_on_disk()?,
        })
    }
}

fn within(
    field: &str,
    given: u32,
    default: u32,
    range: &RangeInclusive<u32>,
) -> Result<u32, Error> {
    match given {
        0 => Ok(default),
        n if range.contains(&n) => Ok(n),
        n => Err(Invalid::new(
            field,
            n.to_string(),
            format!("{} to {} are allowed", range.start(), range.end()),
        )
        .into()),
    }
}
