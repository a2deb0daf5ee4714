//! The index against brute force, and where indexes go wrong.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic"
)]

mod answers;
mod changes;
mod costs;
mod damage;
mod edges;
mod filters;
mod model;
mod segments;
mod sequences;
mod strangers;
mod support;
mod tails;
