//! `google.longrunning.Operations`, and what operations look like there.

use super::longrunning::operations_server::Operations as Service;
use super::longrunning::{self as lro, operation};
use super::{convert, pb, status, token};
use crate::domain::Invalid;
use crate::engine::{Cause, End, Engine, Operation, Trained};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// How long to wait for an operation where nothing is said, and at most.
const PATIENCE: Duration = Duration::from_secs(600);

/// The service.
#[derive(Debug)]
pub(super) struct Operations(pub(super) Arc<Engine>);

/// A message of ours, with its type.
fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/twindex.v1.{name}"),
        value: message.encode_to_vec(),
    }
}

/// An operation as it stands.
pub(super) fn operation(operation: Operation) -> lro::Operation {
    let progress = operation.progress;
    let metadata = pb::TrainModelMetadata {
        collection: operation.task.collection,
        name: operation.task.model,
        waiting: !operation.begun,
        step: progress.step,
        fraction: progress.fraction,
        loss: progress.loss,
        time_left: Some(prost_types::Duration {
            seconds: i64::try_from(progress.seconds_left).unwrap_or(i64::MAX),
            nanos: 0,
        })
        .filter(|_| operation.begun && operation.end.is_none()),
        create_time: Some(convert::time(operation.created_ms)),
        end_time: operation.ended_ms.map(convert::time),
    };
    let result = operation.end.map(|end| match end {
        End::Trained(trained) => {
            operation::Result::Response(any("TrainModelResponse", &response(*trained)))
        }
        End::Failed(cause, why) => {
            operation::Result::Error(status::to_proto(&failure(&operation.name, cause, why)))
        }
    });
    lro::Operation {
        name: operation.name,
        metadata: Some(any("TrainModelMetadata", &metadata)),
        done: result.is_some(),
        result,
    }
}

fn response(trained: Trained) -> pb::TrainModelResponse {
    pb::TrainModelResponse {
        model_version: trained.version,
        steps: trained.steps,
        images_seen: trained.images_seen,
        minutes: trained.minutes,
        loss: trained.loss,
        classes: trained.classes as u64,
        images: trained.images as u64,
    }
}

fn failure(name: &str, cause: Cause, why: String) -> Status {
    let (code, reason) = match cause {
        Cause::Cancelled => (Code::Cancelled, "OPERATION_CANCELLED"),
        Cause::Aborted => (Code::Aborted, "OPERATION_ABORTED"),
        Cause::Unfit => return status::precondition("OPERATION_UNFIT", name, &why),
        Cause::Internal => (Code::Internal, "INTERNAL"),
    };
    status::plain(code, reason, why)
}

fn timeout(given: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let Some(given) = given else {
        return Ok(PATIENCE);
    };
    let was = format!("{given}");
    let asked: Result<Duration, _> = given.try_into();
    let asked = asked.ok().filter(|asked| *asked <= PATIENCE);
    asked.ok_or_else(|| {
        let allowed = format!("0 to {} seconds are allowed", PATIENCE.as_secs());
        status::invalid(&Invalid::new("timeout", was, allowed))
    })
}

#[tonic::async_trait]
impl Service for Operations {
    async fn list_operations(
        &self,
        request: Request<lro::ListOperationsRequest>,
    ) -> Result<Response<lro::ListOperationsResponse>, Status> {
        let request = request.into_inner();
        if !request.filter.is_empty() {
            let allowed = "filters are not supported: leave it empty";
            let error = Invalid::new("filter", format!("{:?}", request.filter), allowed);
            return Err(status::invalid(&error));
        }
        if !matches!(request.name.as_str(), "" | "operations") {
            let allowed = "empty or \"operations\" is allowed";
            let error = Invalid::new("name", format!("{:?}", request.name), allowed);
            return Err(status::invalid(&error));
        }
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let after = token::read("operations", &request.page_token);
        let after = after.map_err(|e| status::invalid(&e))?;
        let mut page = self.0.operations(after.as_deref(), size + 1);
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more);
        let next_page_token =
            next.map_or_else(String::new, |last| token::make("operations", &last.name));
        Ok(Response::new(lro::ListOperationsResponse {
            operations: page.into_iter().map(operation).collect(),
            next_page_token,
        }))
    }

    async fn get_operation(
        &self,
        request: Request<lro::GetOperationRequest>,
    ) -> Result<Response<lro::Operation>, Status> {
        let found = self.0.operation(&request.into_inner().name)?;
        Ok(Response::new(operation(found)))
    }

    async fn delete_operation(
        &self,
        request: Request<lro::DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.delete_operation(&request.into_inner().name).await?;
        Ok(Response::new(()))
    }

    async fn cancel_operation(
        &self,
        request: Request<lro::CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.cancel_operation(&request.into_inner().name).await?;
        Ok(Response::new(()))
    }

    async fn wait_operation(
        &self,
        request: Request<lro::WaitOperationRequest>,
    ) -> Result<Response<lro::Operation>, Status> {
        let request = request.into_inner();
        let most = timeout(request.timeout)?;
        let found = self.0.wait_operation(&request.name, most).await?;
        Ok(Response::new(operation(found)))
    }
}
