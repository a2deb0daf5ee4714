//! How long a call took, told with its answer as `server-timing` (W3C), in milliseconds.
//!
//! `total` is from when its head had been read until its answer began; `index`, of a search, the
//! part of it that the index took.

use std::fmt::Write;
use std::time::{Duration, Instant};
use tonic::codegen::http::{HeaderName, HeaderValue, Response};

const NAME: HeaderName = HeaderName::from_static("server-timing");

/// How long the index took for an answer: an extension of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexTime(pub(super) Duration);

/// Adds the header to the answer of a call that began at a moment.
pub(super) fn tell<B>(response: &mut Response<B>, began: Instant) {
    let mut told = String::with_capacity(48);
    if let Some(IndexTime(took)) = response.extensions().get() {
        add(&mut told, "index", *took);
    }
    add(&mut told, "total", began.elapsed());
    if let Ok(value) = HeaderValue::try_from(told) {
        response.headers_mut().insert(NAME, value);
    }
}

fn add(told: &mut String, what: &str, took: Duration) {
    let before = if told.is_empty() { "" } else { ", " };
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    // Writing to a string cannot fail.
    let _ = write!(
        told,
        "{before}{what};dur={}.{:03}",
        micros / 1_000,
        micros % 1_000
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_milliseconds() {
        let mut told = String::new();
        add(&mut told, "index", Duration::from_micros(42));
        add(&mut told, "total", Duration::from_micros(12_345));
        assert_eq!(told, "index;dur=0.042, total;dur=12.345");
    }
}
