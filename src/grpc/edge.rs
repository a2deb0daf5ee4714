//! What happens around every call: its deadline, and details for errors made below us.

use super::status::{self, DOMAIN};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

/// How long before the transport's own timer ours goes off: the transport would answer
/// `CANCELLED` where `DEADLINE_EXCEEDED` is meant.
const AHEAD: Duration = Duration::from_millis(2);

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

impl<S, B, R> Service<Request<B>> for Edge<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let timeout = timeout(request.headers());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let Some(timeout) = timeout else {
                return answer.await.map(explained);
            };
            // Dropping the call drops what it waits for; queues skip work nobody waits for.
            match tokio::time::timeout(timeout.saturating_sub(AHEAD), answer).await {
                Ok(answer) => answer.map(explained),
                Err(_) => Ok(status::plain(
                    Code::DeadlineExceeded,
                    "DEADLINE_EXCEEDED",
                    format!("not done within the deadline of {timeout:?}"),
                )
                .into_http()),
            }
        })
    }
}

/// The `grpc-timeout` header: at most 8 digits and a unit (gRPC over HTTP/2).
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3_600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// Gives errors that the transport made our form: a fitting code, and an `ErrorInfo`.
fn explained<R: Default>(response: Response<R>) -> Response<R> {
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
        code => {
            let reason = format!("{code:?}").to_uppercase();
            let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
            Status::with_error_details(code, message, details)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_has_them() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        for bad in ["", "S", "123456789S", "1x", "-1S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
