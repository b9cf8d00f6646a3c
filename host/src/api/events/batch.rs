//! Publishes many events at once: NDJSON, one event a line.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::task::coop::consume_budget;
use tracing::{Instrument as _, Span};

use super::{AcceptedView, EventSource, Warning, hops_of, log_accepted, read_event, rules};
use crate::api::answers::{HeldAnswer, SMALL_ANSWER};
use crate::api::auth::EventPublisher;
use crate::api::body::{self, BodyLimit};
use crate::api::problem::{Problem, ProblemKind};
use crate::api::{ApiState, spans, turns};
use crate::delivery::{AcceptedEvent, NewEvent, SubmittedEvent};
use crate::domain::Invalid;
use crate::shares::{Part, Resource};

/// Most lines of one batch.
const MAX_LINES: usize = 1_000;
/// The content types of NDJSON; a request without any is taken for NDJSON too.
const CONTENT_TYPES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// Most warnings about one line: the answer has those of all lines.
const MAX_LINE_WARNINGS: usize = 3;

/// Bytes of the answer for a line with one delivery, about.
const BYTES_PER_RESULT: usize = 256;
/// Bytes of the answer for each further delivery, about.
const BYTES_PER_DELIVERY: usize = 48;

#[derive(Serialize)]
pub(in crate::api) struct BatchView {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    results: Vec<LineView>,
}

impl BatchView {
    fn new(results: Vec<LineView>) -> Self {
        let count = |of: fn(&LineView) -> bool| results.iter().filter(|result| of(result)).count();
        Self {
            accepted: count(|result| matches!(result, LineView::Accepted(_))),
            duplicates: count(|result| matches!(result, LineView::Duplicate(_))),
            rejected: count(|result| matches!(result, LineView::Rejected { .. })),
            results,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum LineView {
    Accepted(AcceptedView),
    Duplicate(AcceptedView),
    Rejected {
        /// The number of the line in the body, the first being 1.
        line: usize,
        error: Value,
    },
}

/// A line that is not blank.
struct Line {
    /// The first line of the body has number 1.
    number: usize,
    bytes: Bytes,
}

/// The result of one line.
struct PublishedLine {
    number: usize,
    result: Result<(AcceptedEvent, Vec<Warning>), Problem>,
}

/// `POST /events/batch`: 202 with one result a line, once all events that could be accepted are on disk.
pub(in crate::api) async fn batch(
    State(api): State<Arc<ApiState>>,
    publisher: EventPublisher,
    request: Request<Body>,
) -> Result<(StatusCode, Option<Extension<HeldAnswer>>, Json<BatchView>), Problem> {
    publisher.check_scope()?;
    check_content_type(request.headers())?;
    let source = EventSource { hops: hops_of(request.headers())?, publisher };
    let holder = source.publisher.holder();
    let bytes = body::read(&api.shares, holder, request, BodyLimit::Batch(api.max_event_bytes)).await?;
    let lines = lines(&bytes)?;
    let mut held = room_for_answer(&api, holder, lines.len()).await?;
    let _turn = turn(&api, holder, bytes.len()).await?;
    let done = publish_lines(&api, &source, lines).await;
    hold_further_deliveries(&api, holder, &done, &mut held);
    let results = done.into_iter().map(|PublishedLine { number, result }| match result {
        Ok((event, warnings)) if event.is_duplicate => LineView::Duplicate(AcceptedView::new(event, warnings)),
        Ok((event, warnings)) => LineView::Accepted(AcceptedView::new(event, warnings)),
        Err(problem) => {
            api.metrics.event_refused(problem.reason());
            LineView::Rejected { line: number, error: problem.object() }
        }
    });
    Ok((
        StatusCode::ACCEPTED,
        held.map(|part| Extension(HeldAnswer::from(part))),
        Json(BatchView::new(results.collect())),
    ))
}

/// An event that was handed to the writer and is not stored yet.
struct PendingLine {
    event: SubmittedEvent,
    warnings: Vec<Warning>,
    span: Span,
}

impl PendingLine {
    async fn submit(api: &ApiState, event: NewEvent) -> Result<Self, Problem> {
        let mut warnings = rules::check(api, &event).await?;
        warnings.truncate(MAX_LINE_WARNINGS);
        let span = spans::publish_span(&event);
        let event = api.engine.publisher.submit(event).instrument(span.clone()).await?;
        Ok(Self { event, warnings, span })
    }

    async fn accepted(self) -> Result<(AcceptedEvent, Vec<Warning>), Problem> {
        let accepted = self.event.accepted().instrument(self.span.clone()).await?;
        self.span.in_scope(|| log_accepted(&accepted));
        Ok((accepted, self.warnings))
    }
}

/// Publishes the lines in their order; returns one result for each.
async fn publish_lines(api: &ApiState, source: &EventSource, lines: Vec<Line>) -> Vec<PublishedLine> {
    let mut pending = Vec::with_capacity(lines.len());
    for Line { number, bytes } in lines {
        // Reading a thousand lines takes long: other tasks run in between.
        consume_budget().await;
        let submitted = match read_line(api, source, bytes) {
            Ok(event) => PendingLine::submit(api, event).await,
            Err(problem) => Err(problem),
        };
        pending.push((number, submitted));
    }
    let mut done = Vec::with_capacity(pending.len());
    for (number, submitted) in pending {
        let result = match submitted {
            Ok(line) => line.accepted().await,
            Err(problem) => Err(problem),
        };
        done.push(PublishedLine { number, result });
    }
    done
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if CONTENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
        return Ok(());
    }
    let detail = format!("send one event a line as `content-type: {}`", CONTENT_TYPES[0]);
    Err(Problem::new(ProblemKind::MediaType, detail))
}

/// Waits for its turn if the batch is larger than one event. It has arrived by now: nobody holds a turn while its client sends.
async fn turn(api: &ApiState, holder: &str, bytes: usize) -> Result<Option<Part>, Problem> {
    if bytes <= BodyLimit::Event(api.max_event_bytes).bytes() {
        return Ok(None);
    }
    // It takes up to twice its size of memory.
    turns::turn(api, Resource::BatchReads, holder, 1).await.map(Some)
}

/// Takes the memory of the answer before anything is stored: it cannot be refused afterwards.
async fn room_for_answer(api: &ApiState, holder: &str, lines: usize) -> Result<Option<Part>, Problem> {
    let bytes = (lines * BYTES_PER_RESULT) as u64;
    if bytes <= SMALL_ANSWER {
        return Ok(None);
    }
    turns::turn(api, Resource::AnswerBytes, holder, bytes).await.map(Some)
}

/// Adds to the memory of the answer what the further deliveries of events take, of which there are 100 at most.
fn hold_further_deliveries(api: &ApiState, holder: &str, lines: &[PublishedLine], held: &mut Option<Part>) {
    let further =
        |line: &PublishedLine| line.result.as_ref().map_or(0, |(event, _)| event.delivery_ids.len().saturating_sub(1));
    let bytes = (lines.iter().map(further).sum::<usize>() * BYTES_PER_DELIVERY) as u64;
    match held {
        Some(part) => part.hold(bytes),
        None if bytes > SMALL_ANSWER => *held = Some(api.shares.of(Resource::AnswerBytes).hold(holder, bytes)),
        None => (),
    }
}

/// Splits the body into the lines that are not blank.
fn lines(bytes: &Bytes) -> Result<Vec<Line>, Problem> {
    let numbered = (1..).zip(bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
    let lines = numbered.filter(|(_, line)| !line.is_empty()).take(MAX_LINES + 1);
    let lines: Vec<_> = lines.map(|(number, line)| Line { number, bytes: bytes.slice_ref(line) }).collect();
    if lines.len() > MAX_LINES {
        let detail = format!("a batch has at most {MAX_LINES} lines; nothing was stored, send it in parts");
        return Err(Invalid::at("", detail).into());
    }
    Ok(lines)
}

fn read_line(api: &ApiState, source: &EventSource, line: Bytes) -> Result<NewEvent, Problem> {
    let limit = BodyLimit::Event(api.max_event_bytes);
    if line.len() > limit.bytes() {
        return Err(Problem::new(ProblemKind::TooLarge, limit.exceeded()));
    }
    let event = read_event(api, source, &line)?;
    // A slice of the batch would keep all of it in memory for as long as the event waits in its queue.
    Ok(NewEvent { data: Bytes::copy_from_slice(&event.data), ..event })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn blank_lines_do_not_count() {
        let split = |text: &str| lines(&Bytes::copy_from_slice(text.as_bytes())).map(|lines| lines.len());
        assert_eq!(split("a\r\n\r\n \t\n b \n").unwrap(), 2);
        let numbers = lines(&Bytes::from_static(b"\na\r\n\r\n b")).unwrap();
        assert_eq!(numbers.iter().map(|line| line.number).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(split("").unwrap(), 0);
        assert_eq!(split(&"x\n\n".repeat(MAX_LINES)).unwrap(), MAX_LINES);
        assert_eq!(split(&"x\n".repeat(MAX_LINES + 1)).unwrap_err().kind(), ProblemKind::Rule);
    }

    #[test]
    fn ndjson_has_several_content_types_and_may_have_none() {
        assert!(check_content_type(&HeaderMap::new()).is_ok());
        for good in ["application/x-ndjson", "Application/NDJSON; charset=utf-8", "application/jsonl"] {
            assert!(check_content_type(&headers(header::CONTENT_TYPE, good)).is_ok(), "{good}");
        }
        for bad in ["application/json", "text/plain", ""] {
            let problem = check_content_type(&headers(header::CONTENT_TYPE, bad)).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::MediaType, "{bad}");
        }
    }
}
