//! From the engine's errors to gRPC statuses: the only place that knows codes.

use crate::domain::Invalid;
use crate::domain::calibration::Shortage;
use crate::engine::{Error, ImageError, Resource};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt};

/// The domain of every `ErrorInfo` we make.
const DOMAIN: &str = "twindex.v1";

/// When to come back to a full queue.
const RETRY: Duration = Duration::from_millis(200);

/// A status with an `ErrorInfo` and nothing else.
pub(super) fn plain(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// Bad input at a field.
pub(super) fn bad_request(reason: &str, field: &str, description: &str) -> Status {
    let info = [("field".to_owned(), field.to_owned())];
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, info);
    details.set_bad_request(vec![FieldViolation::new(field, description)]);
    let message = format!("{field}: {description}");
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// Bad input, as the domain puts it.
pub(super) fn invalid(error: &Invalid) -> Status {
    let description = format!("{}; {}", error.was, error.allowed);
    bad_request("INVALID_FIELD", &error.field, &description)
}

fn image_reason(error: &ImageError) -> &'static str {
    match error {
        ImageError::Empty => "IMAGE_EMPTY",
        ImageError::TooManyBytes { .. } | ImageError::TooManyPixels { .. } => "IMAGE_TOO_LARGE",
        ImageError::Unsupported { .. } => "IMAGE_UNSUPPORTED",
        ImageError::Corrupt { .. } => "IMAGE_CORRUPT",
    }
}

fn about(code: Code, reason: &str, resource: Resource, name: &str, message: &str) -> Status {
    let info = [("name".to_owned(), name.to_owned())];
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, info);
    details.set_resource_info(format!("twindex.v1/{resource}"), name, "", message);
    Status::with_error_details(code, message, details)
}

/// What the server's state forbids.
pub(super) fn precondition(reason: &str, subject: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    let violation = PreconditionViolation::new(reason, subject, message);
    details.set_precondition_failure(vec![violation]);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

fn too_few(short: &Shortage, message: &str) -> Status {
    let info = [
        ("field", short.field.to_owned()),
        ("labels", short.labels.to_string()),
        ("labels_needed", short.labels_needed.to_string()),
        ("there", short.there.to_string()),
        ("needed", short.needed.to_string()),
    ];
    let info = info.map(|(name, value)| (name.to_owned(), value));
    let mut details = ErrorDetails::with_error_info("TOO_FEW_PAIRS", DOMAIN, info);
    let violation = PreconditionViolation::new("TOO_FEW_PAIRS", short.field, message);
    details.set_precondition_failure(vec![violation]);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

fn shouted(resource: Resource) -> String {
    resource.to_string().to_uppercase()
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(error) => invalid(&error),
            Error::Image { field, error } => {
                bad_request(image_reason(&error), &field, &error.to_string())
            }
            Error::NotFound { resource, name } => {
                let reason = format!("{}_NOT_FOUND", shouted(resource));
                about(Code::NotFound, &reason, resource, &name, &message)
            }
            Error::AlreadyExists { resource, name } => {
                let reason = format!("{}_EXISTS", shouted(resource));
                about(Code::AlreadyExists, &reason, resource, &name, &message)
            }
            Error::ModelMismatch { collection, .. } => {
                precondition("MODEL_MISMATCH", &collection, &message)
            }
            Error::ModelAbsent { model, .. } => precondition("MODEL_UNUSABLE", &model, &message),
            Error::ModelInUse { model, .. } => precondition("MODEL_IN_USE", &model, &message),
            Error::ModelBuiltIn { model } => precondition("MODEL_BUILT_IN", &model, &message),
            Error::BadModel(why) => bad_request("MODEL_INVALID", "data", &why),
            Error::ModelDiffers { version } => {
                let (code, reason) = (Code::AlreadyExists, "MODEL_EXISTS");
                about(code, reason, Resource::Model, &version, &message)
            }
            Error::NoImages { collection } => {
                precondition("IMAGES_NOT_KEPT", &collection, &message)
            }
            Error::FewClasses { collection, .. } => {
                precondition("TOO_FEW_CLASSES", &collection, &message)
            }
            Error::UnderWay { operation } => precondition("UNDER_WAY", &operation, &message),
            Error::NotCalibrated { collection, .. } => {
                precondition("NOT_CALIBRATED", &collection, &message)
            }
            Error::TooFew(short) => too_few(&short, &message),
            Error::Full { what, .. } => precondition("LIMIT_REACHED", what, &message),
            Error::Busy { .. } => {
                let mut details = ErrorDetails::with_error_info("OVERLOADED", DOMAIN, []);
                details.set_retry_info(Some(RETRY));
                Status::with_error_details(Code::ResourceExhausted, message, details)
            }
            Error::TooLarge { limit } => {
                let description = format!("the answer exceeds {limit} bytes; ask for less");
                bad_request("ANSWER_TOO_LARGE", "request", &description)
            }
            Error::ReadOnly(_) => plain(Code::Unavailable, "READ_ONLY", message),
            Error::Closed => plain(Code::Unavailable, "SHUTTING_DOWN", message),
            Error::Internal(_) => {
                tracing::error!(error = %message, "internal error");
                plain(Code::Internal, "INTERNAL", message)
            }
        }
    }
}

/// The same status as a message, for answers an item.
pub(super) fn to_proto(status: &Status) -> tonic_types::Status {
    let decoded = <tonic_types::Status as prost::Message>::decode(status.details());
    let details = decoded.map(|s| s.details).unwrap_or_default();
    tonic_types::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details,
    }
}

/// The status of what went well.
pub(super) fn ok() -> tonic_types::Status {
    tonic_types::Status::default()
}
