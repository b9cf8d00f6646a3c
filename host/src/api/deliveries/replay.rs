//! Sends a range of deliveries again.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::selection::{Selection, SelectionFields};
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesRead, DeliveriesWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::pagination::{ListPage, cursor, page_limit};
use crate::api::params::{NamesCompany, PathParams};
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::Invalid;
use crate::domain::delivery_selection::DeliverySelection;
use crate::domain::time::rfc3339;
use crate::store::{Replay, ReplayKey, ReplayRecord};

#[derive(Serialize)]
pub(in crate::api) struct ReplayOrderView {
    count: u64,
    /// Null if there is nothing to replay, or if it was only counted.
    id: Option<String>,
}

/// `POST /deliveries/replay`: 202; the replay goes on in the background. 200 if it was only to be counted.
pub(in crate::api) async fn replay(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<ReplayOrderView>), Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let now = api.clock.now_ms();
    let selection = body::checked(&bytes, |fields: SelectionFields| fields.check(now))?;
    if let (true, Some(webhook)) = (selection.missing, &selection.conditions.webhook)
        && api.store.webhook_of(&company, webhook).await?.is_none()
    {
        return Err(Invalid::at("/webhook", "this company has no such webhook").into());
    }
    let id = api.engine.ids.next("rpl", now);
    let Selection { conditions, event, since, until, missing, dry_run } = selection;
    let replay = Replay { id: id.clone(), company, selection: conditions, event, missing, since, until, now };
    if dry_run {
        let count = api.store.count_replayable(&replay).await?;
        return Ok((StatusCode::OK, Json(ReplayOrderView { count, id: None })));
    }
    let count = api.engine.replayer.replay(replay).await?;
    Ok((StatusCode::ACCEPTED, Json(ReplayOrderView { count, id: (count > 0).then_some(id) })))
}

/// A replay whose deliveries are being marked, or wait to be sent.
#[derive(Serialize)]
pub(in crate::api) struct ReplayView {
    id: String,
    company: String,
    r#type: Option<String>,
    status: Option<String>,
    webhook: Option<String>,
    label: Option<String>,
    error: Option<String>,
    /// `missing`, or null.
    only: Option<&'static str>,
    since: Option<String>,
    until: Option<String>,
    /// `marking`, then `sending`.
    state: &'static str,
    created_at: String,
}

impl ReplayView {
    fn new(company: &str, replay: ReplayRecord) -> Self {
        let DeliverySelection { types, statuses, webhook, label, error } = replay.selection;
        let statuses: Vec<&'static str> = statuses.into_iter().map(Into::into).collect();
        Self {
            id: replay.id,
            company: company.to_owned(),
            r#type: (!types.is_empty()).then(|| types.join(",")),
            status: (!statuses.is_empty()).then(|| statuses.join(",")),
            webhook,
            label,
            error,
            only: replay.missing.then_some("missing"),
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
