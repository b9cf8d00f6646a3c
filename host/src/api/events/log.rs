//! Looks events up, also those for whose type nobody subscribed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::ApiState;
use crate::api::auth::{Authorized, EventsRead};
use crate::api::author_field::AuthorView;
use crate::api::deliveries::DeliveryView;
use crate::api::pagination::{ListPage, delivery_page};
use crate::api::params::{NamesCompany, PathParams, instant, range};
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::author::Author;
use crate::domain::time::rfc3339;
use crate::store::{EventDetail, EventFilter, EventRecord, LogPage};

#[derive(Serialize)]
pub(in crate::api) struct EventView {
    id: String,
    company: String,
    r#type: String,
    occurred_at: String,
    created_at: String,
    /// When its data was erased; null if it was not.
    erased_at: Option<String>,
    /// The first of its deliveries; null if nobody subscribed to the event's type.
    delivery_id: Option<String>,
}

impl From<EventRecord> for EventView {
    fn from(event: EventRecord) -> Self {
        Self {
            id: event.id,
            company: event.company,
            r#type: event.event_type,
            occurred_at: rfc3339(event.occurred_at),
            created_at: rfc3339(event.created_at),
            erased_at: event.erased_at.map(rfc3339),
            delivery_id: event.delivery_id,
        }
    }
}

/// An event with its data and its deliveries.
#[derive(Serialize)]
pub(in crate::api) struct EventDetailView {
    #[serde(flatten)]
    event: EventView,
    /// Null if the producer named none.
    author: Option<AuthorView>,
    /// Null if it was erased.
    payload: Option<Box<RawValue>>,
    deliveries: Vec<DeliveryView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct EventListQuery {
    company: Option<String>,
    r#type: Option<String>,
    since: Option<String>,
    until: Option<String>,
    unmatched: Option<bool>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl NamesCompany for EventListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /events`: newest first.
pub(in crate::api) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<EventsRead, EventListQuery>,
) -> Result<Json<ListPage<EventView>>, Problem> {
    let since = query.since.as_deref().map(|text| instant("since", text)).transpose()?;
    let until = query.until.as_deref().map(|text| instant("until", text)).transpose()?;
    range(since, until)?;
    let filter = EventFilter { event_type: query.r#type, since, until, unmatched: query.unmatched.unwrap_or_default() };
    let page = delivery_page(query.limit.as_deref(), query.cursor.as_deref())?;
    let LogPage { entries, next: next_cursor } = api.store.events(&company, &filter, &page).await?;
    Ok(Json(ListPage { data: entries.into_iter().map(Into::into).collect(), next_cursor }))
}

/// `GET /events/{id}`: the event's own id.
pub(in crate::api) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<EventsRead>,
    PathParams(id): PathParams<String>,
) -> Result<Json<EventDetailView>, Problem> {
    let found = api.store.event(&company, &id).await?;
    let not_found = || Problem::new(ProblemKind::NotFound, "this company has no event with that id");
    let EventDetail { event, created_at, erased_at, deliveries } = found.ok_or_else(not_found)?;
    let payload = RawValue::from_string(event.data_text().to_owned()).ok();
    let author = Author::of(&event.headers).map(Into::into);
    let view = EventView {
        id: event.id,
        company: event.company,
        r#type: event.event_type,
        occurred_at: rfc3339(event.occurred_at),
        created_at: rfc3339(created_at),
        erased_at: erased_at.map(rfc3339),
        delivery_id: deliveries.first().map(|delivery| delivery.id.clone()),
    };
    let deliveries = deliveries.into_iter().map(|delivery| DeliveryView::new(&api, delivery)).collect();
    Ok(Json(EventDetailView { event: view, author, payload, deliveries }))
}
