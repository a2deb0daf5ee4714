//! `DecisionService`.

use super::convert::{self, missing};
use super::pb::{self, decision_service_server::DecisionService};
use super::{filter, status};
use crate::domain::Invalid;
use crate::engine::{Classify, Engine, LabelScore, Method};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug)]
pub(super) struct Decisions(pub(super) Arc<Engine>);

fn method(given: i32) -> Result<Method, Status> {
    use pb::ClassifyMethod as M;
    match M::try_from(given) {
        Ok(M::Unspecified | M::Nearest) => Ok(Method::Nearest),
        Ok(M::Vote) => Ok(Method::Vote),
        Ok(M::Prototype) => Ok(Method::Prototype),
        Err(_) => {
            let allowed = "one of the enum's values is allowed";
            let error = Invalid::new("method", given.to_string(), allowed);
            Err(status::invalid(&error))
        }
    }
}

fn score(score: LabelScore) -> pb::LabelScore {
    pb::LabelScore {
        label: score.label.into(),
        example_id: score.example.into(),
        distance: score.distance,
        similarity: score.similarity,
        vote_share: score.vote_share,
    }
}

fn decision(same: Option<bool>) -> i32 {
    let decision = match same {
        None => pb::Decision::Unspecified,
        Some(true) => pb::Decision::Same,
        Some(false) => pb::Decision::Different,
    };
    decision.into()
}

#[tonic::async_trait]
impl DecisionService for Decisions {
    async fn classify(
        &self,
        request: Request<pb::ClassifyRequest>,
    ) -> Result<Response<pb::ClassifyResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let classify = Classify {
            probe: convert::probe(request.probe, "probe")?,
            method: method(request.method)?,
            k: request.k as usize,
            max_labels: request.max_labels as usize,
            min_similarity: request.min_similarity,
            filter: filter::optional(request.filter).map_err(|e| status::invalid(&e))?,
        };
        let answer = self.0.classify(&collection, classify).await?;
        let labels: Vec<_> = answer.labels.into_iter().map(score).collect();
        let best = labels.first().filter(|_| !answer.unknown);
        Ok(Response::new(pb::ClassifyResponse {
            unknown: answer.unknown,
            label: best.map_or_else(String::new, |b| b.label.clone()),
            labels,
            model_version: answer.model.unwrap_or_default(),
        }))
    }

    async fn compare(
        &self,
        request: Request<pb::CompareRequest>,
    ) -> Result<Response<pb::CompareResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let a = convert::probe(request.a, "a")?;
        let b = convert::probe(request.b, "b")?;
        let compared = self
            .0
            .compare(&collection, a, b, request.min_similarity)
            .await?;
        Ok(Response::new(pb::CompareResponse {
            distance: compared.distance,
            similarity: compared.similarity,
            decision: decision(compared.same),
            model_version: compared.model.unwrap_or_default(),
        }))
    }

    async fn verify(
        &self,
        request: Request<pb::VerifyRequest>,
    ) -> Result<Response<pb::VerifyResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let probe = convert::probe(request.probe, "probe")?;
        let label = convert::label(request.label).map_err(|e| status::invalid(&e))?;
        let label = label.ok_or_else(|| missing("label"))?;
        let min = request
            .min_similarity
            .ok_or_else(|| missing("min_similarity"))?;
        let (example, compared) = self.0.verify(&collection, probe, label, min).await?;
        Ok(Response::new(pb::VerifyResponse {
            decision: decision(compared.same),
            example_id: example.into(),
            distance: compared.distance,
            similarity: compared.similarity,
            model_version: compared.model.unwrap_or_default(),
        }))
    }

    async fn embed(
        &self,
        request: Request<pb::EmbedRequest>,
    ) -> Result<Response<pb::EmbedResponse>, Status> {
        let request = request.into_inner();
        let name = (!request.collection.is_empty()).then_some(request.collection);
        let collection = name.map(convert::collection).transpose()?;
        let embedded = self.0.embed(collection.as_ref(), request.images);
        let (vectors, model) = embedded.await?;
        let vectors = vectors.into_iter().map(|v| pb::Vector {
            values: v.into_vec(),
            model_version: model.clone(),
        });
        Ok(Response::new(pb::EmbedResponse {
            vectors: vectors.collect(),
            model_version: model,
        }))
    }
}
