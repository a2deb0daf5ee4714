//! **twindex**: the similarity-search database that learns what similar means.
//!
//! # Layout: the rooms, in dependency order
//!
//! - [`domain`]: pure types and rules: ids, embeddings, payloads, filters, metrics, decisions.
//! - [`simd`]: the only `unsafe`: kernels, chosen once at run time.
//! - [`index`]: HNSW segments, the scanned tail, tombstones (`hnsw_rs` builds the graphs).
//! - [`store`]: durable, checksummed records (sled behind a guard layer).
//! - [`encoder`]: image pre-processing, the Siamese tower (candle), the bounded pool.
//! - [`training`]: data sets, the trainer, evaluation.
//! - [`engine`]: the whole product as a Rust API.
//! - [`grpc`]: handlers: convert, call the engine, convert back.
//! - [`cli`]: one file a command.
//!
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod domain;

pub mod cli;
pub mod encoder;
pub mod engine;
pub mod grpc;
pub mod index;
mod lock;
#[allow(unsafe_code, reason = "the room for it")]
pub mod simd;
pub mod store;
pub mod training;
