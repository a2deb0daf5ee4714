//! `SearchService`.

use super::pb::{self, search_service_server::SearchService};
use super::timing::IndexTime;
use super::{convert, filter, status};
use crate::domain::Recall;
use crate::engine::{Engine, Group, MeasureRecall, MeasuredRecall, Nearest, Search};
use std::sync::Arc;
use std::time::Duration;
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
        let probe = convert::probe(request.probe, "probe")?;
        let search = Search {
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
        let Some(by) = request.group_by_label else {
            let nearest = self.0.search(&collection, probe, search).await?;
            return Ok(answer(nearest, |hits| pb::SearchResponse {
                hits: hits.into_iter().map(convert::hit).collect(),
                ..Default::default()
            }));
        };
        let each = by.hits_per_group as usize;
        let nearest = self
            .0
            .search_groups(&collection, probe, search, each)
            .await?;
        Ok(answer(nearest, |groups| pb::SearchResponse {
            groups: groups.into_iter().map(group).collect(),
            ..Default::default()
        }))
    }

    async fn measure_recall(
        &self,
        request: Request<pb::MeasureRecallRequest>,
    ) -> Result<Response<pb::MeasureRecallResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let measure = MeasureRecall {
            questions: request.questions as usize,
            k: request.k as usize,
            recall: convert::recall(request.recall_target)?,
            ef: request.ef as usize,
        };
        let measured = self.0.measure_recall(&collection, measure).await?;
        Ok(Response::new(measured_recall(measured)))
    }
}

/// The answer to a search, which bears how long the index took.
fn answer<T>(
    nearest: Nearest<T>,
    found: impl FnOnce(Vec<T>) -> pb::SearchResponse,
) -> Response<pb::SearchResponse> {
    let message = pb::SearchResponse {
        model_version: nearest.model.unwrap_or_default(),
        ..found(nearest.found)
    };
    let mut response = Response::new(message);
    response
        .extensions_mut()
        .insert(IndexTime(nearest.index_time));
    response
}

fn group(group: Group) -> pb::HitGroup {
    pb::HitGroup {
        label: group.label.into(),
        hits: group.hits.into_iter().map(convert::hit).collect(),
    }
}

fn measured_recall(measured: MeasuredRecall) -> pb::MeasureRecallResponse {
    let (recall_low, recall_high) = measured.interval;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    pb::MeasureRecallResponse {
        recall: measured.recall,
        recall_low,
        recall_high,
        k: small(measured.k),
        recall_target: measured.target.map(Recall::get),
        recent_queries: small(measured.recent),
        stored_items: small(measured.stored),
        items: measured.items as u64,
        search_micros: micros(measured.search),
        exact_micros: micros(measured.exact),
        model_version: measured.model.unwrap_or_default(),
    }
}

/// A number within a limit.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
