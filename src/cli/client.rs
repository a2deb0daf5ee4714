//! The command line as a gRPC client: connecting, probes, and errors in words.

use super::error::CliError;
use crate::domain::ViewNumber;
use crate::grpc::longrunning::operations_client::OperationsClient;
use crate::grpc::{MAX_MESSAGE_BYTES, pb};
use pb::calibration_service_client::CalibrationServiceClient;
use pb::collection_service_client::CollectionServiceClient;
use pb::decision_service_client::DecisionServiceClient;
use pb::item_service_client::ItemServiceClient;
use pb::model_service_client::ModelServiceClient;
use pb::search_service_client::SearchServiceClient;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// Address of the server
    #[arg(
        long,
        global = true,
        env = "TWINDEX_SERVER",
        default_value = "http://127.0.0.1:8946",
        value_name = "URL"
    )]
    pub server: String,
}

/// How an image is looked at.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct ViewArgs {
    /// Embed an image by the mean of so many views of it, 1 to 32, at so many times the work; as
    /// many as the collection says if not given
    #[arg(long, value_name = "N", value_parser = views)]
    views: Option<u32>,
}

impl ViewArgs {
    /// As a message says it; 0 where none is given.
    #[must_use]
    pub fn number(self) -> u32 {
        self.views.unwrap_or_default()
    }
}

/// A number of views, where one is given.
///
/// # Errors
/// It is none.
pub fn views(text: &str) -> Result<u32, String> {
    let number: u32 = text.parse().map_err(|_| "1 to 32 are allowed")?;
    let number = ViewNumber::new("views", number).map_err(|e| e.allowed)?;
    Ok(number.into())
}

/// What to look for: exactly one.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ProbeArgs {
    /// An image file, PNG, JPEG or PNM
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// A vector, as numbers with commas between
    #[arg(
        long,
        value_name = "X,Y,…",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub vector: Option<Vec<f32>>,
    /// The id of a stored item
    #[arg(long, value_name = "ID")]
    pub item: Option<String>,
}

impl ProbeArgs {
    /// The probe as a message.
    ///
    /// # Errors
    /// The image file cannot be read.
    pub fn probe(self, views: ViewArgs) -> Result<pb::Probe, CliError> {
        use pb::probe::Content;
        let content = match (self.image, self.vector, self.item) {
            (Some(path), _, _) => Content::Image(read(&path)?),
            (_, Some(values), _) => Content::Vector(pb::Vector {
                values,
                ..pb::Vector::default()
            }),
            (_, _, id) => Content::ItemId(id.unwrap_or_default()),
        };
        Ok(pb::Probe {
            content: Some(content),
            views: views.number(),
        })
    }
}

/// A probe that is an image file.
///
/// # Errors
/// The file cannot be read.
pub fn image_probe(path: &Path, views: ViewArgs) -> Result<pb::Probe, CliError> {
    Ok(pb::Probe {
        content: Some(pb::probe::Content::Image(read(path)?)),
        views: views.number(),
    })
}

/// A file's bytes.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<bytes::Bytes, CliError> {
    let bytes = std::fs::read(path);
    bytes.map(Into::into).map_err(|e| {
        let error = CliError::invalid(format!("reading {}: {e}", path.display()));
        error.with_hint("is the path right, and may you read it?")
    })
}

/// One connection, and a client for each service on it.
#[derive(Debug, Clone)]
pub struct Client {
    /// Collections.
    pub collections: CollectionServiceClient<Channel>,
    /// Items.
    pub items: ItemServiceClient<Channel>,
    /// Search.
    pub search: SearchServiceClient<Channel>,
    /// Decisions.
    pub decisions: DecisionServiceClient<Channel>,
    /// Models.
    pub models: ModelServiceClient<Channel>,
    /// Operations.
    pub operations: OperationsClient<Channel>,
    /// Calibration.
    pub calibrations: CalibrationServiceClient<Channel>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// A bad address, or nobody answers there.
    pub async fn connect(args: &ServerArgs) -> Result<Self, CliError> {
        let endpoint = Endpoint::from_shared(args.server.clone())
            .map_err(|e| CliError::invalid(format!("--server {}: {e}", args.server)))?
            .connect_timeout(Duration::from_secs(5))
            // Room for a stream's small answers, which h2 counts while they are not read.
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(16 << 20)
            .tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(|e| {
            let why = innermost(&e);
            let error = CliError::unavailable(format!("no server at {}: {why}", args.server));
            error.with_hint("start one with `twindex serve`, or name another with --server")
        })?;
        macro_rules! on {
            ($client:ident) => {
                $client::new(channel.clone())
                    .max_decoding_message_size(MAX_MESSAGE_BYTES + (1 << 20))
                    .max_encoding_message_size(MAX_MESSAGE_BYTES)
            };
        }
        Ok(Self {
            collections: on!(CollectionServiceClient),
            items: on!(ItemServiceClient),
            search: on!(SearchServiceClient),
            decisions: on!(DecisionServiceClient),
            models: on!(ModelServiceClient),
            operations: on!(OperationsClient),
            calibrations: on!(CalibrationServiceClient),
        })
    }
}

/// Entries of a list asked for at once.
pub const PAGE: i32 = 1_000;

/// A whole list, page by page: `ask` answers a page for its token, and the token of the next,
/// which is empty after the last.
///
/// # Errors
/// What the server answers.
pub async fn pages<T>(
    mut ask: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Status>,
) -> Result<Vec<T>, CliError> {
    let (mut all, mut next) = ask(String::new()).await?;
    while !next.is_empty() {
        let (page, token) = ask(next).await?;
        all.extend(page);
        next = token;
    }
    Ok(all)
}

/// What an error comes down to: the transport's own words say only that it failed.
pub(super) fn innermost<'a>(
    mut error: &'a (dyn std::error::Error + 'static),
) -> &'a dyn std::error::Error {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        // What the server says has no cause here; what the connection says has.
        if let Some(cause) = std::error::Error::source(&status) {
            let why = format!("the connection broke: {}", innermost(cause));
            return Self::unavailable(why).with_hint("is the server running?");
        }
        match status.code() {
            Code::NotFound => {
                Self::not_found(text).with_hint("`twindex collection list` shows what there is")
            }
            Code::Unavailable => Self::unavailable(text).with_hint("is the server running?"),
            Code::ResourceExhausted => Self::unavailable(text).with_hint("try again in a moment"),
            Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => {
                Self::invalid(text)
            }
            _ => Self::failed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_is_asked_for_page_by_page_and_an_error_ends_it() {
        let mut asked = Vec::new();
        let ask = async |token: String| {
            asked.push(token);
            let next = ["b", "c", ""][asked.len() - 1];
            Ok((vec![asked.len(); 2], next.to_owned()))
        };
        let all = pages(ask).await.unwrap();
        assert_eq!(all, [1, 1, 2, 2, 3, 3]);
        assert_eq!(asked, ["", "b", "c"]);

        let ask = async |token: String| match token.as_str() {
            "" => Ok((vec![1], "b".to_owned())),
            _ => Err(Status::not_found("gone")),
        };
        assert!(pages(ask).await.is_err());
    }
}
