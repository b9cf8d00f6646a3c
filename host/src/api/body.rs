//! Reads request bodies: bounded in size and time, JSON with errors that point to the place.

mod json;
mod limit;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::Body as _;

use super::problem::{Problem, ProblemKind};
pub(super) use json::{checked, escape_key, json, nested};
pub(super) use limit::{BodyLimit, data_exceeded};

/// A request that has not arrived whole within this time is cut off.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a whole request within `limit`.
///
/// # Errors
/// 413 if it is larger, 408 if it does not arrive in time, 400 if it breaks off, 415 if it is compressed, 503 if too
/// many large bodies are being read.
pub(super) async fn read(request: Request<Body>, limit: BodyLimit) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let encoding = parts.headers.get(header::CONTENT_ENCODING).filter(|value| !value.is_empty());
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "a content-encoding is not supported; send the body without one";
        return Err(Problem::new(ProblemKind::MediaType, detail));
    }
    let too_large = || Problem::new(ProblemKind::TooLarge, limit.exceeded());
    if content_length(&parts.headers).is_some_and(|length| length > limit.bytes()) {
        return Err(too_large());
    }
    match tokio::time::timeout(READ_TIMEOUT, collect(body, limit.bytes(), &BYTES_IN_FLIGHT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(ReadError::TooLarge)) => Err(too_large()),
        Ok(Err(ReadError::Incomplete)) => Err(Problem::new(ProblemKind::Malformed, "the body is incomplete")),
        Ok(Err(ReadError::OutOfMemory)) => Err(Problem::new(
            ProblemKind::Unavailable,
            "too many large requests are arriving at this moment; nothing was stored, try again",
        )),
        Err(_) => Err(Problem::new(ProblemKind::TooSlow, "the request did not arrive whole within 60 s")),
    }
}

/// Returns the length of the body in bytes, if the request states one.
pub(super) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The most bytes that all bodies being read may hold together: thousands of connections may each send the largest.
const MAX_BYTES_IN_FLIGHT: usize = 256 << 20;

/// Bytes of the bodies that are being read.
static BYTES_IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

/// One body's share of the bytes in flight; given back on drop.
struct BodyReservation<'a> {
    bytes: usize,
    /// The bytes of all bodies.
    total: &'a AtomicUsize,
}

impl BodyReservation<'_> {
    /// Reserves more bytes; false if all bodies together then hold too many.
    #[must_use]
    fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_BYTES_IN_FLIGHT
    }
}

impl Drop for BodyReservation<'_> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a body was not read to its end.
enum ReadError {
    TooLarge,
    Incomplete,
    /// All bodies together hold more than [`MAX_BYTES_IN_FLIGHT`].
    OutOfMemory,
}

async fn collect(body: Body, limit: usize, total: &AtomicUsize) -> Result<Bytes, ReadError> {
    let (mut stream, mut reservation) = (body.into_data_stream(), BodyReservation { bytes: 0, total });
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| ReadError::Incomplete)?;
        if whole.len() + chunk.len() > limit {
            return Err(ReadError::TooLarge);
        }
        if !reservation.grow(chunk.len()) {
            return Err(ReadError::OutOfMemory);
        }
        // Most bodies arrive in one chunk, which is not copied.
        if whole.is_empty() && stream.is_end_stream() {
            return Ok(chunk);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(count: usize, bytes: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))),
        ))
    }

    #[tokio::test]
    async fn a_body_arrives_whole_in_any_number_of_chunks_and_is_bounded_alone_and_together() {
        let total = AtomicUsize::new(0);
        for (count, bytes) in [(0, 0), (1, 10), (7, 10)] {
            assert_eq!(
                collect(chunks(count, bytes), 70, &total).await.ok().map(|body| body.len()),
                Some(count * bytes)
            );
        }
        assert!(matches!(collect(chunks(8, 10), 70, &total).await, Err(ReadError::TooLarge)));
        let mut others = BodyReservation { bytes: 0, total: &total };
        assert!(others.grow(MAX_BYTES_IN_FLIGHT - 60));
        assert!(matches!(collect(chunks(7, 10), 70, &total).await, Err(ReadError::OutOfMemory)));
        drop(others);
        assert!(collect(chunks(7, 10), 70, &total).await.is_ok());
        assert_eq!(total.into_inner(), 0, "every reservation is given back");
    }

    #[tokio::test]
    async fn a_compressed_or_too_long_body_is_refused_before_it_is_read() {
        for (name, value, kind) in [
            ("content-encoding", "gzip", Some(ProblemKind::MediaType)),
            ("content-encoding", "Identity", None),
            ("content-encoding", "", None),
            ("content-length", "11", Some(ProblemKind::TooLarge)),
            ("content-length", "10", None),
        ] {
            let request = Request::builder().header(name, value).body(chunks(1, 10)).unwrap();
            assert_eq!(
                read(request, BodyLimit::Plugin(10)).await.err().map(|problem| problem.kind()),
                kind,
                "{name}: {value}"
            );
        }
    }
}
