//! Event types: what a company says about the events that it publishes.

mod fields;
mod view;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::ApiState;
use super::answers::HeldAnswer;
use super::auth::{Authorized, EventsRead, EventsWrite};
use super::body::{self, BodyLimit};
use super::pagination::{ListPage, cursor, page_limit};
use super::params::{NamesCompany, PathParams, in_query};
use super::problem::{Problem, ProblemKind};
use super::turns::heavy_call;
use crate::domain::event_type::{EventType, check_group};
use crate::domain::json_schema::{Schema, Steps};
use crate::domain::{Invalid, event};
use crate::store::{EventTypePage, EventTypeSelection, StoredEventType};
use fields::EventTypeFields;
use view::EventTypeView;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventTypeListQuery {
    company: Option<String>,
    group: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl NamesCompany for EventTypeListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /event-types`: by their names, byte by byte. A page ends early at 4 MiB.
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<EventsRead, EventTypeListQuery>,
) -> Result<(Option<Extension<HeldAnswer>>, Json<ListPage<EventTypeView>>), Problem> {
    let limit = page_limit(query.limit.as_deref())?;
    let after = cursor(query.cursor.as_deref(), parse_cursor)?;
    let group = query.group.as_deref();
    group.map_or(Ok(()), check_group).map_err(in_query("group"))?;
    let selection = EventTypeSelection { group, after: after.as_deref(), limit };
    let EventTypePage { types, bytes, more } = api.store.event_types(&company, selection).await?;
    let held = HeldAnswer::take(&api, &company, bytes)?.map(Extension);
    let next_cursor = types.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(&last.name));
    Ok((held, Json(ListPage { data: types.into_iter().map(Into::into).collect(), next_cursor })))
}

/// Reads a cursor: the name of the last type of the page before.
fn parse_cursor(text: &str) -> Option<String> {
    let name = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    event::check_type(&name).is_ok().then_some(name)
}

/// `GET /event-types/{type}`.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<EventsRead>,
    PathParams(name): PathParams<String>,
) -> Result<Json<EventTypeView>, Problem> {
    Ok(Json(api.store.event_type(&company, &name).await?.ok_or_else(not_found)?.into()))
}

/// `PUT /event-types/{type}`: 201, or 200 if the company had described it before. Every field is replaced.
pub(super) async fn put(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<EventsWrite>,
    PathParams(name): PathParams<String>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<EventTypeView>), Problem> {
    check_name(&name)?;
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let fields = body::checked(&bytes, EventTypeFields::checked)?;
    let new = fields.event_type(company, name, api.clock.now_ms());
    check_schema(&api, &new).await?;
    let StoredEventType { event_type, is_new } = api.store.put_event_type(new).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(event_type.into())))
}

/// `DELETE /event-types/{type}`: 200 with the removed type.
pub(super) async fn delete(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<EventsWrite>,
    PathParams(name): PathParams<String>,
) -> Result<Json<EventTypeView>, Problem> {
    Ok(Json(api.store.delete_event_type(&company, &name).await?.ok_or_else(not_found)?.into()))
}

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "this company has not described this event type")
}

/// Checks the name of a type that a producer may publish.
fn check_name(name: &str) -> Result<(), Problem> {
    let rule = |detail: String| Problem::new(ProblemKind::Rule, format!("the event type in the path: {detail}"));
    event::check_published_type(name).map_err(|invalid| rule(invalid.detail))?;
    if name.contains('*') {
        return Err(rule("`*` stands for several types: describe each of them".into()));
    }
    Ok(())
}

/// Checks the schema of a type, and its example against it.
async fn check_schema(api: &ApiState, new: &EventType) -> Result<(), Problem> {
    let Some(schema) = new.schema.clone() else { return Ok(()) };
    let example = new.example.clone();
    let turn = heavy_call(api, &new.company, None).await?;
    let check = move || -> Result<(), Vec<Invalid>> {
        // It keeps its turn until it ends, also if the client has gone.
        let _turn = turn;
        let below =
            |faults: Vec<Invalid>, pointer| faults.into_iter().map(|fault: Invalid| fault.below(pointer)).collect();
        let schema = Schema::compile(&schema.text).map_err(|faults| below(faults, "/schema"))?;
        let faults = example.map(|example| schema.check(&example, Steps::MOST)).transpose();
        match faults.map(Option::unwrap_or_default) {
            Ok(faults) if faults.is_empty() => Ok(()),
            Ok(faults) => Err(below(faults, "/example")),
            Err(unfinished) => Err(vec![Invalid::at("/example", unfinished.to_string())]),
        }
    };
    let checked = spawn_blocking(check).await;
    let checked = checked.map_err(|_| Problem::new(ProblemKind::Internal, "the schema could not be checked"))?;
    checked.map_err(Problem::invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_the_name_of_a_type() {
        assert_eq!(parse_cursor(&URL_SAFE_NO_PAD.encode("a/b::c")).as_deref(), Some("a/b::c"));
        for bad in ["", "a/b", "!", &URL_SAFE_NO_PAD.encode("a b"), &URL_SAFE_NO_PAD.encode([0xff])] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn types_that_cannot_be_published_are_not_described() {
        assert!(check_name("employees/employee/update").is_ok());
        for bad in ["ping", "posthaste.webhook.disabled", "a*", "a b", ""] {
            assert_eq!(check_name(bad).unwrap_err().kind(), ProblemKind::Rule, "{bad}");
        }
    }
}
