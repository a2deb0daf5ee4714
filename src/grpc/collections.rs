//! `CollectionService`.

use super::convert::{self, missing};
use super::pb::{self, collection_service_server::CollectionService};
use super::{status, token};
use crate::domain::{CollectionName, Invalid, Metric, VectorStorage};
use crate::engine::{CollectionRecord, Engine, NewCollection, PayloadIndex, Source};

use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug)]
pub(super) struct Collections(pub(super) Arc<Engine>);

fn metric(given: i32) -> Result<Metric, Status> {
    match pb::Metric::try_from(given) {
        Ok(pb::Metric::Unspecified | pb::Metric::Cosine) => Ok(Metric::Cosine),
        Ok(pb::Metric::Euclidean) => Ok(Metric::Euclidean),
        Ok(pb::Metric::Dot) => Ok(Metric::Dot),
        Err(_) => Err(unknown("collection.metric", given)),
    }
}

fn storage(given: i32) -> Result<VectorStorage, Status> {
    match pb::VectorStorage::try_from(given) {
        Ok(pb::VectorStorage::Unspecified | pb::VectorStorage::Memory) => Ok(VectorStorage::Memory),
        Ok(pb::VectorStorage::Disk) => Ok(VectorStorage::Disk),
        Err(_) => Err(unknown("collection.vector_storage", given)),
    }
}

fn unknown(field: &str, given: i32) -> Status {
    let error = Invalid::new(
        field,
        given.to_string(),
        "one of the enum's values is allowed",
    );
    status::invalid(&error)
}

fn source(message: &pb::Collection) -> Result<Source, Status> {
    let both = |field: &str, was: String, allowed: &str| {
        status::invalid(&Invalid::new(format!("collection.{field}"), was, allowed))
    };
    let images = match pb::Source::try_from(message.source) {
        Ok(pb::Source::Unspecified) => message.dimension == 0,
        Ok(pb::Source::Image) => true,
        Ok(pb::Source::Vector) => false,
        Err(_) => return Err(unknown("collection.source", message.source)),
    };
    if !images {
        if !message.model_version.is_empty() {
            let was = message.model_version.clone();
            return Err(both(
                "model_version",
                was,
                "a collection of vectors has no model",
            ));
        }
        return Ok(Source::Vectors(message.dimension));
    }
    if message.dimension != 0 {
        let was = message.dimension.to_string();
        return Err(both(
            "dimension",
            was,
            "the encoder sets it where images are embedded",
        ));
    }
    let model = message.model_version.clone();
    Ok(Source::Images((!model.is_empty()).then_some(model)))
}

fn new_collection(message: pb::Collection) -> Result<NewCollection, Status> {
    let within = |e: Invalid| status::invalid(&e.within("collection"));
    Ok(NewCollection {
        metric: metric(message.metric)?,
        source: source(&message)?,
        name: CollectionName::new(message.name).map_err(|mut e| {
            "name".clone_into(&mut e.field);
            within(e)
        })?,
        description: message.description,
        m: message.m,
        ef_construction: message.ef_construction,
        keep_images: !message.discard_images,
        views: message.views,
        recall: message.recall_target,
        storage: storage(message.vector_storage)?,
    })
}

fn to_message(record: CollectionRecord, indexes: Vec<PayloadIndex>) -> pb::Collection {
    let metric = match record.metric {
        Metric::Cosine => pb::Metric::Cosine,
        Metric::Euclidean => pb::Metric::Euclidean,
        Metric::Dot => pb::Metric::Dot,
    };
    let source = match record.model {
        Some(_) => pb::Source::Image,
        None => pb::Source::Vector,
    };
    pb::Collection {
        name: record.name.into(),
        description: record.description,
        metric: metric.into(),
        dimension: record.dim,
        source: source.into(),
        model_version: record.model.unwrap_or_default(),
        m: record.m,
        ef_construction: record.ef_construction,
        discard_images: !record.keep_images,
        create_time: Some(convert::time(record.created_ms)),
        views: record.views.into(),
        recall_target: record.recall.get(),
        vector_storage: match record.storage {
            VectorStorage::Memory => pb::VectorStorage::Memory.into(),
            VectorStorage::Disk => pb::VectorStorage::Disk.into(),
        },
        payload_indexes: indexes.into_iter().map(index).collect(),
    }
}

fn index(index: PayloadIndex) -> pb::PayloadIndex {
    pb::PayloadIndex {
        field: index.field,
        ready: index.ready,
    }
}

impl Collections {
    /// A collection with its payload indexes; it may be deleted meanwhile.
    fn described(&self, record: CollectionRecord) -> pb::Collection {
        let indexes = self.0.payload_indexes(&record.name).unwrap_or_default();
        to_message(record, indexes)
    }
}

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Result<Response<pb::CreateCollectionResponse>, Status> {
        let request = request.into_inner();
        let new = request.collection.ok_or_else(|| missing("collection"))?;
        let new = new_collection(new)?;
        let record = self.0.create_collection(new, &request.request_id).await?;
        Ok(Response::new(pb::CreateCollectionResponse {
            collection: Some(to_message(record, Vec::new())),
        }))
    }

    async fn get_collection(
        &self,
        request: Request<pb::GetCollectionRequest>,
    ) -> Result<Response<pb::GetCollectionResponse>, Status> {
        let name = convert::collection(request.into_inner().name)?;
        Ok(Response::new(pb::GetCollectionResponse {
            collection: Some(self.described(self.0.collection(&name)?)),
        }))
    }

    async fn list_collections(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Result<Response<pb::ListCollectionsResponse>, Status> {
        let request = request.into_inner();
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let after = token::read("collections", &request.page_token);
        let after = after.map_err(|e| status::invalid(&e))?;
        let after = after.map(convert::collection).transpose()?;
        let mut page = self.0.collections(after.as_ref(), size + 1);
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more);
        let next_page_token = next.map_or_else(String::new, |last| {
            token::make("collections", last.name.as_str())
        });
        Ok(Response::new(pb::ListCollectionsResponse {
            collections: page.into_iter().map(|c| self.described(c)).collect(),
            next_page_token,
        }))
    }

    async fn delete_collection(
        &self,
        request: Request<pb::DeleteCollectionRequest>,
    ) -> Result<Response<pb::DeleteCollectionResponse>, Status> {
        let request = request.into_inner();
        let name = convert::collection(request.name)?;
        self.0.delete_collection(name, &request.request_id).await?;
        Ok(Response::new(pb::DeleteCollectionResponse {}))
    }

    async fn get_collection_stats(
        &self,
        request: Request<pb::GetCollectionStatsRequest>,
    ) -> Result<Response<pb::GetCollectionStatsResponse>, Status> {
        let name = convert::collection(request.into_inner().name)?;
        let stats = self.0.stats(&name)?;
        Ok(Response::new(pb::GetCollectionStatsResponse {
            items: stats.items as u64,
            labels: stats.labels as u64,
            segments: stats.segments as u64,
            sealed_rows: stats.sealed_rows as u64,
            tail_rows: stats.tail_rows as u64,
            dead_rows: stats.dead_rows as u64,
            index_bytes: stats.index_bytes as u64,
            disk_bytes: stats.disk_bytes,
        }))
    }

    async fn create_payload_index(
        &self,
        request: Request<pb::CreatePayloadIndexRequest>,
    ) -> Result<Response<pb::CreatePayloadIndexResponse>, Status> {
        let request = request.into_inner();
        let name = convert::collection(request.collection)?;
        let made = self
            .0
            .create_payload_index(&name, request.field, &request.request_id)
            .await?;
        Ok(Response::new(pb::CreatePayloadIndexResponse {
            payload_index: Some(index(made)),
        }))
    }

    async fn delete_payload_index(
        &self,
        request: Request<pb::DeletePayloadIndexRequest>,
    ) -> Result<Response<pb::DeletePayloadIndexResponse>, Status> {
        let request = request.into_inner();
        let name = convert::collection(request.collection)?;
        self.0
            .delete_payload_index(&name, request.field, &request.request_id)
            .await?;
        Ok(Response::new(pb::DeletePayloadIndexResponse {}))
    }
}
