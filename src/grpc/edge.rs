//! What happens around every call: its deadline, how long it took, and details for errors made
//! below us.

use super::deadline::Deadline;
use super::{status, timing};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Wraps the services.
#[derive(Debug, Clone)]
pub(super) struct EdgeLayer;

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner }
    }
}

/// The services, wrapped.
#[derive(Debug, Clone)]
pub(super) struct Edge<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Edge<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let began = Instant::now();
        let deadline = Deadline::of(request.headers());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match deadline {
                None => answer.await,
                Some(deadline) => deadline.hold(answer).await,
            };
            let mut answer = explained(answer?);
            timing::tell(&mut answer, began);
            Ok(answer)
        })
    }
}

/// Gives errors that the transport made our form: a fitting code, and an `ErrorInfo`.
fn explained(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return response;
    }
    explain(&status).into_http()
}

/// See [`explained`]; also for errors within a request's stream.
pub(super) fn explain(status: &Status) -> Status {
    let message = status.message();
    match status.code() {
        Code::Internal if message.contains("failed to decode Protobuf message") => {
            status::bad_request("MALFORMED_MESSAGE", "request", message)
        }
        Code::OutOfRange => {
            let description = format!("{message}; at most 16 MiB are allowed");
            status::bad_request("MESSAGE_TOO_LARGE", "request", &description)
        }
        code => status::plain(code, &name(code), message),
    }
}

/// A code's name as the protocol writes it: `NOT_FOUND`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
