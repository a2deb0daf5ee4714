//! Pure types and rules: no I/O, no clock, no other room.
//!
//! A value of one of these types is valid: it was parsed once, at the edge, and
//! nothing behind checks it again.

mod assignment;
pub mod calibration;
mod decision;
mod embedding;
mod error;
mod facets;
mod filter;
mod id;
mod item;
mod metric;
mod payload;
mod range;
mod recall;
mod scalars;
mod storage;
mod timestamp;
mod views;

pub use assignment::assign;
pub use decision::{Example, Ranked, Rule, rank};
pub use embedding::{Embedding, MAX_DIM};
pub use error::Invalid;
pub use facets::{At, Facets, Fields, Finite, Scalar};
pub use filter::{Filter, MAX_FILTER_CONDITIONS, MAX_FILTER_DEPTH, MAX_FILTER_VALUES};
pub use id::{CollectionName, ItemId, Label, MAX_ID_BYTES, MAX_LABEL_BYTES, MAX_NAME_BYTES};
pub use item::Item;
pub use metric::Metric;
pub use payload::{MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, Payload};
pub use range::Range;
pub use recall::Recall;
pub use scalars::Scalars;
pub use storage::VectorStorage;
pub use timestamp::Timestamp;
pub use views::{MAX_VIEWS, ViewNumber, Views};
