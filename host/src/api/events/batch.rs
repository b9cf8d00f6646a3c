//! Publishing many events at once: NDJSON, one event a line.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::{Answer, most_bytes, read};
use crate::api::auth::Caller;
use crate::api::body::{self, Params};
use crate::api::problem::{Kind, Problem};
use crate::api::{Api, App, CompanyOnly};
use crate::delivery::{AcceptedEvent, NewEvent};
use crate::domain::Invalid;
use crate::domain::credential::{Access, Area};

/// Most lines of one batch.
const MAX_LINES: usize = 1_000;
/// Most bytes of one batch.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The content types of NDJSON; none at all is taken for it too.
const KINDS: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// Batches larger than one event may be that this process has in memory at once: each takes up to twice [`MAX_BYTES`].
static LARGE: Semaphore = Semaphore::const_new(4);
/// How long such a batch waits for its turn, unread.
const TURN: Duration = Duration::from_secs(30);

#[derive(Serialize)]
pub(in crate::api) struct Results {
    accepted: usize,
    results: Vec<Line>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Accepted(Answer),
    Refused { error: Value },
}

/// `POST /events/batch`: 202 with one result a line, once all events that could be accepted are on disk.
pub(in crate::api) async fn batch(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<Results>), Problem> {
    check_scope(&caller)?;
    check_kind(request.headers())?;
    let one = most_bytes(&api);
    let _turn = turn(request.headers(), one).await?;
    let bytes = body::of(request, MAX_BYTES.max(one)).await?;
    let done = publish(&api, &caller, query.company.as_deref(), lines(&bytes)?).await;
    let accepted = done.iter().filter(|result| result.is_ok()).count();
    let results = done.into_iter().map(|result| match result {
        Ok(accepted) => Line::Accepted(accepted.into()),
        Err(problem) => {
            api.metrics.event_refused(problem.reason());
            Line::Refused { error: problem.object() }
        }
    });
    Ok((StatusCode::ACCEPTED, Json(Results { accepted, results: results.collect() })))
}

/// Publishes the lines in their order; answers one result for each.
async fn publish(
    api: &Api,
    caller: &Caller,
    company: Option<&str>,
    lines: Vec<Bytes>,
) -> Vec<Result<AcceptedEvent, Problem>> {
    let mut handed_in = Vec::with_capacity(lines.len());
    for line in lines {
        // Reading a thousand lines takes long: others have their turn in between.
        consume_budget().await;
        handed_in.push(match read_line(api, caller, company, line) {
            Ok(event) => api.engine.publisher.submit(event).await.map_err(Problem::from),
            Err(problem) => Err(problem),
        });
    }
    let mut done = Vec::with_capacity(handed_in.len());
    for line in handed_in {
        done.push(match line {
            Ok(event) => event.accepted().await.map_err(Problem::from),
            Err(problem) => Err(problem),
        });
    }
    done
}

/// Each line may name its company; the scope is the same for all of them.
fn check_scope(caller: &Caller) -> Result<(), Problem> {
    match caller.company(Area::Events, Access::Write, None) {
        Err(problem) if problem.kind() == Kind::Scope => Err(problem),
        _ => Ok(()),
    }
}

fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    Err(Problem::new(Kind::MediaType, format!("send one event a line as `content-type: {}`", KINDS[0])))
}

/// The turn of a batch that is larger than `one` event may be, or does not say how large it is.
async fn turn(headers: &HeaderMap, one: usize) -> Result<Option<SemaphorePermit<'static>>, Problem> {
    if body::length(headers).is_some_and(|length| length <= one) {
        return Ok(None);
    }
    // The semaphore is never closed.
    let turn = timeout(TURN, LARGE.acquire()).await.map(Result::ok);
    turn.map_err(|_| {
        Problem::new(Kind::Unavailable, "too many large batches arrive at once; nothing was stored, try again")
    })
}

/// The lines that are not blank.
fn lines(bytes: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.take(MAX_LINES + 1).map(|line| bytes.slice_ref(line)).collect();
    if lines.len() > MAX_LINES {
        let detail = format!("a batch has at most {MAX_LINES} lines; nothing was stored, send it in parts");
        return Err(Invalid::at("", detail).into());
    }
    Ok(lines)
}

fn read_line(api: &Api, caller: &Caller, company: Option<&str>, line: Bytes) -> Result<NewEvent, Problem> {
    let limit = most_bytes(api);
    if line.len() > limit {
        return Err(Problem::new(Kind::TooLarge, format!("the line is over {limit} bytes")));
    }
    let event = read(api, caller, company, &line)?;
    // An event that waits in its lane must not keep the whole batch in memory.
    Ok(NewEvent { data: Bytes::copy_from_slice(&event.data), ..event })
}
