//! A file of a backbone's weights.

use super::super::weights::read_within;
use super::super::{Error, header};
use super::Fingerprint;
use candle_core::{DType, Device, Tensor, safetensors};
use std::collections::HashMap;
use std::path::Path;

/// Largest file of a backbone, in bytes.
const MAX_BYTES: u64 = 4 << 30;

/// The numbers of a file as `f32`, and its fingerprint. What is not a number with a fraction (a
/// count of batches, say) is left out.
pub(super) fn read(path: &Path) -> Result<(HashMap<String, Tensor>, Fingerprint), Error> {
    let file = read_within(path, MAX_BYTES)?;
    header::check(&file)?;
    let hash = blake3::hash(&file);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    let tensors = safetensors::load_buffer(&file, &Device::Cpu)
        .map_err(|e| Error::NotSafetensors(e.to_string()))?;
    let numbers = tensors.into_iter().filter(|(_, t)| t.dtype().is_float());
    let numbers = numbers.map(|(name, t)| Ok((name, t.to_dtype(DType::F32)?)));
    let numbers = numbers.collect::<candle_core::Result<_>>()?;
    Ok((numbers, Fingerprint(u64::from_be_bytes(first))))
}
