//! The service through its gRPC contract: every RPC, every documented error, hostile input.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test may panic"
)]

mod batches;
mod calibration;
mod collections;
mod decisions;
mod groups;
mod hostile;
mod items;
mod models;
mod operations;
mod payload_indexes;
mod recall;
mod refusals;
mod search;
mod semantics;
mod service;
mod streams;
mod support;
mod views;
