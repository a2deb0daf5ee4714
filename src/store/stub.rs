//! The shape of the store; the inside follows.
#![allow(
    unused_variables,
    clippy::unused_self,
    clippy::unnecessary_wraps,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    clippy::must_use_candidate,
    clippy::todo,
    dead_code,
    reason = "replaced by the next change"
)]

use super::{Batch, CollectionRecord, Error, ItemRecord, Tag};
use crate::domain::ItemId;
use std::collections::BTreeMap;
use std::path::Path;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for pages of the database, in bytes.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
        }
    }
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Records that cannot be trusted, in words.
    pub damages: Vec<String>,
    /// Records that contradict one another, in words.
    pub contradictions: Vec<String>,
}

/// The store.
pub struct Store(());

#[allow(missing_docs, reason = "replaced by the next change")]
impl Store {
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        Err(Error::Failed("not built yet".to_owned()))
    }
    pub fn commit(&self, batch: Batch) -> Result<(), Error> {
        todo!()
    }
    pub fn collections(&self) -> Result<Vec<CollectionRecord>, Error> {
        todo!()
    }
    pub fn item(&self, collection: u64, id: &ItemId) -> Result<Option<ItemRecord>, Error> {
        todo!()
    }
    pub fn items<'a>(
        &'a self,
        collection: u64,
        after: Option<&ItemId>,
    ) -> impl Iterator<Item = Result<(ItemId, ItemRecord), Error>> + Send + use<'a> {
        std::iter::empty()
    }
    pub fn tags(
        &self,
        collection: u64,
    ) -> impl Iterator<Item = Result<(u64, Tag), Error>> + Send + '_ {
        std::iter::empty()
    }
    pub fn vectors(
        &self,
        collection: u64,
    ) -> impl Iterator<Item = Result<(u64, Vec<f32>), Error>> + Send + '_ {
        std::iter::empty()
    }
    pub fn image(&self, collection: u64, number: u64) -> Result<Option<Vec<u8>>, Error> {
        todo!()
    }
    pub fn segments(&self, collection: u64) -> Result<Vec<(u64, Result<Vec<u8>, Error>)>, Error> {
        todo!()
    }
    pub fn put_segment(&self, collection: u64, segment: u64, bytes: &[u8]) -> Result<(), Error> {
        todo!()
    }
    pub fn sweep(&self, limit: usize) -> Result<usize, Error> {
        todo!()
    }
    pub fn request(&self, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, Error> {
        todo!()
    }
    pub fn sequence(&self) -> Result<u64, Error> {
        todo!()
    }
    pub fn next_collection_number(&self) -> Result<u64, Error> {
        todo!()
    }
    pub fn next_segment(&self) -> Result<u64, Error> {
        todo!()
    }
    pub fn orphans(&self) -> Result<Vec<u64>, Error> {
        todo!()
    }
    pub fn purge(&self, collection: u64, limit: usize) -> Result<usize, Error> {
        todo!()
    }
    pub fn forget_requests(&self, before_ms: u64, limit: usize) -> Result<usize, Error> {
        todo!()
    }
    pub fn size_on_disk(&self) -> Result<u64, Error> {
        todo!()
    }
    pub fn failed(&self) -> Option<String> {
        None
    }
    pub fn check(&self) -> Result<Report, Error> {
        todo!()
    }
}
