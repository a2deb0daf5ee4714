//! The server: every service on one port, within limits, until asked to stop.

use super::calibrations::Calibrations;
use super::collections::Collections;
use super::decisions::Decisions;
use super::edge::EdgeLayer;
use super::items::Items;
use super::longrunning::operations_server::OperationsServer;
use super::models::Models;
use super::operations::Operations;
use super::pb::calibration_service_server::CalibrationServiceServer;
use super::pb::collection_service_server::CollectionServiceServer;
use super::pb::decision_service_server::DecisionServiceServer;
use super::pb::item_service_server::ItemServiceServer;
use super::pb::model_service_server::ModelServiceServer;
use super::pb::search_service_server::SearchServiceServer;
use super::searches::Searches;
use super::{DESCRIPTORS, MAX_MESSAGE_BYTES};
use crate::engine::Engine;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;

/// What a call may send ahead of us, in bytes: a stream pushes back by leaving it full. At a
/// round trip of 100 ms it lets 2.5 MB a second through, and a second stream as much again.
const STREAM_WINDOW: u32 = 256 << 10;

/// How a server treats its connections.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Calls that one connection may have under way.
    pub max_calls_per_connection: u32,
    /// Largest header list, in bytes.
    pub max_header_bytes: u32,
    /// How often an idle connection is asked whether it is alive.
    pub keepalive: Duration,
    /// How long calls under way may take when the server is asked to stop.
    pub drain: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_calls_per_connection: 1_024,
            max_header_bytes: 16 << 10,
            keepalive: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

/// A server that is bound to its address and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    engine: Arc<Engine>,
    options: ServerOptions,
}

impl Server {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub async fn bind(
        address: SocketAddr,
        engine: Arc<Engine>,
        options: ServerOptions,
    ) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            engine,
            options,
        })
    }

    /// The address bound.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`; then finishes the calls under way and the writes accepted.
    ///
    /// # Errors
    /// The transport fails; the store had become read-only, so that writes were refused.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Self {
            listener,
            engine,
            options,
        } = self;
        let (health, health_service) = tonic_health::server::health_reporter();
        report(&health, ServingStatus::Serving).await;
        let watch = tokio::spawn(watch(Arc::clone(&engine), health.clone()));

        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            report(&health, ServingStatus::NotServing).await;
            forget(health).await;
            let _ = stopping.send(());
        };
        let served = router(&engine, &options)?
            .add_service(health_service)
            .serve_with_incoming_shutdown(incoming(listener), stop);
        // Streams that never end must not keep the server for ever.
        let drained = async {
            let _ = stopped.await;
            tokio::time::sleep(options.drain).await;
        };
        let result = tokio::select! {
            served = served => served.map_err(Into::into),
            () = drained => Ok(()),
        };
        watch.abort();
        engine.shutdown().await;
        result.and_then(|()| match engine.write_failure() {
            None => Ok(()),
            Some(why) => {
                let told = "writes were refused since the store became read-only";
                Err(format!("{told}: {why}").into())
            }
        })
    }
}

fn incoming(
    listener: TcpListener,
) -> impl tokio_stream::Stream<Item = std::io::Result<tokio::net::TcpStream>> {
    use tokio_stream::StreamExt;
    TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
}

/// What a connection may send ahead of us, in bytes: enough for every call it may have, so
/// that none waits for one that is pushed back.
///
/// h2 takes half of it as its allowance for small frames that are not read yet, and ends the
/// connection beyond. Windows that adapt begin with 32 KiB of it: 200 small messages.
fn connection_window(options: &ServerOptions) -> u32 {
    const LARGEST: u32 = (1 << 31) - 1;
    let all = options
        .max_calls_per_connection
        .saturating_mul(STREAM_WINDOW);
    all.clamp(64 * STREAM_WINDOW, LARGEST)
}

type Layered = tower::layer::util::Stack<
    EdgeLayer,
    tower::layer::util::Stack<GrpcWebLayer, tower::layer::util::Identity>,
>;

fn router(
    engine: &Arc<Engine>,
    options: &ServerOptions,
) -> Result<tonic::transport::server::Router<Layered>, Box<dyn std::error::Error + Send + Sync>> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    macro_rules! limited {
        ($server:ident, $service:ident) => {
            $server::new($service(Arc::clone(engine)))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES + (1 << 20))
        };
    }
    Ok(tonic::transport::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(options.max_calls_per_connection)
        .http2_max_header_list_size(options.max_header_bytes)
        .http2_keepalive_interval(Some(options.keepalive))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(options))
        .layer(GrpcWebLayer::new())
        .layer(EdgeLayer)
        .add_service(limited!(CollectionServiceServer, Collections))
        .add_service(limited!(ItemServiceServer, Items))
        .add_service(limited!(SearchServiceServer, Searches))
        .add_service(limited!(DecisionServiceServer, Decisions))
        .add_service(limited!(ModelServiceServer, Models))
        .add_service(limited!(OperationsServer, Operations))
        .add_service(limited!(CalibrationServiceServer, Calibrations))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// What the health service knows: every service, and the server as a whole ("").
const REPORTED: [&str; 8] = [
    "",
    CollectionServiceServer::<Collections>::NAME,
    ItemServiceServer::<Items>::NAME,
    SearchServiceServer::<Searches>::NAME,
    DecisionServiceServer::<Decisions>::NAME,
    ModelServiceServer::<Models>::NAME,
    OperationsServer::<Operations>::NAME,
    CalibrationServiceServer::<Calibrations>::NAME,
];

async fn report(health: &HealthReporter, status: ServingStatus) {
    for name in REPORTED {
        health.set_service_status(name, status).await;
    }
}

/// Ends the streams of those who watch, after what they were told last: they would keep the
/// server until its time to drain is over.
async fn forget(mut health: HealthReporter) {
    for name in REPORTED {
        health.clear_service_status(name).await;
    }
}

/// Reports what writes to as not serving once the disk has failed.
async fn watch(engine: Arc<Engine>, health: HealthReporter) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        if engine.write_failure().is_some() {
            for name in [
                "",
                CollectionServiceServer::<Collections>::NAME,
                ItemServiceServer::<Items>::NAME,
                CalibrationServiceServer::<Calibrations>::NAME,
            ] {
                health
                    .set_service_status(name, ServingStatus::NotServing)
                    .await;
            }
            return;
        }
    }
}
