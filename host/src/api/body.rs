//! Reads request bodies: bounded in size and time, JSON with errors that point to the place.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::Body as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::plain_errors;
use super::problem::{Problem, ProblemKind};
use crate::domain::Invalid;

/// A request that has not arrived whole within this time is cut off.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest JSON body other than an event's, in bytes.
pub(super) const MAX_JSON_BYTES: usize = 256 * 1024;
/// Most characters of a key that an error repeats: a key may be as long as the body.
const MAX_KEY_CHARS: usize = 128;
/// Most characters of the JSON reader's message that an error repeats: it may quote as much as the body holds.
const MAX_DETAIL_CHARS: usize = 512;

/// Reads a whole request of at most `limit` bytes.
///
/// # Errors
/// 413 if it is larger, 408 if it does not arrive in time, 400 if it breaks off, 415 if it is compressed, 503 if too
/// many large bodies are being read.
pub(super) async fn read(request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let encoding = parts.headers.get(header::CONTENT_ENCODING).filter(|value| !value.is_empty());
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "a content-encoding is not supported; send the body without one";
        return Err(Problem::new(ProblemKind::MediaType, detail));
    }
    let too_large = || Problem::new(ProblemKind::TooLarge, format!("the body is over {limit} bytes"));
    if content_length(&parts.headers).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    match tokio::time::timeout(READ_TIMEOUT, collect(body, limit, &BYTES_IN_FLIGHT)).await {
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

/// Reads a JSON object.
///
/// # Errors
/// 400 if it is not JSON, 422 with a pointer if it is not the object that `T` expects.
pub(super) fn json<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Problem> {
    let malformed = |error: serde_json::Error| {
        Problem::new(ProblemKind::Malformed, plain_errors::malformed_json(bytes, &error.to_string()))
    };
    // serde would read an array as the fields in their order.
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'{');
    match serde_json::from_slice(bytes) {
        Ok(value) if is_object => Ok(value),
        Err(error) if error.classify() != Category::Data => Err(malformed(error)),
        // serde stopped at the first broken rule; the rest may not be JSON.
        _ => match serde_json::from_slice::<IgnoredAny>(bytes) {
            Err(error) => Err(malformed(error)),
            Ok(_) if !is_object => Err(Invalid::at("", "the body is not a JSON object").into()),
            Ok(_) => Err(locate_error::<T>(bytes).into()),
        },
    }
}

/// Reads the body again, more slowly, to find the place of its error.
fn locate_error<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Invalid {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return Invalid::at("", "the body does not have the expected form");
    };
    let mut pointer = String::new();
    for segment in error.path() {
        use serde_path_to_error::Segment;
        match segment {
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape_key(key))),
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Enum { .. } | Segment::Unknown => (),
        }
    }
    let text = error.inner().to_string();
    let detail = plain_errors::broken_rule(text.rsplit_once(" at line ").map_or(&*text, |(detail, _)| detail));
    let detail = clip(&detail, MAX_DETAIL_CHARS);
    if let Some(field) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        pointer.push_str(&format!("/{field}"));
    }
    Invalid::at(pointer, detail)
}

/// Writes a key as a segment of a JSON pointer (RFC 6901 §3), and shortens a very long one.
pub(super) fn escape_key(key: &str) -> String {
    clip(key, MAX_KEY_CHARS).replace('~', "~0").replace('/', "~1")
}

fn clip(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use serde_json::Value;

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
            assert_eq!(read(request, 10).await.err().map(|problem| problem.kind()), kind, "{name}: {value}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "list")]
        _list: Vec<u8>,
    }

    #[test]
    fn an_error_in_json_points_to_its_place() {
        for (text, kind, pointer) in [
            ("{", ProblemKind::Malformed, Value::Null),
            (r#"{"list": "x", "#, ProblemKind::Malformed, Value::Null),
            ("[[1]]", ProblemKind::Rule, "".into()),
            ("{}", ProblemKind::Rule, "/list".into()),
            (r#"{"list": [1, 256]}"#, ProblemKind::Rule, "/list/1".into()),
            (r#"{"list": [], "a/b~c": 1}"#, ProblemKind::Rule, "/a~1b~0c".into()),
        ] {
            let problem = json::<Sample>(text.as_bytes()).unwrap_err();
            assert_eq!((problem.kind(), &problem.object()["errors"][0]["pointer"]), (kind, &pointer), "{text}");
        }
        assert!(json::<Sample>(br#" {"list": [1]}"#).is_ok());
    }

    #[test]
    fn a_long_key_is_shortened_in_a_pointer() {
        assert_eq!(escape_key(&"é".repeat(MAX_KEY_CHARS)), "é".repeat(MAX_KEY_CHARS));
        assert_eq!(escape_key(&"é".repeat(MAX_KEY_CHARS + 1)), format!("{}…", "é".repeat(MAX_KEY_CHARS)));
    }
}
