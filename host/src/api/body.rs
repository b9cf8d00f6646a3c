//! Reads request bodies: bounded in size, time and memory, JSON with errors that point to the place.

mod json;
mod limit;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::problem::{Problem, ProblemKind};
use super::turns::TURN_TIMEOUT;
use crate::shares::{Part, Resource, Share, ShareExceeded, Shares};
pub(super) use json::{checked, escape_key, json, nested};
pub(super) use limit::{BodyLimit, data_exceeded};

/// A request that has not arrived whole within this time is cut off.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Bodies up to this size are no part of the memory for bodies, so that nobody's larger ones keep an ordinary event out. The
/// HTTP connection buffers as much in any case, and the number of connections bounds both.
const SMALL_BODY: usize = 16 * 1024;

/// A larger body has to make progress in each period of this length.
const PERIOD: Duration = Duration::from_secs(10);
/// The least that has to arrive in each [`PERIOD`]: 1 KiB a second.
const BYTES_PER_PERIOD: usize = 10 * 1024;

/// The body of a request, with its part of the memory for bodies.
#[derive(Debug)]
pub(super) struct RequestBody {
    bytes: Bytes,
    _part: Option<Part>,
}

impl Deref for RequestBody {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Reads a whole request of `holder`, a company, within `limit`.
///
/// # Errors
/// 413 if it is larger, 408 if it does not arrive in time, 400 if it breaks off, 415 if it is compressed, 429 or 503 if this
/// company or others have all memory for large bodies.
pub(super) async fn read(
    shares: &Shares,
    holder: &str,
    request: Request<Body>,
    limit: BodyLimit,
) -> Result<RequestBody, Problem> {
    let (parts, body) = request.into_parts();
    let encoding = parts.headers.get(header::CONTENT_ENCODING).filter(|value| !value.is_empty());
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "a content-encoding is not supported; send the body without one";
        return Err(Problem::new(ProblemKind::MediaType, detail));
    }
    let expected = content_length(&parts.headers);
    if expected.is_some_and(|length| length > limit.bytes()) {
        return Err(Problem::new(ProblemKind::TooLarge, limit.exceeded()));
    }
    let memory = Memory::new(shares.of(Resource::RequestBytes), holder, expected);
    collect(body, limit.bytes(), memory).await.map_err(|error| match error {
        ReadError::TooLarge => Problem::new(ProblemKind::TooLarge, limit.exceeded()),
        ReadError::Incomplete => Problem::new(ProblemKind::Malformed, "the body is incomplete"),
        ReadError::NoMemory(exceeded) => exceeded.into(),
        ReadError::Stalled(bytes) => {
            let seconds = PERIOD.as_secs();
            let detail = format!("a body of this size has to arrive with at least {bytes} bytes in each {seconds} s");
            Problem::new(ProblemKind::TooSlow, detail)
        }
        ReadError::TooSlow => {
            let detail = format!("the request did not arrive whole within {} s", READ_TIMEOUT.as_secs());
            Problem::new(ProblemKind::TooSlow, detail)
        }
    })
}

/// Returns the length of the body in bytes, if the request states one.
pub(super) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a body that arrives has of the memory for bodies.
struct Memory<'a> {
    share: &'a Arc<Share>,
    holder: &'a str,
    /// The length that the request states.
    expected: Option<usize>,
    part: Option<Part>,
}

impl<'a> Memory<'a> {
    fn new(share: &'a Arc<Share>, holder: &'a str, expected: Option<usize>) -> Self {
        Self { share, holder, expected, part: None }
    }

    /// Takes room for the bytes that have arrived. The first time it waits for room for the whole body, if that states its
    /// length: bodies that waited for the rest of their memory would wait for each other. Returns whether it waited.
    async fn hold(&mut self, bytes: usize) -> Result<bool, ShareExceeded> {
        if bytes <= SMALL_BODY {
            return Ok(false);
        }
        let held = bytes as u64;
        if let Some(part) = &mut self.part {
            let more = held.saturating_sub(part.amount());
            // What it has been granted stays its own, also if the company could not have it any more.
            return if more == 0 { Ok(false) } else { part.grow(more).map(|()| false) };
        }
        let Some(expected) = self.expected else {
            self.part = Some(self.share.try_take(self.holder, held)?);
            return Ok(false);
        };
        let wanted = held.max(self.share.obtainable(expected as u64));
        self.part = Some(self.share.take_in_time(self.holder, wanted, TURN_TIMEOUT).await?);
        Ok(true)
    }

    /// The bytes that have to arrive in each [`PERIOD`]: at half this pace the body would not arrive in time. 0 if it holds no
    /// memory.
    fn bytes_per_period(&self) -> usize {
        let Some(part) = &self.part else { return 0 };
        let periods = READ_TIMEOUT.as_secs() / PERIOD.as_secs();
        let share = part.amount() / periods / 2;
        BYTES_PER_PERIOD.max(usize::try_from(share).unwrap_or(usize::MAX))
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
enum ReadError {
    TooLarge,
    Incomplete,
    NoMemory(ShareExceeded),
    /// It holds memory, and less than this many bytes arrived in a [`PERIOD`].
    Stalled(usize),
    /// It did not arrive within [`READ_TIMEOUT`].
    TooSlow,
}

/// The time limits of a body that arrives.
struct Pace {
    end: Instant,
    period_end: Instant,
    /// The bytes that had arrived when the period began.
    before: usize,
}

impl Pace {
    fn new(now: Instant, bytes: usize) -> Self {
        Self { end: now + READ_TIMEOUT, period_end: now + PERIOD, before: bytes }
    }

    /// When it has to be checked.
    fn next(&self) -> Instant {
        self.period_end.min(self.end)
    }

    /// Checks it at `now`: `bytes` have arrived so far.
    fn check(&mut self, now: Instant, bytes: usize, memory: &Memory<'_>) -> Result<(), ReadError> {
        if now >= self.end {
            return Err(ReadError::TooSlow);
        }
        let wanted = memory.bytes_per_period();
        if bytes.saturating_sub(self.before) < wanted {
            return Err(ReadError::Stalled(wanted));
        }
        (self.period_end, self.before) = (now + PERIOD, bytes);
        Ok(())
    }
}

async fn collect(body: Body, limit: usize, mut memory: Memory<'_>) -> Result<RequestBody, ReadError> {
    let (mut stream, mut whole) = (body.into_data_stream(), BytesMut::new());
    let mut pace = Pace::new(Instant::now(), 0);
    loop {
        let Ok(next) = timeout_at(pace.next(), stream.next()).await else {
            pace.check(Instant::now(), whole.len(), &memory)?;
            continue;
        };
        let Some(chunk) = next else { return Ok(RequestBody { bytes: whole.freeze(), _part: memory.part }) };
        let chunk = chunk.map_err(|_| ReadError::Incomplete)?;
        if whole.len() + chunk.len() > limit {
            return Err(ReadError::TooLarge);
        }
        if memory.hold(whole.len() + chunk.len()).await.map_err(ReadError::NoMemory)? {
            pace = Pace::new(Instant::now(), whole.len());
        }
        if whole.is_empty() {
            // Most bodies arrive in one chunk, which is not copied.
            if stream.is_end_stream() {
                return Ok(RequestBody { bytes: chunk, _part: memory.part });
            }
            // Memory is used once bytes are written to it.
            whole.reserve(memory.expected.unwrap_or(0));
        }
        whole.extend_from_slice(&chunk);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};

    use super::*;
    use crate::metrics::Metrics;
    use crate::shares::ShareTotals;

    fn shares() -> Shares {
        let totals = ShareTotals { client_connections: 1, idle_connections: 1, dns_lookups: 1, pings: 1 };
        Shares::new(totals, &Metrics::new(0, []))
    }

    fn chunks(count: usize, bytes: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))),
        ))
    }

    fn memory(shares: &Shares, expected: Option<usize>) -> Memory<'_> {
        Memory::new(shares.of(Resource::RequestBytes), "acme", expected)
    }

    #[tokio::test]
    async fn a_body_arrives_whole_in_any_number_of_chunks_and_is_bounded() {
        let shares = shares();
        for (count, bytes) in [(0, 0), (1, 10), (7, 10), (3, SMALL_BODY)] {
            for expected in [None, Some(count * bytes)] {
                let body = collect(chunks(count, bytes), 70_000, memory(&shares, expected)).await.unwrap();
                assert_eq!(body.len(), count * bytes);
            }
        }
        assert!(matches!(collect(chunks(8, 10), 70, memory(&shares, None)).await, Err(ReadError::TooLarge)));
        assert!(shares.of(Resource::RequestBytes).used() == 0, "every part is given back");
    }

    #[tokio::test]
    async fn large_bodies_have_a_share_of_the_memory_and_small_ones_need_none() {
        let shares = shares();
        let share = shares.of(Resource::RequestBytes);
        let half = share.total() / 2;
        let mut own = memory(&shares, Some(usize::MAX));
        assert!(own.hold(SMALL_BODY).await.is_ok_and(|waited| !waited) && share.used() == 0);
        assert!(own.hold(SMALL_BODY + 1).await.unwrap());
        assert_eq!(share.usage("acme").0, half, "all that is announced, if it is not too much");
        assert!(!memory(&shares, None).hold(SMALL_BODY).await.unwrap(), "a small one always arrives");
        let refused = memory(&shares, None).hold(SMALL_BODY + 1).await;
        assert!(refused.unwrap_err().own);
        let mut waiting = memory(&shares, Some(SMALL_BODY + 1));
        let mut waits = Box::pin(waiting.hold(SMALL_BODY + 1));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(Memory::new(share, "other", None).hold(SMALL_BODY + 1).now_or_never().unwrap().is_ok());
        drop(own);
        assert!(waits.await.unwrap(), "it gets what another body of the company gives back");
    }

    #[tokio::test]
    async fn body_keeps_the_memory_that_it_was_granted() {
        let shares = shares();
        let third = usize::try_from(shares.of(Resource::RequestBytes).total() / 6).unwrap();
        let mut own: Vec<_> = (0..3).map(|_| memory(&shares, Some(third))).collect();
        for memory in &mut own {
            assert!(memory.hold(SMALL_BODY + 1).now_or_never().unwrap().unwrap(), "the company has room for three");
        }
        let other = shares.of(Resource::RequestBytes).try_take("other", third as u64).unwrap();
        for memory in &mut own {
            memory.hold(third).await.unwrap();
        }
        drop(other);
    }

    #[tokio::test]
    async fn body_that_holds_memory_has_to_arrive() {
        let shares = shares();
        let (mut memory, now) = (memory(&shares, Some(1_200_000)), Instant::now());
        let mut pace = Pace::new(now, 0);
        assert_eq!(pace.next(), now + PERIOD);
        for period in 1..6 {
            assert!(pace.check(now + PERIOD * period, 10, &memory).is_ok(), "a small one may stall");
        }
        assert!(matches!(pace.check(now + READ_TIMEOUT, 10, &memory), Err(ReadError::TooSlow)));
        memory.hold(SMALL_BODY + 1).await.unwrap();
        let mut pace = Pace::new(now, 0);
        assert!(pace.check(now + PERIOD, 100_000, &memory).is_ok());
        assert!(matches!(pace.check(now + PERIOD * 2, 199_999, &memory), Err(ReadError::Stalled(100_000))));
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
            let read = read(&shares(), "acme", request, BodyLimit::Plugin(10)).await;
            assert_eq!(read.err().map(|problem| problem.kind()), kind, "{name}: {value}");
        }
    }
}
