//! `ModelService`.

use super::convert::{self, missing};
use super::longrunning as lro;
use super::operations::operation;
use super::pb::{self, model_service_server::ModelService};
use super::structs::to_struct;
use super::{edge, status, token};
use crate::domain::Invalid;
use crate::engine::{self, Engine, Train, Transfer};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Request, Response, Status, Streaming};

/// Bytes of a weights file in one message.
const PIECE: usize = 1 << 20;

/// The service.
#[derive(Debug)]
pub(super) struct Models(pub(super) Arc<Engine>);

pub(super) fn model(model: engine::Model) -> pb::Model {
    pb::Model {
        version: model.version,
        name: model.name,
        architecture: model.architecture,
        dimension: model.dim,
        size_bytes: model.bytes,
        hash: model.hash,
        import_time: model.imported_ms.map(convert::time),
        built_in: model.built_in,
        default: model.default,
        collection_count: u32::try_from(model.collections).unwrap_or(u32::MAX),
        damage: model.damage.unwrap_or_default(),
    }
}

/// The next part of an import, if it comes in time.
async fn next(
    requests: &mut Streaming<pb::ImportModelRequest>,
    patience: Duration,
) -> Result<Option<pb::import_model_request::Content>, Status> {
    let waited = tokio::time::timeout(patience, requests.message());
    let message = waited.await.map_err(|_| {
        let told = format!(
            "the next message of the import did not come within {} seconds",
            patience.as_secs_f32()
        );
        status::plain(Code::DeadlineExceeded, "IMPORT_STALLED", told)
    })?;
    let message = message.map_err(|status| edge::explain(&status))?;
    match message {
        None => Ok(None),
        Some(message) => message.content.map(Some).ok_or_else(|| missing("content")),
    }
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn import_model(
        &self,
        request: Request<Streaming<pb::ImportModelRequest>>,
    ) -> Result<Response<pb::ImportModelResponse>, Status> {
        use pb::import_model_request::Content;
        let mut requests = request.into_inner();
        let patience = Duration::from_millis(self.0.limits().import_patience_ms);
        let Some(Content::Header(header)) = next(&mut requests, patience).await? else {
            return Err(missing("header"));
        };
        let answer = |imported| {
            Ok(Response::new(pb::ImportModelResponse {
                model: Some(model(imported)),
            }))
        };
        if let Some(imported) = self.0.imported(&header.request_id)? {
            return answer(imported);
        }
        let name = (!header.name.is_empty()).then_some(header.name);
        let mut import = self.0.begin_import(name)?;
        while let Some(content) = next(&mut requests, patience).await? {
            match content {
                Content::Data(data) => import.push(&data)?,
                Content::Header(_) => {
                    let allowed = "only the first message is a header";
                    let error = Invalid::new("header", "a second time", allowed);
                    return Err(status::invalid(&error));
                }
            }
        }
        answer(self.0.import_model(import, &header.request_id).await?)
    }

    async fn get_model(
        &self,
        request: Request<pb::GetModelRequest>,
    ) -> Result<Response<pb::GetModelResponse>, Status> {
        let shown = self.0.model(&request.into_inner().version)?;
        Ok(Response::new(pb::GetModelResponse {
            model: Some(model(shown.model)),
            card: Some(to_struct(shown.card)),
            collections: shown.collections.into_iter().map(String::from).collect(),
        }))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let request = request.into_inner();
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let after = token::read("models", &request.page_token);
        let after = after.map_err(|e| status::invalid(&e))?;
        let mut page = self.0.models(after.as_deref(), size + 1);
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more);
        let next_page_token =
            next.map_or_else(String::new, |last| token::make("models", &last.version));
        Ok(Response::new(pb::ListModelsResponse {
            models: page.into_iter().map(model).collect(),
            next_page_token,
        }))
    }

    async fn delete_model(
        &self,
        request: Request<pb::DeleteModelRequest>,
    ) -> Result<Response<pb::DeleteModelResponse>, Status> {
        let request = request.into_inner();
        self.0
            .delete_model(&request.version, &request.request_id)
            .await?;
        Ok(Response::new(pb::DeleteModelResponse {}))
    }

    async fn train_model(
        &self,
        request: Request<pb::TrainModelRequest>,
    ) -> Result<Response<lro::Operation>, Status> {
        use pb::train_model_request::Length;
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let text = |text: String| (!text.is_empty()).then_some(text);
        let (minutes, steps) = match request.length {
            None => (None, None),
            Some(Length::Minutes(minutes)) => (Some(minutes), None),
            Some(Length::Steps(steps)) => (None, Some(steps)),
        };
        let train = Train {
            name: text(request.name),
            minutes,
            steps,
            seed: request.seed,
            recipe: text(request.recipe),
            loss: text(request.loss),
        };
        let accepted = self.0.train_model(&collection, train, &request.request_id);
        Ok(Response::new(operation(accepted.await?)))
    }

    type ExportModelStream = Pieces;

    async fn export_model(
        &self,
        request: Request<pb::ExportModelRequest>,
    ) -> Result<Response<Self::ExportModelStream>, Status> {
        let (file, slot) = self.0.export_model(&request.into_inner().version).await?;
        Ok(Response::new(pieces(file, slot)))
    }
}

/// The answers of an export.
type Pieces = Pin<Box<dyn Stream<Item = Result<pb::ExportModelResponse, Status>> + Send>>;

/// A file piece by piece; its place among the transfers is free again after the last.
fn pieces(file: Bytes, slot: Transfer) -> Pieces {
    let left = (file, slot);
    Box::pin(stream::unfold(left, |(mut file, slot)| async move {
        if file.is_empty() {
            return None;
        }
        let data = file.split_to(file.len().min(PIECE));
        Some((Ok(pb::ExportModelResponse { data }), (file, slot)))
    }))
}
