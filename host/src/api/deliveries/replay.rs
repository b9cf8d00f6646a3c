//! Sends a range of deliveries again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::parse_status;
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesRead, DeliveriesWrite};
use crate::api::body::{self, MAX_JSON_BYTES};
use crate::api::pagination::{ListPage, cursor, page_limit};
use crate::api::params::{NamesCompany, PathParams};
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::delivery::Status;
use crate::domain::time::{HOW_WRITTEN, parse_rfc3339, rfc3339};
use crate::domain::{Invalid, event};
use crate::store::{Replay, ReplayKey, ReplayRecord};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayRequest {
    r#type: Option<String>,
    status: Option<String>,
    since: String,
    until: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api) struct ReplayOrderView {
    count: u64,
    /// Null if there is nothing to replay.
    id: Option<String>,
}

/// `POST /deliveries/replay`: 202; the replay goes on in the background.
pub(in crate::api) async fn replay(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<ReplayOrderView>), Problem> {
    let bytes = body::read(request, MAX_JSON_BYTES).await?;
    let selection: ReplayRequest = body::json(&bytes)?;
    let now = api.clock.now_ms();
    let id = api.engine.ids.next("rpl", now);
    let replay = selection.check(id.clone(), company, now)?;
    let count = api.engine.replayer.replay(replay).await?;
    Ok((StatusCode::ACCEPTED, Json(ReplayOrderView { count, id: (count > 0).then_some(id) })))
}

/// A replay whose deliveries are being marked, or wait to be sent.
#[derive(Serialize)]
pub(in crate::api) struct ReplayView {
    id: String,
    company: String,
    r#type: Option<String>,
    status: Option<&'static str>,
    /// Null for a replay that an earlier version stored.
    since: Option<String>,
    until: Option<String>,
    /// `marking`, then `sending`.
    state: &'static str,
    created_at: String,
}

impl ReplayView {
    fn new(company: &str, replay: ReplayRecord) -> Self {
        Self {
            id: replay.id,
            company: company.to_owned(),
            r#type: replay.event_type,
            status: replay.status.map(Status::name),
            since: replay.since.map(rfc3339),
            until: replay.until.map(rfc3339),
            state: if replay.marked { "sending" } else { "marking" },
            created_at: rfc3339(replay.created_at),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ReplayListQuery {
    company: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl NamesCompany for ReplayListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /deliveries/replays`: newest first.
pub(in crate::api) async fn list_replays(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<DeliveriesRead, ReplayListQuery>,
) -> Result<Json<ListPage<ReplayView>>, Problem> {
    let limit = page_limit(query.limit)?;
    let is_replay = |text: &str| text.starts_with("rpl_").then(|| text.to_owned());
    let after = cursor(query.cursor.as_deref(), is_replay)?;
    let (found, more) = api.store.replays(&company, limit, after.as_deref()).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.id.clone());
    let data = found.into_iter().map(|replay| ReplayView::new(&company, replay)).collect();
    Ok(Json(ListPage { data, next_cursor }))
}

/// `DELETE /deliveries/replays/{id}`: 200 with the replay; what it has marked and not sent yet is cancelled.
pub(in crate::api) async fn stop_replay(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    PathParams(id): PathParams<String>,
) -> Result<Json<ReplayView>, Problem> {
    let cancellation = api.engine.ids.next("cnl", api.clock.now_ms());
    let key = ReplayKey { company: company.clone(), id };
    let stopped = api.engine.canceller.stop_replay(key, cancellation).await?;
    let gone = || Problem::new(ProblemKind::NotFound, "this company has no replay with that id, or it has ended");
    Ok(Json(ReplayView::new(&company, stopped.ok_or_else(gone)?)))
}

impl ReplayRequest {
    /// Checks the selection at `now`, in milliseconds since 1970.
    fn check(self, id: String, company: String, now: i64) -> Result<Replay, Invalid> {
        if let Some(name) = &self.r#type {
            event::check_type(name).map_err(|detail| Invalid::at("/type", detail))?;
        }
        let (since, until) = selected_range(&self.since, self.until.as_deref(), now)?;
        let status = self.status.as_deref().map(parse_status).transpose();
        let status = status.map_err(|detail| Invalid::at("/status", detail))?;
        Ok(Replay { id, company, event_type: self.r#type, status, since, until, now })
    }
}

/// Reads the range of a selection; it ends at `now`, milliseconds since 1970, at the latest: an event that is accepted from now
/// on is not meant.
pub(super) fn selected_range(since: &str, until: Option<&str>, now: i64) -> Result<(i64, i64), Invalid> {
    let since = instant("/since", since)?;
    let end = until.map_or(Ok(now), |text| instant("/until", text))?.min(now);
    if end < since && until.is_some() {
        return Err(Invalid::at("/until", "`until` is before `since`"));
    }
    Ok((since, end))
}

fn instant(pointer: &str, text: &str) -> Result<i64, Invalid> {
    parse_rfc3339(text).ok_or_else(|| Invalid::at(pointer, HOW_WRITTEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn check(since: i64, until: Option<i64>) -> Result<Replay, Invalid> {
        let until = until.map(rfc3339);
        let request = ReplayRequest { r#type: None, status: None, since: rfc3339(since), until };
        request.check("rpl_1".into(), "acme".into(), NOW)
    }

    #[test]
    fn a_replay_ends_now_at_the_latest() {
        let until = |until| check(0, until).unwrap().until;
        assert_eq!((until(None), until(Some(NOW + 5000)), until(Some(NOW - 5000))), (NOW, NOW, NOW - 5000));
    }

    #[test]
    fn only_a_given_until_before_since_is_refused() {
        assert_eq!(check(NOW, Some(NOW - 1000)).err().map(|error| error.pointer).as_deref(), Some("/until"));
        assert!(check(NOW, Some(NOW)).is_ok() && check(NOW + 5000, None).is_ok());
    }
}
