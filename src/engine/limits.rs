//! Every limit of the service that is not part of a type, in one place.

use crate::domain::Invalid;

/// Limits on requests and on work under way. The types' own limits stand in
/// [`crate::domain`], the images' in [`crate::encoder`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most results of a search.
    pub max_k: usize,
    /// Most candidates a walk may keep.
    pub max_ef: usize,
    /// Most items, ids or images in one request.
    pub max_batch: usize,
    /// Most bytes of results in one answer; a gRPC message holds 16 MiB.
    pub max_answer_bytes: usize,
    /// Most collections.
    pub max_collections: usize,
    /// Most models that are kept.
    pub max_models: usize,
    /// Most bytes of weights that stay loaded beside the server's own; one model always may.
    pub max_loaded_bytes: u64,
    /// Imports and exports of models under way at once; each may hold a weights file.
    pub max_transfers: usize,
    /// How long an import waits for the client's next message, in milliseconds.
    pub import_patience_ms: u64,
    /// Most operations that have ended and are remembered.
    pub max_operations: usize,
    /// Most operations that wait for the one that runs.
    pub max_waiting_operations: usize,
    /// Most images of a training; each takes about 8 KiB of memory.
    pub max_training_images: usize,
    /// Writes that may wait for the writer.
    pub write_queue: usize,
    /// Bytes of items that may be under way at once, in all requests together.
    pub max_bytes_under_way: usize,
    /// Searches longer than this many distance evaluations leave the async threads.
    pub max_inline_cost: usize,
    /// Most bytes of a request id.
    pub max_request_id_bytes: usize,
    /// How long a request id is remembered, in milliseconds.
    pub request_memory_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_k: 10_000,
            max_ef: 10_000,
            max_batch: 10_000,
            max_answer_bytes: 15 << 20,
            max_collections: 1_000,
            max_models: 100,
            max_loaded_bytes: 256 << 20,
            max_transfers: 4,
            import_patience_ms: 60_000,
            max_operations: 100,
            max_waiting_operations: 8,
            max_training_images: 30_000,
            write_queue: 1_024,
            max_bytes_under_way: 512 << 20,
            max_inline_cost: 20_000,
            max_request_id_bytes: 128,
            request_memory_ms: 24 * 60 * 60 * 1_000,
        }
    }
}

/// A count that must be within `1..=max`; 0 takes the default.
///
/// # Errors
/// Larger than `max`.
pub fn count(field: &str, given: usize, default: usize, max: usize) -> Result<usize, Invalid> {
    match given {
        0 => Ok(default),
        n if n <= max => Ok(n),
        n => Err(Invalid::new(
            field,
            n.to_string(),
            format!("1 to {max} are allowed"),
        )),
    }
}
