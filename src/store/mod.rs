//! Durable records: the only room that names sled.

mod batch;
mod codec;
mod error;
mod highwater;
mod keys;
mod records;
mod stub;
mod values;

pub use batch::Batch;
pub use error::Error;
pub use highwater::Mark;
pub use records::{CollectionRecord, ItemRecord, Tag};
pub use stub::{Options, Report, Store};
