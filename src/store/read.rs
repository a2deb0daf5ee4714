//! Reading records: verified, or an error that names them.

use super::frame::{self, Frame};
use super::keys::{self, Space};
use super::{CollectionRecord, Error, ItemRecord, Store, Tag, codec};
use crate::domain::ItemId;
use crate::domain::calibration::Calibration;
use sled::IVec;
use std::ops::{Deref, Range};
use std::sync::PoisonError;

/// The verified bytes of a record.
pub(super) enum Body {
    /// A part of sled's value, without a copy.
    Shared(IVec, Range<usize>),
    /// Put together from chunks.
    Joined(Vec<u8>),
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(value, range) => &value[range.clone()],
            Self::Joined(bytes) => bytes,
        }
    }
}

impl Body {
    pub(super) fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Shared(..) => self.to_vec(),
            Self::Joined(bytes) => bytes,
        }
    }
}

impl Store {
    /// All collections, by number.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn collections(&self) -> Result<Vec<CollectionRecord>, Error> {
        self.records(&keys::named(Space::Collection, &[]), None)
            .map(|record| {
                let (key, body) = record?;
                decode(&key, &body, codec::read_collection)
            })
            .collect()
    }

    /// A collection's calibration.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn calibration(&self, collection: u64) -> Result<Option<Calibration>, Error> {
        let key = keys::numbered(Space::Calibration, collection);
        self.decoded(&key, codec::read_calibration)
    }

    /// One item.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn item(&self, collection: u64, id: &ItemId) -> Result<Option<ItemRecord>, Error> {
        self.decoded(&keys::item(collection, id), codec::read_item)
    }

    /// Items by the bytes of their ids, ascending, from the first after `after`.
    ///
    /// A damaged item is an error in its place, and the others follow.
    pub fn items<'a>(
        &'a self,
        collection: u64,
        after: Option<&ItemId>,
    ) -> impl Iterator<Item = Result<(ItemId, ItemRecord), Error>> + Send + use<'a> {
        let after = after.map(|id| keys::item(collection, id));
        self.records(&keys::numbered(Space::Item, collection), after.as_deref())
            .map(|record| {
                let (key, body) = record?;
                Ok((keys::id_of(&key)?, decode(&key, &body, codec::read_item)?))
            })
    }

    /// Tags of live rows, by row.
    pub fn tags(
        &self,
        collection: u64,
    ) -> impl Iterator<Item = Result<(u64, Tag), Error>> + Send + '_ {
        self.rows(Space::Tag, collection, codec::read_tag)
    }

    /// Vectors by row, also of rows whose tag is gone.
    pub fn vectors(
        &self,
        collection: u64,
    ) -> impl Iterator<Item = Result<(u64, Vec<f32>), Error>> + Send + '_ {
        self.rows(Space::Vector, collection, codec::read_vector)
    }

    /// The bytes of an image.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn image(&self, collection: u64, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let body = self.load(&keys::row(Space::Image, collection, number))?;
        Ok(body.map(Body::into_vec))
    }

    /// The answer to a request, and when it was given, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn request(&self, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, Error> {
        self.decoded(&keys::named(Space::Request, key), codec::read_request)
    }

    /// The sequence number set last.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn sequence(&self) -> Result<u64, Error> {
        self.counter(codec::SEQUENCE)
    }

    /// The number for the next collection.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn next_collection_number(&self) -> Result<u64, Error> {
        self.counter(codec::NEXT_COLLECTION)
    }

    /// The number for the next segment, of any collection: one above all those ever put.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn next_segment(&self) -> Result<u64, Error> {
        self.counter(codec::NEXT_SEGMENT)
    }

    /// Bytes of all files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn size_on_disk(&self) -> Result<u64, Error> {
        self.dir.size()
    }

    fn counter(&self, name: &str) -> Result<u64, Error> {
        self.meta(name)?
            .ok_or_else(|| Error::damaged(format!("meta \"{name}\""), "it is missing"))
    }

    pub(super) fn meta(&self, name: &str) -> Result<Option<u64>, Error> {
        let key = keys::named(Space::Meta, name.as_bytes());
        self.decoded(&key, codec::read_number)
    }

    pub(super) fn decoded<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        match self.load(key)? {
            None => Ok(None),
            Some(body) => decode(key, &body, read).map(Some),
        }
    }

    /// The verified bytes of a record.
    pub(super) fn load(&self, key: &[u8]) -> Result<Option<Body>, Error> {
        match self.disk.get(key)? {
            None => Ok(None),
            Some(value) => self.complete(key, value),
        }
    }

    /// Verifies a value, and gathers the chunks if it is the head of some. `None` where the
    /// record was deleted meanwhile.
    fn complete(&self, key: &[u8], value: IVec) -> Result<Option<Body>, Error> {
        if let Frame::Whole(range) = frame::open(key, &value)? {
            return Ok(Some(Body::Shared(value, range)));
        }
        // Head and chunks have to be of one commit, so both are read between two.
        let _between = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = self.disk.get(key)? else {
            return Ok(None);
        };
        Ok(Some(match frame::open(key, &value)? {
            Frame::Whole(range) => Body::Shared(value, range),
            Frame::Head(head) => Body::Joined(frame::join(key, head, |key| self.disk.get(key))?),
        }))
    }

    /// Verified records whose keys begin with `prefix`, by key, from the first after `after`.
    pub(super) fn records<'a>(
        &'a self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(IVec, Body), Error>> + Send + use<'a> {
        self.disk.scan(prefix, after).filter_map(|record| {
            let (key, value) = match record {
                Ok(record) => record,
                Err(e) => return Some(Err(e)),
            };
            let body = self.complete(&key, value).transpose()?;
            Some(body.map(|body| (key, body)))
        })
    }

    pub(super) fn rows<T: 'static>(
        &self,
        space: Space,
        collection: u64,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> impl Iterator<Item = Result<(u64, T), Error>> + Send + '_ {
        self.records(&keys::numbered(space, collection), None)
            .map(move |record| {
                let (key, body) = record?;
                Ok((keys::number_at(&key, 9)?, decode(&key, &body, read)?))
            })
    }
}

pub(super) fn decode<T>(
    key: &[u8],
    body: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, Error> {
    read(body).map_err(|why| Error::damaged(keys::describe(key), why))
}
