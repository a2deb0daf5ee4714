//! What can go wrong, with its data; text and gRPC codes are made at the edge.

use crate::domain::Invalid;
use crate::domain::calibration::Shortage;
use crate::encoder::{ImageError, PoolError};
use crate::store;
use std::fmt;

/// The kinds of thing that can be missing or already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A collection, by name.
    Collection,
    /// An item, by id.
    Item,
    /// A label.
    Label,
    /// A model version.
    Model,
    /// An operation, by name.
    Operation,
    /// A collection's calibration, by the collection's name.
    Calibration,
    /// A collection's payload index, by its field.
    PayloadIndex,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collection => "collection",
            Self::Item => "item",
            Self::Label => "label",
            Self::Model => "model",
            Self::Operation => "operation",
            Self::Calibration => "calibration",
            Self::PayloadIndex => "payload index",
        })
    }
}

/// Why the engine refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be accepted.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An image cannot be accepted; `field` is where it stood.
    #[error("{field}: {error}")]
    Image {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        error: ImageError,
    },
    /// There is no such thing.
    #[error("there is no {resource} named {name:?}")]
    NotFound {
        /// What kind of thing.
        resource: Resource,
        /// Its name.
        name: String,
    },
    /// The name is taken.
    #[error("there is already a {resource} named {name:?}")]
    AlreadyExists {
        /// What kind of thing.
        resource: Resource,
        /// Its name.
        name: String,
    },
    /// A vector was made by another model than the collection's.
    #[error(
        "{field}.model_version: {given:?}; the collection {collection:?} pins the model {pinned:?}, and vectors of different models cannot be compared"
    )]
    ModelMismatch {
        /// Path of the vector's field.
        field: String,
        /// The model that made it.
        given: String,
        /// The collection.
        collection: String,
        /// Its model version.
        pinned: String,
    },
    /// The model that an image needs cannot be used here.
    #[error(
        "the model {model:?} is needed to embed images and cannot be used: {why}; import it with `twindex model import FILE`, or ModelService.ImportModel"
    )]
    ModelAbsent {
        /// Its version.
        model: String,
        /// Why.
        why: String,
    },
    /// What was imported is no usable model.
    #[error("data: {0}")]
    BadModel(String),
    /// Another file is kept under the version.
    #[error(
        "there is already a model {version:?}, with the same weights and another card or layout; import it under another name, or delete that one first"
    )]
    ModelDiffers {
        /// The version.
        version: String,
    },
    /// Collections pin the model.
    #[error("the model {model:?} is pinned by the collection {first:?}{}; delete that first", and_others(*others))]
    ModelInUse {
        /// Its version.
        model: String,
        /// One of the collections.
        first: String,
        /// How many there are beside it.
        others: usize,
    },
    /// The model is part of the program or of its start.
    #[error(
        "the model {model:?} is the server's own, bundled or given at its start, and cannot be deleted"
    )]
    ModelBuiltIn {
        /// Its version.
        model: String,
    },
    /// The collection has no images to learn from.
    #[error(
        "the collection {collection:?} keeps no source images, and so there is nothing to learn from; put the images into one that does"
    )]
    NoImages {
        /// The collection.
        collection: String,
    },
    /// The collection has too few labels to learn from.
    #[error(
        "in the collection {collection:?} {classes} labels have 2 items or more; at least {least} are needed to learn what is alike"
    )]
    FewClasses {
        /// The collection.
        collection: String,
        /// How many labels have two items.
        classes: usize,
        /// How many are needed.
        least: usize,
    },
    /// The operation has not ended.
    #[error("{operation} is under way; cancel it first")]
    UnderWay {
        /// Its name.
        operation: String,
    },
    /// Only a calibration can answer that.
    #[error(
        "{asked}: the collection {collection:?} {}: calibrate it (CalibrateCollection)",
        match void {
            None => "is not calibrated".to_owned(),
            Some((of, now)) => format!("was calibrated for the model {of}, and has {now} now"),
        }
    )]
    NotCalibrated {
        /// The field.
        asked: String,
        /// The collection.
        collection: String,
        /// The model of the calibration it keeps, and its own now, where they differ.
        void: Option<(String, String)>,
    },
    /// There are too few labels for a target rate.
    #[error(transparent)]
    TooFew(#[from] Shortage),
    /// A queue is full: try again later.
    #[error("{queue} is full; try again in a moment")]
    Busy {
        /// Which queue.
        queue: &'static str,
    },
    /// There may be no more of these.
    #[error("there are {limit} {what} already, and no more are allowed")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The answer would be larger than a message may be.
    #[error("the answer would be larger than {limit} bytes; ask for fewer results or less of each")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The disk failed: reads go on, writes are refused until a restart.
    #[error("the store is read-only since a write to disk failed: {0}")]
    ReadOnly(String),
    /// The engine is shutting down.
    #[error("the server is shutting down")]
    Closed,
    /// A fault of ours or of the disk.
    #[error("internal: {0}")]
    Internal(String),
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        n => format!(" and {n} others"),
    }
}

impl Error {
    /// Nothing of this kind has this name.
    pub fn not_found(resource: Resource, name: impl Into<String>) -> Self {
        Self::NotFound {
            resource,
            name: name.into(),
        }
    }

    /// The same failure, for another of those whose writes were committed together.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::ReadOnly(why) => Self::ReadOnly(why.clone()),
            other => Self::Internal(other.to_string()),
        }
    }

    /// An embedding failure, about the image at `field`.
    pub(super) fn embedding(field: &str, error: PoolError) -> Self {
        match error {
            PoolError::Image(error) => Self::Image {
                field: field.to_owned(),
                error,
            },
            PoolError::Busy { .. } => Self::Busy {
                queue: "the encoder's queue",
            },
            PoolError::Closed => Self::Closed,
            PoolError::Failed(why) => Self::Internal(why),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Failed(why) => Self::ReadOnly(why),
            other => Self::Internal(other.to_string()),
        }
    }
}
