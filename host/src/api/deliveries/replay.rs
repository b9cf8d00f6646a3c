//! Sends a range of deliveries again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::parse_status;
use super::selection::Selection;
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesRead, DeliveriesWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::pagination::{ListPage, cursor, page_limit};
use crate::api::params::{NamesCompany, PathParams};
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::Invalid;
use crate::domain::delivery::Status;
use crate::domain::time::rfc3339;
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
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let now = api.clock.now_ms();
    let id = api.engine.ids.next("rpl", now);
    let replay = body::checked(&bytes, |selection: ReplayRequest| selection.check(id.clone(), company, now))?;
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
    limit: Option<String>,
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
    let limit = page_limit(query.limit.as_deref())?;
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
    ///
    /// # Errors
    /// Every broken rule.
    fn check(self, id: String, company: String, now: i64) -> Result<Replay, Vec<Invalid>> {
        let mut errors = Vec::new();
        let status = self.status.as_deref().map(parse_status).transpose();
        let status = status.map_err(|detail| errors.push(Invalid::at("/status", detail))).ok().flatten();
        let selection = Selection { event_type: self.r#type, since: self.since, until: self.until };
        let (event_type, since, until) = selection.check(now, errors)?;
        Ok(Replay { id, company, event_type, status, since, until, now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn check(since: i64, until: Option<i64>) -> Result<Replay, Vec<Invalid>> {
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
        let errors = check(NOW, Some(NOW - 1000)).unwrap_err();
        assert_eq!(errors.iter().map(|error| &*error.pointer).collect::<Vec<_>>(), ["/until"]);
        assert!(check(NOW, Some(NOW)).is_ok() && check(NOW + 5000, None).is_ok());
    }

    #[test]
    fn every_broken_rule_of_a_selection_is_reported() {
        let text = |text: &str| Some(text.to_owned());
        let request =
            ReplayRequest { r#type: text("a b"), status: text("lost"), since: "noon".into(), until: text("later") };
        let errors = request.check("rpl_1".into(), "acme".into(), NOW).unwrap_err();
        let pointers: Vec<_> = errors.iter().map(|error| &*error.pointer).collect();
        assert_eq!(pointers, ["/type", "/status", "/since", "/until"]);
    }
}
