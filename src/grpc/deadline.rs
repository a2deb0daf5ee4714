//! When a call must be done: its answer, and, of a stream, all of it.

use super::status;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use std::future::{Future, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Response};
use tonic::{Code, Status};

/// How long before the transport's own timer ours goes off: the transport would answer
/// `CANCELLED` where `DEADLINE_EXCEEDED` is meant.
const AHEAD: Duration = Duration::from_millis(2);

/// A call's deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// What a call asks for that begins now, if it does.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let timeout = timeout(headers)?;
        let at = Instant::now() + timeout.saturating_sub(AHEAD);
        Some(Self { at, timeout })
    }

    /// The answer of a call, or that it came too late.
    ///
    /// Dropping the call drops what it waits for; queues skip work nobody waits for.
    pub(super) async fn hold<E>(
        self,
        call: impl Future<Output = Result<Response<Body>, E>>,
    ) -> Result<Response<Body>, E> {
        let Ok(answer) = timeout_at(self.at, call).await else {
            return Ok(self.passed().into_http());
        };
        let answer = answer?;
        // A status in the head is the end of the answer.
        if Status::from_header_map(answer.headers()).is_some() {
            return Ok(answer);
        }
        Ok(answer.map(|body| self.cut(body)))
    }

    /// The body of an answer, ended by a status where it goes on too long.
    fn cut(self, body: Body) -> Body {
        let frames = stream::unfold((body, true), move |(mut body, in_time)| async move {
            if in_time {
                if let Ok(frame) = timeout_at(self.at, body.frame()).await {
                    return Some((frame?, (body, true)));
                }
                body = trailers(&self.passed());
            }
            Some((body.frame().await?, (body, false)))
        });
        Body::new(StreamBody::new(frames))
    }

    fn passed(self) -> Status {
        let message = format!("not done within the deadline of {:?}", self.timeout);
        status::plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
    }
}

/// A body that is nothing but a status.
fn trailers(status: &Status) -> Body {
    let mut headers = HeaderMap::new();
    let added = status.add_header(&mut headers).map(|()| headers);
    Body::new(Body::empty().with_trailers(ready(Some(added))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_has_them() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            headers
        };
        let read = |value| timeout(&headers(value));
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        for bad in ["", "S", "123456789S", "1x", "-1S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        // Eleven thousand years are a deadline, too.
        assert!(Deadline::of(&headers("99999999H")).is_some());
    }
}
