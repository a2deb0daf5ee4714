//! What can go wrong between a file and an embedding.

use std::path::PathBuf;

/// Why an encoder could not be loaded or could not embed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The weights file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// More bytes than any encoder of ours has.
    #[error("weights: {bytes} bytes; at most {limit} bytes are allowed")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// Largest accepted.
        limit: u64,
    },
    /// Not a safetensors file.
    #[error("weights: not a safetensors file: {0}")]
    NotSafetensors(String),
    /// The card in the file's metadata is missing or says something impossible.
    #[error("weights: card: {0}")]
    Card(String),
    /// A tensor is missing, left over, misshapen or not finite.
    #[error("weights: tensor {name}: {was}; {allowed}")]
    Tensor {
        /// Its name.
        name: String,
        /// What was found.
        was: String,
        /// What the card's architecture asks for.
        allowed: String,
    },
    /// The backbone that the model stands on is not at hand.
    #[error("backbone: {0}")]
    Backbone(String),
    /// The tower gave a vector that has no direction.
    #[error("the encoder gave a vector without direction: {0}")]
    Degenerate(String),
    /// The tensor library failed.
    #[error("tensor computation: {0}")]
    Compute(#[from] candle_core::Error),
}

/// Why an image was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes at all.
    #[error("image: 0 bytes; a PNG, JPEG or PNM file is needed")]
    Empty,
    /// The file is too large.
    #[error("image: {bytes} bytes; at most {limit} bytes are allowed")]
    TooManyBytes {
        /// Size of the file.
        bytes: usize,
        /// Largest accepted.
        limit: usize,
    },
    /// The picture is too large, as its header says.
    #[error(
        "image: {width} x {height} pixels; at most {limit} pixels and {side} a side are allowed"
    )]
    TooManyPixels {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Most pixels accepted.
        limit: u64,
        /// Most columns, and most rows, accepted.
        side: u32,
    },
    /// Neither PNG, JPEG nor PNM.
    #[error("image: begins with {begins}; PNG, JPEG and PNM (PBM, PGM, PPM) are supported")]
    Unsupported {
        /// The first bytes, in hexadecimal.
        begins: String,
    },
    /// Begins like a PNG, JPEG or PNM file, but cannot be decoded.
    #[error("image: cannot be decoded: {0}")]
    Corrupt(String),
}
