//! How records become bytes: fixed fields first, little-endian, then what varies in length.

use super::{CollectionRecord, ItemRecord, ModelRecord, OperationRecord, Tag, values};
use crate::domain::calibration::Calibration;
use crate::domain::{ItemId, Label};

/// Meta: the sequence number.
pub(crate) const SEQUENCE: &str = "sequence";
/// Meta: the number of the next collection.
pub(crate) const NEXT_COLLECTION: &str = "next collection";
/// Meta: the number of the next segment.
pub(crate) const NEXT_SEGMENT: &str = "next segment";
/// Meta: commits so far.
pub(crate) const COMMIT: &str = "commit";

/// Takes a value apart from its front; every step fails with words where bytes are missing.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (front, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| format!("{len} bytes expected, {} left", self.0.len()))?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.bytes(N)?.try_into().map_err(|_| "short".to_owned())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, String> {
        self.array().map(f64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, String> {
        let len = self.u32()? as usize;
        std::str::from_utf8(self.bytes(len)?).map_err(|e| e.to_string())
    }

    /// Fails unless everything was read.
    pub(crate) fn end(&self) -> Result<(), String> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes too many")),
        }
    }
}

/// Appends a text, after its length.
pub(crate) fn put_text(into: &mut Vec<u8>, text: &str) {
    // Far above every limit on a text.
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// A collection, as JSON: there are few, and people may have to read them.
pub(crate) fn collection(record: &CollectionRecord) -> Vec<u8> {
    // Strings, numbers and plain enums always serialize.
    serde_json::to_vec(record).unwrap_or_default()
}

pub(crate) fn read_collection(bytes: &[u8]) -> Result<CollectionRecord, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// A model, as JSON, like a collection.
pub(crate) fn model(record: &ModelRecord) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

pub(crate) fn read_model(bytes: &[u8]) -> Result<ModelRecord, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// An operation, as JSON, like a collection.
pub(crate) fn operation(record: &OperationRecord) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

pub(crate) fn read_operation(bytes: &[u8]) -> Result<OperationRecord, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// A calibration, as JSON likewise.
pub(crate) fn calibration(calibration: &Calibration) -> Vec<u8> {
    // Finite numbers, strings and plain enums.
    serde_json::to_vec(calibration).unwrap_or_default()
}

pub(crate) fn read_calibration(bytes: &[u8]) -> Result<Calibration, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

const HAS_LABEL: u8 = 1;
const HAS_IMAGE: u8 = 2;
const HAS_MODEL: u8 = 4;

/// An item: flags, three numbers, what the flags announce, the payload.
pub(crate) fn item(record: &ItemRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let flag = |there: bool, flag: u8| if there { flag } else { 0 };
    out.push(
        flag(record.label.is_some(), HAS_LABEL)
            | flag(record.image.is_some(), HAS_IMAGE)
            | flag(record.model.is_some(), HAS_MODEL),
    );
    out.extend_from_slice(&record.seq.to_le_bytes());
    out.extend_from_slice(&record.created_ms.to_le_bytes());
    out.extend_from_slice(&record.updated_ms.to_le_bytes());
    if let Some(image) = record.image {
        out.extend_from_slice(&image.to_le_bytes());
    }
    if let Some(label) = &record.label {
        put_text(&mut out, label.as_str());
    }
    if let Some(model) = &record.model {
        put_text(&mut out, model);
    }
    values::put_payload(&mut out, &record.payload);
    out
}

pub(crate) fn read_item(bytes: &[u8]) -> Result<ItemRecord, String> {
    let mut from = Reader(bytes);
    let flags = from.byte()?;
    if flags & !(HAS_LABEL | HAS_IMAGE | HAS_MODEL) != 0 {
        return Err(format!("unknown flags {flags:#04x}"));
    }
    let (seq, created_ms, updated_ms) = (from.u64()?, from.u64()?, from.u64()?);
    let image = match flags & HAS_IMAGE {
        0 => None,
        _ => Some(from.u64()?),
    };
    let label = match flags & HAS_LABEL {
        0 => None,
        _ => Some(Label::new(from.text()?).map_err(|e| e.to_string())?),
    };
    let model = match flags & HAS_MODEL {
        0 => None,
        _ => Some(from.text()?.to_owned()),
    };
    let payload = values::read_payload(&mut from)?;
    from.end()?;
    Ok(ItemRecord {
        seq,
        label,
        payload,
        image,
        created_ms,
        updated_ms,
        model,
    })
}

/// A tag: the id, then the label, empty for none.
pub(crate) fn tag(tag: &Tag) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_text(&mut out, tag.id.as_str());
    if let Some(label) = &tag.label {
        out.extend_from_slice(label.as_str().as_bytes());
    }
    out
}

pub(crate) fn read_tag(bytes: &[u8]) -> Result<Tag, String> {
    let mut from = Reader(bytes);
    let id = ItemId::new(from.text()?).map_err(|e| e.to_string())?;
    let label = match from.0 {
        [] => None,
        label => {
            let label = std::str::from_utf8(label).map_err(|e| e.to_string())?;
            Some(Label::new(label).map_err(|e| e.to_string())?)
        }
    };
    Ok(Tag { id, label })
}

pub(crate) fn vector(components: &[f32]) -> Vec<u8> {
    components.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub(crate) fn read_vector(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let (components, []) = bytes.as_chunks::<4>() else {
        return Err(format!("{} bytes are no vector", bytes.len()));
    };
    Ok(components.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

pub(crate) fn request(ms: u64, answer: &[u8]) -> Vec<u8> {
    [&ms.to_le_bytes(), answer].concat()
}

pub(crate) fn read_request(bytes: &[u8]) -> Result<(u64, Vec<u8>), String> {
    let mut from = Reader(bytes);
    Ok((from.u64()?, from.0.to_vec()))
}

pub(crate) fn read_number(bytes: &[u8]) -> Result<u64, String> {
    let mut from = Reader(bytes);
    let number = from.u64()?;
    from.end()?;
    Ok(number)
}
