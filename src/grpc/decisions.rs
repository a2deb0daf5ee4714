//! `DecisionService`.

use super::convert::{self, missing};
use super::pb::{self, decision_service_server::DecisionService};
use super::{filter, status};
use crate::domain::Invalid;
use crate::engine::{Answer, Classify, ClassifyBatch, Decide, Engine, LabelScore, Method};
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
        probability: score.probability,
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

fn classification(answer: Answer) -> pb::Classification {
    let reason = match (answer.unknown, answer.labels.is_empty()) {
        (false, _) => pb::UnknownReason::Unspecified,
        (true, true) => pb::UnknownReason::NoExample,
        (true, false) => pb::UnknownReason::NotSimilar,
    };
    let labels: Vec<_> = answer.labels.into_iter().map(score).collect();
    let best = labels.first();
    let named = best.filter(|_| !answer.unknown);
    pb::Classification {
        unknown: answer.unknown,
        label: named.map_or_else(String::new, |b| b.label.clone()),
        example_id: best.map_or_else(String::new, |b| b.example_id.clone()),
        labels,
        unknown_reason: reason.into(),
        operating_point: answer.point.map(convert::operating_point),
    }
}

#[tonic::async_trait]
impl DecisionService for Decisions {
    async fn classify(
        &self,
        request: Request<pb::ClassifyRequest>,
    ) -> Result<Response<pb::ClassifyResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let probe = convert::probe(request.probe, "probe")?;
        let classify = Classify {
            method: method(request.method)?,
            k: request.k as usize,
            max_labels: request.max_labels as usize,
            decide: Decide {
                min_similarity: request.min_similarity,
                target: request.target_fpir,
                prior: request.prior,
            },
            filter: filter::optional(request.filter).map_err(|e| status::invalid(&e))?,
        };
        let answer = self.0.classify(&collection, probe, classify).await?;
        let model_version = answer.model.clone().unwrap_or_default();
        let found = classification(answer);
        Ok(Response::new(pb::ClassifyResponse {
            unknown: found.unknown,
            label: found.label,
            labels: found.labels,
            model_version,
            example_id: found.example_id,
            unknown_reason: found.unknown_reason,
            operating_point: found.operating_point,
        }))
    }

    async fn classify_batch(
        &self,
        request: Request<pb::ClassifyBatchRequest>,
    ) -> Result<Response<pb::ClassifyBatchResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let probes = request.probes.into_iter().enumerate();
        let probes = probes.map(|(nth, p)| convert::probe(Some(p), &format!("probes[{nth}]")));
        let batch = ClassifyBatch {
            probes: probes.collect::<Result<_, _>>()?,
            how: Classify {
                method: method(request.method)?,
                k: request.k as usize,
                max_labels: request.max_labels as usize,
                decide: Decide {
                    min_similarity: request.min_similarity,
                    target: request.target_fpir,
                    prior: request.prior,
                },
                filter: filter::optional(request.filter).map_err(|e| status::invalid(&e))?,
            },
            one_to_one: request.one_to_one,
        };
        let answers = self.0.classify_batch(&collection, batch).await?;
        let model = answers.first().and_then(|a| a.model.clone());
        Ok(Response::new(pb::ClassifyBatchResponse {
            classifications: answers.into_iter().map(classification).collect(),
            model_version: model.unwrap_or_default(),
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
        let decide = Decide {
            min_similarity: request.min_similarity,
            target: request.target_far,
            prior: request.prior,
        };
        let compared = self.0.compare(&collection, a, b, decide).await?;
        Ok(Response::new(pb::CompareResponse {
            distance: compared.distance,
            similarity: compared.similarity,
            decision: decision(compared.same),
            model_version: compared.model.unwrap_or_default(),
            probability: compared.probability,
            operating_point: compared.point.map(convert::operating_point),
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
        let decide = Decide {
            min_similarity: request.min_similarity,
            target: request.target_far,
            prior: request.prior,
        };
        let (example, compared) = self.0.verify(&collection, probe, label, decide).await?;
        Ok(Response::new(pb::VerifyResponse {
            decision: decision(compared.same),
            example_id: example.into(),
            distance: compared.distance,
            similarity: compared.similarity,
            model_version: compared.model.unwrap_or_default(),
            probability: compared.probability,
            operating_point: compared.point.map(convert::operating_point),
        }))
    }

    async fn embed(
        &self,
        request: Request<pb::EmbedRequest>,
    ) -> Result<Response<pb::EmbedResponse>, Status> {
        let request = request.into_inner();
        let name = (!request.collection.is_empty()).then_some(request.collection);
        let collection = name.map(convert::collection).transpose()?;
        let views = convert::views(request.views, "views")?;
        let embedded = self.0.embed(collection.as_ref(), request.images, views);
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
