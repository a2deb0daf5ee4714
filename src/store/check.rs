//! Reading everything, to tell whether it can be read.

use super::frame::{self, Frame};
use super::keys::{self, Space};
use super::read::decode;
use super::{Error, Store, codec, facets};
use std::collections::BTreeMap;

/// At most so many damages and contradictions are told in words.
const MAX_TOLD: usize = 1000;

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Intact records by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Records that cannot be trusted, in words; the first thousand.
    pub damages: Vec<String>,
    /// Records that contradict one another, in words; the first thousand.
    pub contradictions: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty() && self.contradictions.is_empty()
    }

    fn damage(&mut self, damage: &Error) {
        if self.damages.len() < MAX_TOLD {
            self.damages.push(damage.to_string());
        }
    }

    fn contradiction(&mut self, words: String) {
        if self.contradictions.len() < MAX_TOLD {
            self.contradictions.push(words);
        }
    }
}

impl Store {
    /// Reads and verifies every record, and compares those that belong together. Commits wait
    /// until it is done.
    ///
    /// # Errors
    /// None for damage, which the report names.
    pub fn check(&self) -> Result<Report, Error> {
        let _still = self.hold();
        let mut report = Report::default();
        for space in Space::ALL {
            for record in self.disk.scan(&[space as u8], None) {
                match record.and_then(|(key, value)| self.check_record(space, &key, &value)) {
                    Err(damage) => report.damage(&damage),
                    Ok(contradiction) => {
                        *report.counts.entry(space.name()).or_default() += 1;
                        if let Some(words) = contradiction {
                            report.contradiction(words);
                        }
                    }
                }
            }
        }
        if let Err(damage) = self.dir.check_blobs() {
            report.damage(&damage);
        }
        Ok(report)
    }

    /// Damage is an error; a contradiction to another record is the answer.
    fn check_record(
        &self,
        space: Space,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<String>, Error> {
        if self.is_going(space, key)? {
            return Ok(None);
        }
        let body = match frame::open(key, value)? {
            Frame::Whole(range) => value[range].to_vec(),
            Frame::Head(head) => frame::join(key, head, |key| self.disk.get(key))?,
        };
        let exists = |key: &[u8]| self.disk.get(key).map(|found| found.is_some());
        let named = || Ok::<_, Error>((keys::number_at(key, 1)?, keys::number_at(key, 9)?));
        let fault = match space {
            Space::Meta => {
                // The cursor of a migration is of its own shape.
                None
            }
            Space::Collection => {
                let record = decode(key, &body, codec::read_collection)?;
                (record.number != keys::number_at(key, 1)?).then_some("it bears another number")
            }
            Space::Item => {
                let (collection, id) = (keys::number_at(key, 1)?, keys::id_of(key)?);
                let item = decode(key, &body, codec::read_item)?;
                let tag = self.decoded(
                    &keys::row(Space::Tag, collection, item.seq),
                    codec::read_tag,
                )?;
                let image = match item.image {
                    Some(number) => exists(&keys::row(Space::Image, collection, number))?,
                    None => true,
                };
                if tag.is_none_or(|tag| tag.id != id || tag.label != item.label) {
                    Some("its row has no such tag")
                } else {
                    (!image).then_some("its image is missing")
                }
            }
            Space::Tag => {
                let (collection, seq) = named()?;
                let tag = decode(key, &body, codec::read_tag)?;
                let item = self.item(collection, &tag.id)?;
                if item.is_none_or(|item| item.seq != seq) {
                    Some("its item is not at this row")
                } else {
                    (!exists(&keys::row(Space::Vector, collection, seq))?)
                        .then_some("its vector is missing")
                }
            }
            Space::Vector => {
                decode(key, &body, codec::read_vector)?;
                None
            }
            Space::Segment => {
                let (collection, segment) = named()?;
                (!exists(&keys::row(Space::SegmentBody, collection, segment))?)
                    .then_some("its bytes are missing")
            }
            Space::Model => {
                decode(key, &body, codec::read_model)?;
                None
            }
            Space::Operation => {
                decode(key, &body, codec::read_operation)?;
                None
            }
            Space::Calibration => {
                decode(key, &body, codec::read_calibration)?;
                (!exists(&keys::numbered(Space::Collection, keys::number_at(key, 1)?))?)
                    .then_some("its collection is missing")
            }
            Space::PayloadIndexes => {
                decode(key, &body, facets::read_indexes)?;
                (!exists(&keys::numbered(Space::Collection, keys::number_at(key, 1)?))?)
                    .then_some("its collection is missing")
            }
            Space::Facets => {
                let (collection, seq) = named()?;
                decode(key, &body, facets::decode)?;
                (!exists(&keys::row(Space::Tag, collection, seq))?).then_some("its row is dead")
            }
            Space::Request => {
                decode(key, &body, codec::read_request)?;
                None
            }
            Space::Chunk => {
                let of = key.get(5..key.len().saturating_sub(4)).unwrap_or_default();
                (!exists(of)?).then_some("its record is missing")
            }
            Space::Migration
            | Space::Dropped
            | Space::Image
            | Space::SegmentBody
            | Space::SegmentGarbage
            | Space::RequestTime => None,
        };
        Ok(fault.map(|fault| format!("{}: {fault}", keys::describe(key))))
    }

    /// Whether a record is being written or removed piece by piece, so that pieces may lack.
    fn is_going(&self, space: Space, key: &[u8]) -> Result<bool, Error> {
        if space == Space::Chunk {
            // A chunk is whole in itself, and goes before its record.
            return Ok(false);
        }
        if space == Space::SegmentBody {
            let (collection, segment) = (keys::number_at(key, 1)?, keys::number_at(key, 9)?);
            let named = keys::row(Space::Segment, collection, segment);
            if self.disk.get(&named)?.is_none() {
                return Ok(true);
            }
        }
        if Space::OF_A_COLLECTION.contains(&space) {
            let dropped = keys::numbered(Space::Dropped, keys::number_at(key, 1)?);
            return Ok(self.disk.get(&dropped)?.is_some());
        }
        Ok(false)
    }
}
