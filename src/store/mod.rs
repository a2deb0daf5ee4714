//! Durable records: the only room that names sled.
//!
//! sled 0.34 is fast and, by itself, neither durable when it says so nor calm on damage; so it
//! stands behind a guard. From the outside in:
//!
//! - `open`, `commit`, `read`: the [`Store`]: who may write, and what a commit waits for.
//! - `segments`, `purge`: records that go piece by piece.
//! - `models`: files beside the database, and the records that name them.
//! - `operations`: what runs long, and the place where it works.
//! - `facets`: payload fields that are indexed, and what rows have there.
//! - `check`: reads everything.
//! - `migrations`: brings an older directory up to date; the steps stand in `migrations/`.
//! - `records`, `batch`, `error`: what callers see.
//! - `keys`, `codec`, `values`, `frame`: what stands on disk.
//! - `disk`, `boundary`, `dir`, `highwater`: sled, its panics, its files, and how far it came.
//!
//! # What holds
//!
//! - A commit is `apply_batch`, `flush` and our own `fdatasync`, one at a time. When it returns,
//!   all of it is on disk.
//! - A write that fails is final: the store is read-only from then on and says why.
//! - No value is larger than 64 KiB, and none is believed unless its checksum matches.
//! - Damage is an error that names the record: no panic, no value silently left out.
//! - A directory that recovers less than it had acknowledged is not written to.

mod batch;
mod boundary;
mod check;
mod codec;
mod commit;
mod dir;
mod disk;
mod error;
mod facets;
mod frame;
mod highwater;
mod keys;
mod migrations;
mod models;
mod open;
mod operations;
mod purge;
mod read;
mod records;
mod segments;
#[cfg(test)]
mod tests;
mod values;

pub use batch::Batch;
pub use check::Report;
pub use error::Error;
pub use facets::PayloadIndex;
pub use highwater::Mark;
pub use open::{Options, Store};
pub use records::{CollectionRecord, ItemRecord, ModelRecord, OperationRecord, Tag};
