//! A server of one's own for each test, a client, and small images.

use bytes::Bytes;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use twindex::encoder::{Card, Encoder, Plan, Weights};
use twindex::engine::{Engine, Options};
use twindex::grpc::longrunning::operations_client::OperationsClient;
use twindex::grpc::pb;
use twindex::grpc::pb::collection_service_client::CollectionServiceClient;
use twindex::grpc::pb::decision_service_client::DecisionServiceClient;
use twindex::grpc::pb::item_service_client::ItemServiceClient;
use twindex::grpc::pb::model_service_client::ModelServiceClient;
use twindex::grpc::pb::search_service_client::SearchServiceClient;
use twindex::grpc::{Server, ServerOptions};
use twindex::training::glyphs::Alphabet;

pub struct Service {
    pub address: SocketAddr,
    pub channel: Channel,
    pub setup: Setup,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    pub dir: TempDir,
}

/// What a server is made of.
pub struct Setup {
    pub encoder: Arc<Encoder>,
    pub engine: Options,
    pub server: ServerOptions,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            encoder: Encoder::bundled().unwrap(),
            engine: Options::default(),
            server: ServerOptions::default(),
        }
    }
}

async fn start(dir: &Path, setup: &Setup) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let engine = loop {
        // A connection of the server before may hold the directory for a moment.
        match Engine::open(dir, setup.encoder.clone(), &setup.engine) {
            Err(e) if e.to_string().contains("already open") => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            opened => break opened.unwrap(),
        }
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(any, Arc::new(engine), setup.server.clone())
        .await
        .unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.serve(stopped).await.unwrap();
    });
    (address, stop, serving)
}

pub async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

impl Service {
    pub async fn start() -> Self {
        Self::of(Setup::default()).await
    }

    pub async fn of(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (address, stop, serving) = start(dir.path(), &setup).await;
        Self {
            address,
            channel: connect(address).await,
            setup,
            stop: Some(stop),
            serving: Some(serving),
            dir,
        }
    }

    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.serving.take().unwrap().await.unwrap();
    }

    pub async fn restart(&mut self) {
        // An open connection would be drained for a while.
        self.channel = Channel::from_static("http://127.0.0.1:1").connect_lazy();
        self.stop().await;
        self.start_again().await;
    }

    /// After [`Service::stop`].
    pub async fn start_again(&mut self) {
        let (address, stop, serving) = start(self.dir.path(), &self.setup).await;
        self.address = address;
        self.channel = connect(address).await;
        self.stop = Some(stop);
        self.serving = Some(serving);
    }

    pub fn collections(&self) -> CollectionServiceClient<Channel> {
        CollectionServiceClient::new(self.channel.clone())
    }

    pub fn items(&self) -> ItemServiceClient<Channel> {
        const MAX: usize = 64 << 20;
        let items = ItemServiceClient::new(self.channel.clone());
        items
            .max_decoding_message_size(MAX)
            .max_encoding_message_size(MAX)
    }

    pub fn search(&self) -> SearchServiceClient<Channel> {
        SearchServiceClient::new(self.channel.clone())
    }

    pub fn decisions(&self) -> DecisionServiceClient<Channel> {
        DecisionServiceClient::new(self.channel.clone())
    }

    pub fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel.clone())
    }

    pub fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    /// Imports a weights file.
    pub async fn import(&self, name: &str, file: &[u8]) -> Result<pb::Model, Status> {
        let messages = import_messages(name, "", file);
        let mut models = self.models();
        let answer = models.import_model(tokio_stream::iter(messages)).await?;
        Ok(answer.into_inner().model.unwrap())
    }

    /// A collection of vectors.
    pub async fn vectors(&self, name: &str, dimension: u32, metric: pb::Metric) {
        let collection = pb::Collection {
            name: name.into(),
            dimension,
            metric: metric.into(),
            ..Default::default()
        };
        self.create(collection).await.unwrap();
    }

    /// A collection of images.
    pub async fn images(&self, name: &str) {
        let name = name.into();
        self.create(pb::Collection {
            name,
            ..Default::default()
        })
        .await
        .unwrap();
    }

    pub async fn create(&self, collection: pb::Collection) -> Result<pb::Collection, Status> {
        let request = pb::CreateCollectionRequest {
            collection: Some(collection),
            request_id: String::new(),
        };
        let answer = self.collections().create_collection(request).await?;
        Ok(answer.into_inner().collection.unwrap())
    }

    pub async fn put(
        &self,
        collection: &str,
        item: pb::Item,
    ) -> Result<pb::UpsertItemResponse, Status> {
        let request = pb::UpsertItemRequest {
            collection: collection.into(),
            item: Some(item),
            request_id: String::new(),
        };
        Ok(self.items().upsert_item(request).await?.into_inner())
    }

    pub async fn get(&self, collection: &str, id: &str) -> Result<pb::Item, Status> {
        let request = pb::GetItemRequest {
            collection: collection.into(),
            id: id.into(),
            view: None,
        };
        Ok(self
            .items()
            .get_item(request)
            .await?
            .into_inner()
            .item
            .unwrap())
    }

    pub async fn delete(&self, collection: &str, id: &str) -> Result<(), Status> {
        let request = pb::DeleteItemRequest {
            collection: collection.into(),
            id: id.into(),
            request_id: String::new(),
        };
        self.items().delete_item(request).await.map(|_| ())
    }

    pub async fn find(&self, request: pb::SearchRequest) -> Result<Vec<pb::Hit>, Status> {
        Ok(self.search().search(request).await?.into_inner().hits)
    }
}

/// An import, in pieces of 10,000 bytes.
pub fn import_messages(name: &str, request_id: &str, file: &[u8]) -> Vec<pb::ImportModelRequest> {
    use pb::import_model_request::Content;
    let header = Content::Header(pb::ImportModelHeader {
        name: name.into(),
        request_id: request_id.into(),
    });
    let pieces = file.chunks(10_000);
    let pieces = pieces.map(|piece| Content::Data(Bytes::copy_from_slice(piece)));
    let contents = std::iter::once(header).chain(pieces);
    let message = |content| pb::ImportModelRequest {
        content: Some(content),
    };
    contents.map(message).collect()
}

/// An untrained model that takes little time.
pub fn weights(seed: u64, dim: usize) -> Weights {
    let mut plan = Plan {
        widths: [2, 3, 4],
        ..Plan::default()
    };
    plan.dim = dim;
    twindex::training::init::initial(plan, seed)
}

/// Its file.
pub fn weights_file(name: &str, weights: &Weights) -> Vec<u8> {
    weights.to_file(&Card::new(name, weights.plan)).unwrap()
}

pub fn vector(values: &[f32]) -> pb::Vector {
    pb::Vector {
        values: values.to_vec(),
        ..Default::default()
    }
}

pub fn vector_item(id: &str, label: &str, values: &[f32]) -> pb::Item {
    pb::Item {
        id: id.into(),
        label: label.into(),
        content: Some(pb::item::Content::Vector(vector(values))),
        ..Default::default()
    }
}

pub fn image_item(id: &str, label: &str, image: Bytes) -> pb::Item {
    pb::Item {
        id: id.into(),
        label: label.into(),
        content: Some(pb::item::Content::Image(image)),
        ..Default::default()
    }
}

pub fn by_vector(values: &[f32]) -> Option<pb::Probe> {
    Some(pb::Probe {
        content: Some(pb::probe::Content::Vector(vector(values))),
        ..Default::default()
    })
}

pub fn by_image(image: Bytes) -> Option<pb::Probe> {
    Some(pb::Probe {
        content: Some(pb::probe::Content::Image(image)),
        ..Default::default()
    })
}

pub fn by_item(id: &str) -> Option<pb::Probe> {
    Some(pb::Probe {
        content: Some(pb::probe::Content::ItemId(id.into())),
        ..Default::default()
    })
}

/// A drawn character as a PNG file.
pub fn glyph(character: usize, hand: usize) -> Bytes {
    let mut png = std::io::Cursor::new(Vec::new());
    let drawing = Alphabet::new(1, character + 1).draw(character, hand);
    drawing.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner().into()
}

pub fn payload(json: serde_json::Value) -> Option<prost_types::Struct> {
    let serde_json::Value::Object(fields) = json else {
        panic!("an object")
    };
    Some(twindex::grpc::to_struct(fields))
}

/// The status of a part of an answer.
pub fn status_of(part: Option<tonic_types::Status>) -> Status {
    let part = part.unwrap();
    let details = prost::Message::encode_to_vec(&part).into();
    Status::with_details(Code::from(part.code), part.message, details)
}

/// Checks an error: its code, the one `ErrorInfo` with its reason, and the field it names.
pub fn assert_error(status: &Status, code: Code, reason: &str, field: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        (reason, "twindex.v1"),
        "{status:?}"
    );
    assert_eq!(
        details.bad_request().is_some(),
        code == Code::InvalidArgument
    );
    if let Some(bad) = details.bad_request() {
        assert_eq!(bad.field_violations[0].field, field, "{status:?}");
        assert!(status.message().contains(field), "{status:?}");
    }
    assert_eq!(
        details.retry_info().is_some(),
        code == Code::ResourceExhausted
    );
    assert_eq!(
        details.precondition_failure().is_some(),
        code == Code::FailedPrecondition
    );
    if code == Code::NotFound || code == Code::AlreadyExists {
        assert!(details.resource_info().is_some(), "{status:?}");
    }
}

/// Waits until all rows of the collection `v` are in one segment.
pub async fn sealed(service: &Service) {
    for _ in 0..1_200 {
        let name = "v".into();
        let request = pb::GetCollectionStatsRequest { name };
        let stats = service.collections().get_collection_stats(request).await;
        if stats.unwrap().into_inner().segments == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never sealed");
}
