//! Brings a directory up to date, one numbered step after another.
//!
//! The steps stand in `migrations/`. Each goes on from its cursor if it was interrupted, is
//! verified, and counts as applied in the commit that raises the schema version.

use super::keys::{self, Space};
use super::read::decode;
use super::{Batch, Error, Store, codec};
use xxhash_rust::xxh3::xxh3_64;

#[path = "../../migrations/0001_initial.rs"]
mod initial;

/// Meta: the schema of the directory.
const SCHEMA: &str = "schema version";
/// Meta: the oldest schema whose readers understand it.
const MIN_READER: &str = "min reader version";
/// Meta: how far the step that is under way has come.
const CURSOR: &str = "migration cursor";

/// Every step, by number from 1.
pub(crate) const ALL: &[Migration] = &[Migration {
    number: 1,
    name: "initial",
    min_reader: 1,
    source: include_str!("../../migrations/0001_initial.rs"),
    up: initial::up,
    verify: initial::verify,
}];

/// A step to the schema of its number.
#[derive(Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    /// The oldest schema whose readers understand the result.
    pub(crate) min_reader: u32,
    /// Its source text: what was applied once must not change.
    pub(crate) source: &'static str,
    /// Does the work, from the cursor on.
    pub(crate) up: fn(&mut Step<'_>) -> Result<(), Error>,
    /// Reads the result.
    pub(crate) verify: fn(&Step<'_>) -> Result<(), Error>,
}

impl Migration {
    /// Of the source, whatever ends its lines.
    pub(crate) fn checksum(&self) -> u64 {
        xxh3_64(self.source.replace("\r\n", "\n").as_bytes())
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Migration {
            number: self.number,
            name: self.name.to_owned(),
            why: why.to_string(),
        }
    }
}

/// What a step works with.
pub(crate) struct Step<'a> {
    /// The store, not yet of the new schema.
    pub(crate) store: &'a Store,
    cursor: Option<Vec<u8>>,
}

impl Step<'_> {
    /// Where the last commit of this step left off; `None` at its beginning.
    #[allow(dead_code, reason = "the first step is a single commit")]
    pub(crate) fn cursor(&self) -> Option<&[u8]> {
        self.cursor.as_deref()
    }

    /// Commits a part of the work, and that it is done up to `cursor`.
    pub(crate) fn commit(&mut self, mut batch: Batch, cursor: &[u8]) -> Result<(), Error> {
        batch.put(meta(CURSOR), cursor.to_vec());
        self.store.commit(batch)?;
        self.cursor = Some(cursor.to_vec());
        Ok(())
    }
}

/// The schema of a directory, 0 for a fresh one.
///
/// # Errors
/// [`Error::Newer`] where a version that knows schema `known` cannot read it.
pub(crate) fn schema(store: &Store, known: u32) -> Result<u32, Error> {
    let small = |name: &str| {
        let number = store.meta(name)?.unwrap_or(0);
        u32::try_from(number)
            .map_err(|_| Error::damaged(format!("meta \"{name}\""), format!("{number}")))
    };
    let min_reader = small(MIN_READER)?;
    if min_reader > known {
        return Err(Error::Newer {
            found: min_reader,
            supported: known,
        });
    }
    small(SCHEMA)
}

/// Runs the steps that are due.
pub(crate) fn run(store: &Store, steps: &[Migration]) -> Result<(), Error> {
    let known = steps.last().map_or(0, |step| step.number);
    let at = schema(store, known)?;
    let (applied, due) = steps.split_at(steps.partition_point(|step| step.number <= at));
    for step in applied {
        unchanged(store, step)?;
    }
    for migration in due {
        if at > 0 {
            tracing::info!(
                number = migration.number,
                name = migration.name,
                "migrating"
            );
        }
        let mut step = Step {
            store,
            cursor: store.load(&meta(CURSOR))?.map(super::read::Body::into_vec),
        };
        (migration.up)(&mut step).map_err(|e| migration.failed(&e))?;
        (migration.verify)(&step).map_err(|e| migration.failed(&e))?;
        let mut batch = Batch::new();
        batch.put_meta(SCHEMA, u64::from(migration.number));
        batch.put_meta(MIN_READER, u64::from(migration.min_reader));
        let record = [
            &migration.checksum().to_le_bytes(),
            migration.name.as_bytes(),
        ]
        .concat();
        batch.put(applied_key(migration), record);
        batch.delete(meta(CURSOR));
        store.commit(batch)?;
    }
    Ok(())
}

/// Fails if a step is not the one that was applied.
fn unchanged(store: &Store, step: &Migration) -> Result<(), Error> {
    let key = applied_key(step);
    let Some(body) = store.load(&key)? else {
        return Err(step.failed(&"the record of its application is missing"));
    };
    let checksum = decode(&key, &body, |bytes| codec::Reader(bytes).u64())?;
    if checksum == step.checksum() {
        Ok(())
    } else {
        Err(step.failed(&"it was changed after it had been applied to this directory"))
    }
}

fn meta(name: &str) -> Vec<u8> {
    keys::named(Space::Meta, name.as_bytes())
}

fn applied_key(step: &Migration) -> Vec<u8> {
    keys::numbered(Space::Migration, u64::from(step.number))
}
