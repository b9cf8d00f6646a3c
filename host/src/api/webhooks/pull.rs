//! The events of a webhook for its consumer, who fetches and acknowledges them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, Request};
use serde::{Deserialize, Serialize};

use super::not_found;
use crate::api::ApiState;
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::pagination::{cursor, page_limit};
use crate::api::params::{NamesCompany, PathParams, in_query};
use crate::api::problem::{Problem, ProblemKind};
use crate::api::turns::heavy_call;
use crate::delivery::{PullQuery, PulledMessage};
use crate::domain::Invalid;
use crate::domain::webhook::Webhook;
use crate::store::{PullAck, PullRead};

/// The longest wait, in seconds.
const MAX_WAIT_S: u64 = 30;
/// The beginning of a cursor; its position follows, in hexadecimal digits.
const CURSOR: &str = "pos_";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PullParameters {
    company: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
    wait: Option<String>,
}

impl NamesCompany for PullParameters {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// An event as its POST would have been.
#[derive(Serialize)]
struct MessageView {
    delivery_id: String,
    headers: BTreeMap<String, String>,
    /// Null if the body is not UTF-8, or if the plugin failed.
    body: Option<String>,
    /// The body in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Why the plugin failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api) struct PullView {
    data: Vec<MessageView>,
    /// Never null: what to acknowledge, and where to go on.
    next_cursor: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckRequest {
    cursor: String,
}

#[derive(Serialize)]
pub(in crate::api) struct AckView {
    cursor: String,
}

impl From<PulledMessage> for MessageView {
    fn from(PulledMessage { delivery, request }: PulledMessage) -> Self {
        let empty =
            Self { delivery_id: delivery, headers: BTreeMap::new(), body: None, body_base64: None, error: None };
        match request {
            Ok((headers, body)) => {
                let headers = headers.into_iter().collect();
                match String::from_utf8(body.into()) {
                    Ok(text) => Self { headers, body: Some(text), ..empty },
                    Err(bytes) => Self { headers, body_base64: Some(base64(bytes.as_bytes())), ..empty },
                }
            }
            Err(why) => Self { error: Some(why), ..empty },
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn cursor_text(position: i64) -> String {
    format!("{CURSOR}{position:016x}")
}

fn parse_cursor(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(CURSOR)?;
    let is_ours = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let seconds = seconds.and_then(|digits| digits.parse().ok()).filter(|seconds| *seconds <= MAX_WAIT_S);
    let rule = || format!("0s to {MAX_WAIT_S}s, in whole seconds, for example `wait={MAX_WAIT_S}s`");
    seconds.map(Duration::from_secs).ok_or_else(rule)
}

fn no_consumer() -> Problem {
    let detail =
        "the events of this webhook are POSTed to its `target_url`; only with `delivery` `pull` do they wait here";
    Problem::new(ProblemKind::Conflict, detail)
}

/// Checks that a webhook has a consumer, and may be read.
fn check_readable(webhook: &Webhook) -> Result<(), Problem> {
    if !webhook.is_pulled() {
        return Err(no_consumer());
    }
    if webhook.enabled {
        return Ok(());
    }
    let reason = webhook.disabled_reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let detail = format!("this webhook is disabled{reason}; its events wait until it is enabled again");
    Err(Problem::new(ProblemKind::Conflict, detail))
}

async fn webhook_of(api: &ApiState, company: &str, id: &str) -> Result<Webhook, Problem> {
    api.store.webhook(company, id).await?.ok_or_else(not_found)
}

/// `GET /webhooks/{id}/events`: what POSTs would have been, with credentials among the headers; so it needs more than reading
/// webhooks.
pub(in crate::api) async fn pull(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<WebhooksWrite, PullParameters>,
    PathParams(id): PathParams<String>,
) -> Result<([(HeaderName, &'static str); 1], Json<PullView>), Problem> {
    let limit = usize::try_from(page_limit(query.limit.as_deref())?).unwrap_or(1);
    let after = cursor(query.cursor.as_deref(), parse_cursor)?;
    let wait = query.wait.as_deref().map(parse_wait).transpose().map_err(in_query("wait"))?.unwrap_or_default();
    let webhook = webhook_of(&api, &company, &id).await?;
    check_readable(&webhook)?;
    let page = match api.engine.puller.page(&webhook, PullQuery { after, limit, wait }).await? {
        PullRead::Page(page) => page,
        PullRead::NoConsumer => return Err(no_consumer()),
        PullRead::Beyond => return Err(in_query("cursor")(BEYOND.into())),
    };
    let (mut data, mut next) = (Vec::new(), page.next);
    if !page.entries.is_empty() {
        let _turn = heavy_call(&api, &company, None).await?;
        // The webhook as it stands now: it may have been changed during the wait.
        let webhook = webhook_of(&api, &company, &id).await?;
        check_readable(&webhook)?;
        let result = api.engine.puller.messages(&webhook, page).await?;
        data = result.messages.into_iter().map(Into::into).collect();
        next = result.next;
    }
    Ok(([(CACHE_CONTROL, "no-store")], Json(PullView { data, next_cursor: cursor_text(next) })))
}

const BEYOND: &str = "this webhook has no event there yet: use a `next_cursor` of the same webhook";

/// `POST /webhooks/{id}/events/ack`: moves the consumer's place to the cursor, forward or back.
pub(in crate::api) async fn acknowledge(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<AckView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let AckRequest { cursor } = body::json(&bytes)?;
    webhook_of(&api, &company, &id).await?;
    let unknown = || Invalid::at("/cursor", "use the `next_cursor` of an answer of GET /webhooks/{id}/events");
    let position = parse_cursor(&cursor).ok_or_else(unknown)?;
    match api.store.move_pull_place(&company, &id, position, api.clock.now_ms()).await? {
        PullAck::Moved => Ok(Json(AckView { cursor })),
        PullAck::NoConsumer => Err(no_consumer()),
        PullAck::Beyond => Err(Invalid::at("/cursor", BEYOND).into()),
        PullAck::Disputed => {
            Err(Problem::new(ProblemKind::Conflict, "another consumer moves the place of this webhook; try again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_the_text_of_a_position_and_nothing_else() {
        for position in [0, 1, 0x2a, i64::MAX] {
            assert_eq!(parse_cursor(&cursor_text(position)), Some(position));
        }
        for bad in ["", "0", "pos_", "pos_2a", "pos_-00000000000002a", "pos_ffffffffffffffff", "pos_000000000000002A"] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wait_is_at_most_half_a_minute() {
        assert_eq!(["0s", "1s", "30s"].map(|text| parse_wait(text).unwrap().as_secs()), [0, 1, 30]);
        for bad in ["", "s", "30", "31s", "1.5s", "-1s", "+1s", "1m", "99999999999999999999s"] {
            assert!(parse_wait(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn body_that_is_no_text_is_shown_in_base64() {
        let view = |body: &'static [u8]| {
            let request = Ok((vec![("x-a".into(), "1".into())], bytes::Bytes::from_static(body)));
            serde_json::to_value(MessageView::from(PulledMessage { delivery: "dlv_1".into(), request })).unwrap()
        };
        let expected = |body| serde_json::json!({"delivery_id": "dlv_1", "headers": {"x-a": "1"}, "body": body});
        assert_eq!(view(b"{}"), expected(Some("{}")));
        let mut binary = expected(None);
        binary["body_base64"] = "/wA=".into();
        assert_eq!(view(b"\xff\0"), binary);
    }
}
