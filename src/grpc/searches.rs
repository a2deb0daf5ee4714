//! `SearchService`.

use super::pb::{self, search_service_server::SearchService};
use super::{convert, filter, status};
use crate::engine::{Engine, Search};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug)]
pub(super) struct Searches(pub(super) Arc<Engine>);

#[tonic::async_trait]
impl SearchService for Searches {
    async fn search(
        &self,
        request: Request<pb::SearchRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let search = Search {
            probe: convert::probe(request.probe, "probe")?,
            k: request.k as usize,
            filter: filter::optional(request.filter).map_err(|e| status::invalid(&e))?,
            min_similarity: request.min_similarity,
            exact: request.exact,
            recall: convert::recall(request.recall_target)?,
            ef: request.ef as usize,
            with_payload: request.with_payload,
            with_vector: request.with_vector,
            with_image: request.with_image,
        };
        let (hits, model) = self.0.search(&collection, search).await?;
        Ok(Response::new(pb::SearchResponse {
            hits: hits.into_iter().map(convert::hit).collect(),
            model_version: model.unwrap_or_default(),
        }))
    }
}
