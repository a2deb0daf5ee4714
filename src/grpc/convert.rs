//! Messages to the engine's types and back.

use super::pb::{self, item, probe};
use super::status;
use super::structs::{from_struct, to_struct};
use crate::domain::{CollectionName, Invalid, ItemId, Label, Payload, Recall, ViewNumber, Views};
use crate::engine::{
    Content, Found, GivenImage, GivenVector, Hit, NewItem, OperatingPoint, Probe, View,
};
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

/// How many views of an image are wanted; `None` where the request leaves that open.
pub(super) fn views(given: u32, field: &str) -> Result<Option<Views>, Status> {
    let number = |n| ViewNumber::new(field, n).map_err(|e| status::invalid(&e));
    (given > 0)
        .then(|| number(given).map(Views::Mean))
        .transpose()
}

/// A single view, if one is wanted.
fn only_view(given: u32, field: &str) -> Result<Option<Views>, Status> {
    let number = |n| ViewNumber::new(field, n).map_err(|e| status::invalid(&e));
    (given > 0)
        .then(|| number(given).map(Views::Only))
        .transpose()
}

/// Refuses views of what has none.
fn without_views(views: Option<Views>, given: u32, field: &str) -> Result<(), Status> {
    if views.is_none_or(|v| v.numbers() == (1..=1)) {
        return Ok(());
    }
    let allowed = "views are of an image: 0 or 1 is allowed with anything else";
    Err(status::invalid(&Invalid::new(
        field,
        given.to_string(),
        allowed,
    )))
}

/// Which views of an item's image are embedded.
fn views_of_item(message: &pb::Item, at: &str) -> Result<Option<Views>, Status> {
    let fields = [format!("{at}.views"), format!("{at}.only_view")];
    let mean = views(message.views, &fields[0])?;
    let only = only_view(message.only_view, &fields[1])?;
    if mean.is_some() && only.is_some() {
        let was = message.only_view.to_string();
        let allowed = "either it or views is allowed";
        return Err(status::invalid(&Invalid::new(&*fields[1], was, allowed)));
    }
    if matches!(message.content, Some(item::Content::Vector(_))) {
        without_views(mean, message.views, &fields[0])?;
        without_views(only, message.only_view, &fields[1])?;
    }
    Ok(mean.or(only))
}

/// An item to store; `at` is where it stood in the request.
pub(super) fn new_item(message: Option<pb::Item>, at: &str) -> Result<NewItem, Status> {
    let message = message.ok_or_else(|| missing(at))?;
    let views = views_of_item(&message, at)?;
    let content = match message.content {
        None => return Err(missing(&format!("{at}.content"))),
        Some(item::Content::Image(bytes)) => Content::Image(GivenImage { bytes, views }),
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
    let message = message.unwrap_or_default();
    let content = message.content.ok_or_else(|| missing(at))?;
    let field = format!("{at}.views");
    let views = views(message.views, &field)?;
    if !matches!(content, probe::Content::Image(_)) {
        without_views(views, message.views, &field)?;
    }
    Ok(match content {
        probe::Content::Image(bytes) => Probe::Image(GivenImage { bytes, views }),
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

pub(super) fn recall(given: Option<f32>) -> Result<Option<Recall>, Status> {
    let recall = given.map(|recall| Recall::new("recall_target", recall));
    recall.transpose().map_err(|e| status::invalid(&e))
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
        views: 0,
        only_view: 0,
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
