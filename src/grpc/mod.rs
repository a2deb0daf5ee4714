//! The protocol edge: convert, call the engine, convert back.

/// The contract as generated from `proto/`, which is its reference.
#[allow(
    clippy::pedantic,
    missing_docs,
    reason = "generated; documented in proto/"
)]
pub mod pb {
    tonic::include_proto!("twindex.v1");

    /// The contract as an encoded `FileDescriptorSet`, with comments, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twindex.bin"));
}
