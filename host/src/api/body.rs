//! Reading requests: bounded in size and time, JSON with errors that point to the place.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::Body as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::problem::{Kind, Problem};
use crate::domain::Invalid;

/// A request that has not arrived whole by then is cut off.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest JSON body other than an event's.
pub(super) const SMALL: usize = 256 * 1024;
/// Most characters of a key, and of the reader's words, that an error repeats: they may hold as much as the body does.
const MAX_KEY: usize = 128;
const MAX_DETAIL: usize = 512;

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413, 408, or 415 where it says that it is compressed.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).filter(|value| !value.is_empty());
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Kind::MediaType, "a content-encoding is not supported; send the body as it is"));
    }
    let large = || Problem::new(Kind::TooLarge, format!("the body is over {limit} bytes"));
    if length(headers).is_some_and(|length| length > limit) {
        return Err(large());
    }
    match tokio::time::timeout(PATIENCE, collect(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Cut::Large)) => Err(large()),
        Ok(Err(Cut::Broken)) => Err(Problem::new(Kind::Malformed, "the body broke off")),
        Ok(Err(Cut::Crowded)) => Err(Problem::new(
            Kind::Unavailable,
            "too many large requests are arriving at this moment; nothing was stored, try again",
        )),
        Err(_) => Err(Problem::new(Kind::Slow, "the request did not arrive whole within 60 s")),
    }
}

/// How long the request says that its body is, in bytes.
pub(super) fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What all bodies that are being read may take together, in bytes: thousands of connections may each send the largest.
const MOST_AT_ONCE: usize = 256 << 20;

/// Bytes of bodies that are being read.
static READING: AtomicUsize = AtomicUsize::new(0);

/// A body's part of [`READING`].
struct Part(usize);

impl Part {
    /// Takes more; false where that is more than all may have.
    fn take(&mut self, bytes: usize) -> bool {
        self.0 += bytes;
        READING.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_AT_ONCE
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        READING.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Why a body was not read to its end.
enum Cut {
    Large,
    Broken,
    Crowded,
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Cut> {
    let (mut stream, mut part) = (body.into_data_stream(), Part(0));
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Cut::Broken)?;
        if whole.len() + chunk.len() > limit {
            return Err(Cut::Large);
        }
        if !part.take(chunk.len()) {
            return Err(Cut::Crowded);
        }
        // Most bodies come in one piece, which is not copied.
        if whole.is_empty() && stream.is_end_stream() {
            return Ok(chunk);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads a whole request of at most `limit` bytes.
///
/// # Errors
/// As [`read`].
pub(super) async fn of(request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    read(&parts.headers, body, limit).await
}

/// Reads a JSON object: 400 where it is no JSON, 422 with a pointer where it is not what is expected.
pub(super) fn json<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Problem> {
    let malformed = |error| Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"));
    // serde would read an array as the fields in their order.
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'{');
    match serde_json::from_slice(bytes) {
        Ok(value) if is_object => Ok(value),
        Err(error) if error.classify() != Category::Data => Err(malformed(error)),
        // Reading stopped at the first broken rule; what follows may be no JSON.
        _ => match serde_json::from_slice::<IgnoredAny>(bytes) {
            Err(error) => Err(malformed(error)),
            Ok(_) if !is_object => Err(Invalid::at("", "the body is not a JSON object").into()),
            Ok(_) => Err(pointed::<T>(bytes).into()),
        },
    }
}

/// Reads it once more, slower, to learn where it goes wrong.
fn pointed<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Invalid {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return Invalid::at("", "the body is not what is expected here");
    };
    let mut pointer = String::new();
    for segment in error.path() {
        use serde_path_to_error::Segment;
        match segment {
            Segment::Map { key } => pointer.push_str(&format!("/{}", escaped(key))),
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Enum { .. } | Segment::Unknown => (),
        }
    }
    let text = error.inner().to_string();
    let detail = clipped(text.rsplit_once(" at line ").map_or(&*text, |(detail, _)| detail), MAX_DETAIL);
    if let Some(field) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        pointer.push_str(&format!("/{field}"));
    }
    Invalid::at(pointer, detail)
}

/// A key as it stands in a JSON pointer (RFC 6901 §3), shortened where it is very long.
pub(super) fn escaped(key: &str) -> String {
    clipped(key, MAX_KEY).replace('~', "~0").replace('/', "~1")
}

fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The variable parts of the path.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(error) => Err(Problem::new(Kind::Malformed, format!("the path: {}", error.body_text()))),
        }
    }
}

/// The query, with every parameter known.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::new(Kind::Rule, format!("the query: {}", error.body_text()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn pieces(count: usize, bytes: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))),
        ))
    }

    #[tokio::test]
    async fn a_body_arrives_whole_in_however_many_pieces_and_is_bounded_alone_and_together() {
        for (count, bytes) in [(0, 0), (1, 10), (7, 10)] {
            assert_eq!(collect(pieces(count, bytes), 70).await.ok().map(|body| body.len()), Some(count * bytes));
        }
        assert!(matches!(collect(pieces(8, 10), 70).await, Err(Cut::Large)));
        let mut others = Part(0);
        assert!(others.take(MOST_AT_ONCE - 60));
        assert!(matches!(collect(pieces(7, 10), 70).await, Err(Cut::Crowded)));
        drop(others);
        assert!(collect(pieces(7, 10), 70).await.is_ok());
    }
}
