//! **twindex**: the similarity-search database that learns what similar means.
//!
//! # Layout: the rooms, in dependency order
//!
//! - [`domain`]: pure types and rules: ids, embeddings, payloads, filters, metrics, decisions.

pub mod domain;
