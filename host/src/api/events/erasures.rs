//! Erases the data of many events, and shows how far that is.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::raw_value;
use crate::api::ApiState;
use crate::api::auth::{Authorized, EventsRead, EventsWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::pagination::{ListPage, cursor, page_limit};
use crate::api::params::NamesCompany;
use crate::api::problem::Problem;
use crate::domain::json_condition::JsonCondition;
use crate::domain::time::{self, rfc3339};
use crate::domain::{Invalid, event, id};
use crate::store::{CountedEvents, Erasure, ErasureRecord, ErasureSelection, first_id};

/// The body of `POST /events/erase`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseFields<'b> {
    r#type: Option<String>,
    since: Option<String>,
    until: Option<String>,
    pointer: Option<String>,
    #[serde(borrow, default, deserialize_with = "raw_value")]
    equals: Option<&'b RawValue>,
    dry_run: Option<bool>,
    cursor: Option<String>,
}

/// A request whose rules hold.
struct EraseRequest {
    event_type: Option<String>,
    condition: Option<JsonCondition>,
    first: String,
    end: String,
    dry_run: bool,
}

impl EraseFields<'_> {
    /// Checks the request. Events that are accepted after `now`, milliseconds since 1970, are not meant.
    ///
    /// # Errors
    /// Every broken rule.
    fn check(self, now: i64) -> Result<EraseRequest, Vec<Invalid>> {
        let mut errors = Vec::new();
        if self.r#type.is_none() && self.since.is_none() && self.until.is_none() && self.pointer.is_none() {
            let detail = "name the events to erase, with at least one of `type`, `since`, `until` and `pointer`";
            errors.push(Invalid::at("", detail));
        }
        let wrong_type = self.r#type.as_deref().map(event::check_type).and_then(Result::err);
        errors.extend(wrong_type.map(|detail| Invalid::at("/type", detail)));
        let mut instant =
            |pointer, text: Option<String>| time::instant(pointer, &text?).map_err(|error| errors.push(error)).ok();
        let (since, until) = (instant("/since", self.since), instant("/until", self.until));
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            errors.push(Invalid::at("/until", "must be later than `since`"));
        }
        let condition = match (&self.pointer, self.equals) {
            (None, None) => None,
            (Some(pointer), Some(equals)) => {
                JsonCondition::new(pointer, equals.get()).map_err(|error| errors.push(error)).ok()
            }
            (Some(_), None) => {
                errors.push(Invalid::at("/equals", "`pointer` needs the value that is there: null, too, is one"));
                None
            }
            (None, Some(_)) => {
                errors.push(Invalid::at("/pointer", "`equals` needs the place of the value"));
                None
            }
        };
        let dry_run = self.dry_run.unwrap_or_default();
        let after = self.cursor.filter(|text| !text.is_empty());
        if after.as_ref().is_some_and(|text| !dry_run || !text.starts_with("dlv_") || id::made_at(text).is_none()) {
            errors
                .push(Invalid::at("/cursor", "only with `\"dry_run\": true`: the `next_cursor` of the answer before"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let first = first_id(since.unwrap_or(0));
        let end = first_id(until.unwrap_or(i64::MAX).min(now.saturating_add(1)));
        let first = after.map_or(first.clone(), |after| after.max(first));
        Ok(EraseRequest { event_type: self.r#type, condition, first, end, dry_run })
    }
}

#[derive(Serialize)]
struct OrderedView {
    id: String,
}

#[derive(Serialize)]
struct CountedView {
    count: u64,
    examined: u64,
    /// The `cursor` with which the count goes on; null if these are all.
    next_cursor: Option<String>,
}

impl From<CountedEvents> for CountedView {
    fn from(counted: CountedEvents) -> Self {
        Self { count: counted.count, examined: counted.examined, next_cursor: counted.next }
    }
}

/// `POST /events/erase`: 202; the erasure goes on in the background. 200 if the events were only to be counted.
pub(in crate::api) async fn erase_many(
    State(api): State<Arc<ApiState>>,
    Authorized { company, credential, .. }: Authorized<EventsWrite>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let now = api.clock.now_ms();
    let requested = body::checked(&bytes, |fields: EraseFields| fields.check(now))?;
    let EraseRequest { event_type, condition, first, end, dry_run } = requested;
    let selection = ErasureSelection { company, event_type, condition, first, end };
    if dry_run {
        let counted: CountedView = api.store.count_erasable(selection).await?.into();
        return Ok(Json(counted).into_response());
    }
    let id = api.engine.ids.next("ers", now);
    let erasure = Erasure { id: id.clone(), selection, by: credential.name().to_owned(), now };
    api.engine.eraser.erase_many(erasure).await?;
    Ok((StatusCode::ACCEPTED, Json(OrderedView { id })).into_response())
}

#[derive(Serialize)]
pub(in crate::api) struct ErasureView {
    id: String,
    r#type: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// Without the value that was looked for, which may be what was to be erased.
    pointer: Option<String>,
    /// `running`, then `finished`.
    state: &'static str,
    examined: u64,
    erased: u64,
    created_at: String,
    finished_at: Option<String>,
}

impl From<ErasureRecord> for ErasureView {
    fn from(erasure: ErasureRecord) -> Self {
        Self {
            id: erasure.id,
            r#type: erasure.event_type,
            since: erasure.since.filter(|since| *since > 0).map(rfc3339),
            until: erasure.until.map(rfc3339),
            pointer: erasure.pointer,
            state: if erasure.finished_at.is_some() { "finished" } else { "running" },
            examined: erasure.examined,
            erased: erasure.erased,
            created_at: rfc3339(erasure.created_at),
            finished_at: erasure.finished_at.map(rfc3339),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ErasureListQuery {
    company: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl NamesCompany for ErasureListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /events/erasures`: newest first.
pub(in crate::api) async fn list_erasures(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<EventsRead, ErasureListQuery>,
) -> Result<Json<ListPage<ErasureView>>, Problem> {
    let limit = page_limit(query.limit.as_deref())?;
    let is_erasure = |text: &str| text.starts_with("ers_").then(|| text.to_owned());
    let after = cursor(query.cursor.as_deref(), is_erasure)?;
    let (found, more) = api.store.erasures(&company, limit, after.as_deref()).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(ListPage { data: found.into_iter().map(Into::into).collect(), next_cursor }))
}
