//! The whole product as a Rust API.
