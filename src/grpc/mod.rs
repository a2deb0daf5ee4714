//! The edge: handlers convert, call the engine, and convert back.
//!
//! The contract is `proto/twindex/v1`; its comments are the reference.

/// The messages and services of `twindex.v1`, generated from the contract.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod pb {
    tonic::include_proto!("twindex.v1");
}

/// `google.longrunning`: the operations that long work is asked about.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod longrunning {
    tonic::include_proto!("google.longrunning");
}

mod calibrations;
mod collections;
mod convert;
mod deadline;
mod decisions;
mod edge;
mod filter;
mod items;
mod models;
mod operations;
mod searches;
mod server;
mod status;
mod stream;
mod structs;
mod timing;
mod token;

pub use server::{Server, ServerOptions};
pub use structs::{from_struct, to_struct};

/// The contract with its comments, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twindex.bin"));

/// Largest message either way, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
