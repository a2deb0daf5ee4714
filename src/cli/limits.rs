//! What a server accepts: the limits that an operator may set.

use crate::encoder::ImageLimits;
use crate::engine::Limits;
use crate::grpc::MAX_MESSAGE_BYTES;
use clap::builder::RangedU64ValueParser;
use std::ops::RangeInclusive;

/// Limits of `serve`; by default the contract's.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Limits")]
#[expect(clippy::struct_field_names, reason = "they name the flags")]
pub struct LimitArgs {
    /// Largest image file, in bytes; a message holds no more than 16 MiB
    #[arg(long, env = "TWINDEX_MAX_IMAGE_BYTES", value_name = "N",
        default_value_t = ImageLimits::default().max_bytes,
        value_parser = within(1..=MAX_MESSAGE_BYTES as u64))]
    max_image_bytes: usize,
    /// Most pixels of an image, width times height
    #[arg(long, env = "TWINDEX_MAX_IMAGE_PIXELS", value_name = "N",
        default_value_t = ImageLimits::default().max_pixels,
        value_parser = clap::value_parser!(u64).range(1..=200_000_000))]
    max_image_pixels: u64,
    /// Most items, ids or images in one request; at least 100
    #[arg(long, env = "TWINDEX_MAX_BATCH", value_name = "N",
        default_value_t = Limits::default().max_batch, value_parser = within(100..=100_000))]
    max_batch: usize,
    /// Most results of a search; at least 10
    #[arg(long, env = "TWINDEX_MAX_K", value_name = "N",
        default_value_t = Limits::default().max_k, value_parser = within(10..=100_000))]
    max_k: usize,
    /// Most collections
    #[arg(long, env = "TWINDEX_MAX_COLLECTIONS", value_name = "N",
        default_value_t = Limits::default().max_collections, value_parser = within(1..=100_000))]
    max_collections: usize,
}

fn within(allowed: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(allowed)
}

impl LimitArgs {
    /// The engine's part.
    #[must_use]
    pub fn engine(&self) -> Limits {
        Limits {
            max_batch: self.max_batch,
            max_k: self.max_k,
            max_collections: self.max_collections,
            ..Limits::default()
        }
    }

    /// The encoder's part.
    #[must_use]
    pub fn images(&self) -> ImageLimits {
        ImageLimits {
            max_bytes: self.max_image_bytes,
            max_pixels: self.max_image_pixels,
            ..ImageLimits::default()
        }
    }
}
