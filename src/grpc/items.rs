//! `ItemService`.

use super::convert::{self, missing};
use super::pb::{self, item_service_server::ItemService};
use super::{filter, status, stream, token};
use crate::domain::{Invalid, Label};
use crate::engine::{Change, Engine, NewItem, View};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Debug)]
pub(super) struct Items(pub(super) Arc<Engine>);

#[tonic::async_trait]
impl ItemService for Items {
    async fn upsert_item(
        &self,
        request: Request<pb::UpsertItemRequest>,
    ) -> Result<Response<pb::UpsertItemResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let item = convert::new_item(request.item, "item")?;
        let done = self
            .0
            .upsert(&collection, item, &request.request_id)
            .await?;
        let model = self.0.collection(&collection)?.model;
        Ok(Response::new(pb::UpsertItemResponse {
            id: done.id.into(),
            created: done.created,
            model_version: model.unwrap_or_default(),
        }))
    }

    async fn batch_upsert_items(
        &self,
        request: Request<pb::BatchUpsertItemsRequest>,
    ) -> Result<Response<pb::BatchUpsertItemsResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let model = self.0.collection(&collection)?.model;
        let results = if request.per_item {
            stream::each(&self.0, &collection, request.items, &request.request_id).await?
        } else {
            let items = request.items.into_iter().enumerate();
            let items =
                items.map(|(nth, item)| convert::new_item(Some(item), &format!("items[{nth}]")));
            let items: Vec<NewItem> = items.collect::<Result<_, _>>()?;
            let done = self
                .0
                .upsert_batch(&collection, items, &request.request_id)
                .await?;
            let done = done.into_iter().map(|item| pb::ItemResult {
                id: item.id.into(),
                created: item.created,
                status: None,
            });
            done.collect()
        };
        Ok(Response::new(pb::BatchUpsertItemsResponse {
            results,
            model_version: model.unwrap_or_default(),
        }))
    }

    type StreamUpsertItemsStream = stream::Answers;

    async fn stream_upsert_items(
        &self,
        request: Request<Streaming<pb::StreamUpsertItemsRequest>>,
    ) -> Result<Response<Self::StreamUpsertItemsStream>, Status> {
        let answers = stream::upsert(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(answers))
    }

    async fn get_item(
        &self,
        request: Request<pb::GetItemRequest>,
    ) -> Result<Response<pb::GetItemResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let id = convert::id(request.id)?;
        let view = convert::view(request.view)?;
        let found = self.0.item(&collection, id, view).await?;
        Ok(Response::new(pb::GetItemResponse {
            item: Some(convert::item(found)),
        }))
    }

    async fn batch_get_items(
        &self,
        request: Request<pb::BatchGetItemsRequest>,
    ) -> Result<Response<pb::BatchGetItemsResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let ids = convert::ids(request.ids)?;
        let view = convert::view(request.view)?;
        let (found, missing) = self.0.items(&collection, ids, view).await?;
        Ok(Response::new(pb::BatchGetItemsResponse {
            items: found.into_iter().map(convert::item).collect(),
            missing: missing.into_iter().map(String::from).collect(),
        }))
    }

    async fn list_items(
        &self,
        request: Request<pb::ListItemsRequest>,
    ) -> Result<Response<pb::ListItemsResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let size = convert::page_size(request.page_size, 100, 1_000)?;
        let list = format!("items of {collection}");
        let after = token::read(&list, &request.page_token);
        let after = after.map_err(|e| status::invalid(&e))?;
        let after = after.map(convert::id).transpose()?;
        let filter = filter::optional(request.filter).map_err(|e| status::invalid(&e))?;
        let view: View = convert::view(request.view)?;
        let (page, next) = self.0.list(&collection, filter, after, size, view).await?;
        Ok(Response::new(pb::ListItemsResponse {
            items: page.into_iter().map(convert::item).collect(),
            next_page_token: next.map_or_else(String::new, |id| token::make(&list, id.as_str())),
        }))
    }

    async fn update_item(
        &self,
        request: Request<pb::UpdateItemRequest>,
    ) -> Result<Response<pb::UpdateItemResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let item = request.item.ok_or_else(|| missing("item"))?;
        let id = convert::id(item.id.clone())?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let change = change(item, paths).map_err(|e| status::invalid(&e))?;
        let updated = self
            .0
            .update(&collection, id, change, &request.request_id)
            .await?;
        Ok(Response::new(pb::UpdateItemResponse {
            item: Some(convert::item(crate::engine::Found {
                stored: updated,
                vector: None,
                image: None,
            })),
        }))
    }

    async fn delete_item(
        &self,
        request: Request<pb::DeleteItemRequest>,
    ) -> Result<Response<pb::DeleteItemResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let id = convert::id(request.id)?;
        self.0
            .delete_one(&collection, id, &request.request_id)
            .await?;
        Ok(Response::new(pb::DeleteItemResponse {}))
    }

    async fn batch_delete_items(
        &self,
        request: Request<pb::BatchDeleteItemsRequest>,
    ) -> Result<Response<pb::BatchDeleteItemsResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let filter = filter::optional(request.filter).map_err(|e| status::invalid(&e))?;
        let id = &request.request_id;
        let deleted = match (request.ids.is_empty(), filter) {
            (true, Some(filter)) => self.0.delete_matching(&collection, filter, id).await?,
            (false, None) => {
                self.0
                    .delete(&collection, convert::ids(request.ids)?, id)
                    .await?
            }
            (none, _) => {
                let was = if none { "neither" } else { "both" };
                let error = Invalid::new("ids, filter", was, "exactly one must be set");
                return Err(status::invalid(&error));
            }
        };
        Ok(Response::new(pb::BatchDeleteItemsResponse { deleted }))
    }

    async fn count_items(
        &self,
        request: Request<pb::CountItemsRequest>,
    ) -> Result<Response<pb::CountItemsResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let filter = filter::optional(request.filter).map_err(|e| status::invalid(&e))?;
        let count = self.0.count(&collection, filter).await?;
        Ok(Response::new(pb::CountItemsResponse { count }))
    }

    async fn list_labels(
        &self,
        request: Request<pb::ListLabelsRequest>,
    ) -> Result<Response<pb::ListLabelsResponse>, Status> {
        let request = request.into_inner();
        let collection = convert::collection(request.collection)?;
        let size = convert::page_size(request.page_size, 1_000, 10_000)?;
        let list = format!("labels of {collection}");
        let after =
            token::read(&list, &request.page_token).and_then(|t| t.map(Label::new).transpose());
        let after = after.map_err(|e| status::invalid(&e))?;
        let mut page = self.0.labels(&collection, after.as_ref(), size + 1)?;
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more);
        let next_page_token =
            next.map_or_else(String::new, |(last, _)| token::make(&list, last.as_str()));
        let labels = page.into_iter().map(|(label, count)| pb::LabelCount {
            label: label.into(),
            count,
        });
        Ok(Response::new(pb::ListLabelsResponse {
            labels: labels.collect(),
            next_page_token,
        }))
    }
}

/// What an update mask names, with the new values.
fn change(item: pb::Item, paths: Vec<String>) -> Result<Change, Invalid> {
    if paths.is_empty() {
        return Err(Invalid::new(
            "update_mask",
            "empty",
            "at least one path is required",
        ));
    }
    let label = convert::label(item.label).map_err(|e| e.within("item"))?;
    let payload = convert::payload(item.payload).map_err(|e| e.within("item"))?;
    let mut change = Change::default();
    for path in paths {
        match path.as_str() {
            "label" => change.label = Some(label.clone()),
            "payload" => change.payload = Some(payload.clone()),
            other => match other.strip_prefix("payload.") {
                Some(key) if !key.is_empty() => {
                    let value = payload.fields().get(key).cloned();
                    change.fields.push((key.to_owned(), value));
                }
                _ => {
                    let allowed = "label, payload and payload.KEY are allowed";
                    return Err(Invalid::new("update_mask", format!("{other:?}"), allowed));
                }
            },
        }
    }
    Ok(change)
}
