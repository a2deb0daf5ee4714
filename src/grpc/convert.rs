//! Messages to the engine's types and back.

use super::pb::{self, item, probe};
use super::status;
use super::structs::{from_struct, to_struct};
use crate::domain::{CollectionName, Invalid, ItemId, Label, Payload};
use crate::engine::{Content, Found, GivenVector, Hit, NewItem, OperatingPoint, Probe, View};
use bytes::Bytes;
use prost_types::Timestamp;
use tonic::Status;

pub(super) fn collection(name: String) -> Result<CollectionName, Status> {
    CollectionName::new(name).map_err(|e| status::invalid(&e))
}

pub(super) fn id(id: String) -> Result<ItemId, Status> {
    ItemId::new(id).map_err(|e| status::invalid(&e))
}

pub(super) fn ids(ids: Vec<String>) -> Result<Vec<ItemId>, Status> {
    let ids = ids.into_iter().enumerate();
    ids.map(|(nth, id)| ItemId::new(id).map_err(|e| named(e, &format!("ids[{nth}]"))))
        .collect()
}

fn named(mut error: Invalid, field: &str) -> Status {
    field.clone_into(&mut error.field);
    status::invalid(&error)
}

/// The error for a message that is required.
pub(super) fn missing(field: &str) -> Status {
    status::invalid(&Invalid::new(field, "not set", "it is required"))
}

/// A label; empty: none.
pub(super) fn label(label: String) -> Result<Option<Label>, Invalid> {
    (!label.is_empty()).then(|| Label::new(label)).transpose()
}

pub(super) fn payload(payload: Option<prost_types::Struct>) -> Result<Payload, Invalid> {
    payload
        .map(from_struct)
        .transpose()
        .map(Option::unwrap_or_default)
}

/// An item to store; `at` is where it stood in the request.
pub(super) fn new_item(message: Option<pb::Item>, at: &str) -> Result<NewItem, Status> {
    let message = message.ok_or_else(|| missing(at))?;
    let content = match message.content {
        None => return Err(missing(&format!("{at}.content"))),
        Some(item::Content::Image(image)) => Content::Image(image),
        Some(item::Content::Vector(vector)) => Content::Vector(given(vector)),
    };
    let fields = || {
        let id = (!message.id.is_empty()).then(|| ItemId::new(message.id));
        Ok((
            id.transpose()?,
            label(message.label)?,
            payload(message.payload)?,
        ))
    };
    let (id, label, payload) = fields().map_err(|e: Invalid| status::invalid(&e.within(at)))?;
    Ok(NewItem {
        id,
        label,
        payload,
        content,
    })
}

pub(super) fn probe(message: Option<pb::Probe>, at: &str) -> Result<Probe, Status> {
    let content = message.and_then(|p| p.content).ok_or_else(|| missing(at))?;
    Ok(match content {
        probe::Content::Image(image) => Probe::Image(image),
        probe::Content::Vector(vector) => Probe::Vector(given(vector)),
        probe::Content::ItemId(id) => {
            let field = format!("{at}.item_id");
            Probe::Item(ItemId::new(id).map_err(|e| named(e, &field))?)
        }
    })
}

/// Where a decision was made.
pub(super) fn operating_point(point: OperatingPoint) -> pb::OperatingPoint {
    pb::OperatingPoint {
        min_similarity: point.min_similarity,
        target_rate: point.rate.map(|(target, _)| target),
        rate_low: point.rate.map(|(_, interval)| interval.low),
        rate_high: point.rate.map(|(_, interval)| interval.high),
        false_reject_rate: point.frr,
        gallery_labels: point.labels.unwrap_or(0) as u64,
    }
}

/// A message holds either the vector or the image.
pub(super) fn view(message: Option<pb::ItemView>) -> Result<View, Status> {
    let message = message.unwrap_or_default();
    if message.vector && message.image {
        let error = Invalid::new(
            "view",
            "vector and image",
            "one of them at a time is allowed",
        );
        return Err(status::invalid(&error));
    }
    Ok(View {
        vector: message.vector,
        image: message.image,
    })
}

pub(super) fn time(ms: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0),
    }
}

pub(super) fn text(label: Option<Label>) -> String {
    label.map(String::from).unwrap_or_default()
}

/// A vector whose model stands elsewhere in the answer, if it has one.
pub(super) fn vector(values: Vec<f32>) -> pb::Vector {
    pb::Vector {
        values,
        model_version: String::new(),
    }
}

fn given(vector: pb::Vector) -> GivenVector {
    let model = vector.model_version;
    GivenVector {
        values: vector.values,
        model: (!model.is_empty()).then_some(model),
    }
}

pub(super) fn item(found: Found) -> pb::Item {
    let Found {
        stored,
        vector: values,
        image,
    } = found;
    let content = match (values, image) {
        (Some(values), _) => Some(item::Content::Vector(vector(values))),
        (None, Some(image)) => Some(item::Content::Image(Bytes::from(image))),
        (None, None) => None,
    };
    pb::Item {
        id: stored.id.into(),
        label: text(stored.label),
        payload: (!stored.payload.is_empty()).then(|| to_struct(stored.payload)),
        content,
        create_time: Some(time(stored.created_ms)),
        update_time: Some(time(stored.updated_ms)),
        model_version: stored.model.unwrap_or_default(),
    }
}

pub(super) fn hit(hit: Hit) -> pb::Hit {
    pb::Hit {
        id: hit.id.into(),
        label: text(hit.label),
        distance: hit.distance,
        similarity: hit.similarity,
        payload: hit.payload.map(|p| to_struct(p.into_fields())),
        vector: hit.vector.map(vector),
        image: hit.image.map(Bytes::from).unwrap_or_default(),
    }
}

/// A page size within `1..=max`; 0 takes the default.
pub(super) fn page_size(given: i32, default: usize, max: usize) -> Result<usize, Status> {
    let size = usize::try_from(given).map_err(|_| {
        let allowed = format!("1 to {max} are allowed");
        status::invalid(&Invalid::new("page_size", given.to_string(), allowed))
    })?;
    crate::engine::count("page_size", size, default, max).map_err(|e| status::invalid(&e))
}
