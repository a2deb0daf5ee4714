//! A weights file is looked at before it is kept: parsed, checked, and tried on drawings.

use super::error::Error;
use super::now_ms;
use crate::encoder::{Card, Encoder, Prepared, Weights};
use crate::store::ModelRecord;
use crate::training::glyphs::Alphabet;
use bytes::Bytes;
use image::ImageFormat;
use std::io::Cursor;

/// Largest card, in bytes of JSON: it stands in the memory of every server that has the model.
const MAX_CARD_BYTES: usize = 64 << 10;
/// Drawings that a model is tried on.
const DRAWINGS: usize = 8;
/// Cosine distance within which two vectors are one, but for rounding.
const SAME: f32 = 1e-6;

/// A model that may be kept.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) record: ModelRecord,
    pub(super) file: Bytes,
}

/// Checks a weights file that need not be trusted. `name`: instead of its card's.
pub(super) fn check(file: Vec<u8>, name: Option<String>) -> Result<Checked, Error> {
    let bad = |e: crate::encoder::Error| Error::BadModel(e.to_string());
    let file = match name {
        None => file,
        Some(name) => {
            let (weights, mut card) = Weights::parse(&file).map_err(bad)?;
            card.name = name;
            let card = Card::parse(&card.to_json()).map_err(bad)?;
            weights.to_file(&card).map_err(bad)?
        }
    };
    let encoder = Encoder::from_bytes(&file).map_err(bad)?;
    let card = encoder.card().to_json().len();
    if card > MAX_CARD_BYTES {
        let told = format!("card: {card} bytes; at most {MAX_CARD_BYTES} bytes are allowed");
        return Err(Error::BadModel(told));
    }
    try_out(&encoder)?;
    Ok(trusted(&encoder, file.into()))
}

/// The same for an encoder that is in use.
pub(super) fn trusted(encoder: &Encoder, file: Bytes) -> Checked {
    Checked {
        record: record(encoder, &file, now_ms()),
        file,
    }
}

/// What is kept of an encoder beside its file.
pub(super) fn record(encoder: &Encoder, file: &[u8], imported_ms: u64) -> ModelRecord {
    let card = encoder.card();
    let hash = (!file.is_empty()).then(|| blake3::hash(file).to_hex().to_string());
    ModelRecord {
        version: encoder.version().to_owned(),
        name: card.name.clone(),
        architecture: card.architecture.clone(),
        dim: u32::try_from(encoder.dim()).unwrap_or(u32::MAX),
        bytes: file.len() as u64,
        hash: hash.unwrap_or_default(),
        card: card.to_json(),
        imported_ms,
    }
}

/// Embeds a few drawings. A model that has learnt nothing may pass; one that cannot embed, or
/// tells no two drawings apart, may not.
fn try_out(encoder: &Encoder) -> Result<(), Error> {
    let drawings = drawings(encoder)?;
    let vectors = encoder.embed(&drawings);
    let vectors = vectors.map_err(|e| Error::BadModel(format!("tried on drawings: {e}")))?;
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let first = vectors[0].as_slice();
    let apart = vectors[1..]
        .iter()
        .any(|v| 1.0 - cosine(first, v.as_slice()) > SAME);
    if apart {
        return Ok(());
    }
    Err(Error::BadModel(format!(
        "tried on {DRAWINGS} different drawings, it gave one vector for all; a model must tell \
         images apart"
    )))
}

fn drawings(encoder: &Encoder) -> Result<Vec<Prepared>, Error> {
    let alphabet = Alphabet::new(1, DRAWINGS);
    let draw = |character| {
        let mut png = Cursor::new(Vec::new());
        let drawn = alphabet.draw(character, 0);
        let written = drawn.write_to(&mut png, ImageFormat::Png);
        written.map_err(|e| Error::Internal(format!("drawing: {e}")))?;
        let prepared = encoder.prepare(png.get_ref());
        prepared.map_err(|e| Error::Internal(format!("drawing: {e}")))
    };
    (0..DRAWINGS).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Plan;
    use crate::training::init;

    fn weights() -> Weights {
        let plan = Plan {
            widths: [2, 3, 4],
            ..Plan::default()
        };
        init::initial(plan, 3)
    }

    fn file(weights: &Weights) -> Vec<u8> {
        weights.to_file(&Card::new("m", weights.plan)).unwrap()
    }

    fn told(file: Vec<u8>) -> String {
        check(file, None).unwrap_err().to_string()
    }

    #[test]
    fn an_untrained_model_passes_and_a_degenerate_one_does_not() {
        let good = weights();
        let checked = check(file(&good), None).unwrap();
        assert_eq!(checked.record.version, format!("m-{}", good.hash()));
        // Nothing of the image reaches the vector.
        let mut deaf = good.clone();
        deaf.head.fill(0.0);
        deaf.bias.fill(1.0);
        assert!(told(file(&deaf)).contains("one vector for all"));
        // No vector at all.
        let mut mute = good.clone();
        mute.head.fill(0.0);
        mute.bias.fill(0.0);
        assert!(told(file(&mute)).contains("without direction"));
        let mut loud = good;
        loud.head.fill(f32::MAX);
        assert!(!told(file(&loud)).is_empty());
    }

    #[test]
    fn another_name_makes_another_version_of_the_same_weights() {
        let good = weights();
        let named = |name: &str| check(file(&good), Some(name.into()));
        let renamed = named("other").unwrap();
        assert_eq!(renamed.record.version, format!("other-{}", good.hash()));
        assert_eq!(named("other").unwrap().record.hash, renamed.record.hash);
        let again = check(renamed.file.to_vec(), None).unwrap();
        assert_eq!(again.record.version, renamed.record.version);
        for bad in ["", "Big", "a/b", "../x", &"x".repeat(65)] {
            let told = named(bad).unwrap_err().to_string();
            assert!(told.contains("name"), "{told}");
        }
    }

    #[test]
    fn a_card_has_its_limit() {
        let good = weights();
        let mut card = Card::new("m", good.plan);
        card.data = "x".repeat(MAX_CARD_BYTES);
        assert!(told(good.to_file(&card).unwrap()).contains("at most 65536 bytes"));
    }
}
