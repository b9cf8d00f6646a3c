//! Sending again, and what was sent.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::super::auth::Caller;
use super::super::body::{self, Parameters, Params, SMALL};
use super::super::problem::{Kind, Problem};
use super::super::{App, CompanyOnly};
use super::{DeliveryView, missing, shown, status};
use crate::delivery::Preview;
use crate::domain::credential::{Access, Area};
use crate::domain::time::{HOW_WRITTEN, parse_rfc3339};
use crate::domain::{Invalid, event};
use crate::store::{Replay, Urged};

/// `POST /deliveries/{id}/retry`: 202.
pub(in crate::api) async fn retry(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let company = caller.company(Area::Deliveries, Access::Write, query.company.as_deref())?;
    let (delivery, ..) = api.store.delivery(&company, &id).await?.ok_or_else(missing)?;
    let Some(webhook) = api.store.webhook_for(&company, &delivery.event_type).await? else {
        let detail = format!("nobody subscribes to `{}` any more; subscribe first", delivery.event_type);
        return Err(Problem::new(Kind::Conflict, detail));
    };
    if matches!(api.engine.retrier.retry(&company, &id, &webhook).await?, Urged::Missing) {
        return Err(missing());
    }
    let (delivery, ..) = api.store.delivery(&company, &id).await?.ok_or_else(missing)?;
    Ok((StatusCode::ACCEPTED, Json(shown(&api, delivery))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    r#type: Option<String>,
    status: Option<String>,
    since: String,
    until: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api) struct Count {
    count: u64,
}

/// `POST /deliveries/replay`: 202, and it goes on in the background.
pub(in crate::api) async fn replay(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<Count>), Problem> {
    let company = caller.company(Area::Deliveries, Access::Write, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let ask: Ask = body::json(&bytes)?;
    let now = api.clock.now_ms();
    let instant = |pointer: &str, text: &str| parse_rfc3339(text).ok_or_else(|| Invalid::at(pointer, HOW_WRITTEN));
    if let Some(name) = &ask.r#type {
        event::check_type(name).map_err(|detail| Invalid::at("/type", detail))?;
    }
    let since = instant("/since", &ask.since)?;
    // What is accepted from now on is on its way as it is.
    let until = ask.until.as_deref().map_or(Ok(now), |text| instant("/until", text))?.min(now);
    if until < since && ask.until.is_some() {
        return Err(Invalid::at("/until", "`until` is before `since`").into());
    }
    let replay = Replay {
        id: api.engine.ids.next("rpl", now),
        company,
        event_type: ask.r#type,
        status: ask.status.as_deref().map(status).transpose().map_err(|detail| Invalid::at("/status", detail))?,
        since,
        until,
        now,
    };
    Ok((StatusCode::ACCEPTED, Json(Count { count: api.engine.replayer.replay(replay).await? })))
}

/// `GET /deliveries/{id}/transformed`: the bytes themselves; 204 where nothing is sent.
pub(in crate::api) async fn transformed(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<Response, Problem> {
    let company = caller.company(Area::Deliveries, Access::Read, query.company.as_deref())?;
    let (delivery, event, attempts) = api.store.delivery(&company, &id).await?.ok_or_else(missing)?;
    let webhook = api.store.webhook_for(&company, &delivery.event_type).await?;
    match api.engine.previewer.preview(Arc::new(event), &attempts, webhook.as_deref()).await {
        Preview::Body(body, kind) => Ok(([(header::CONTENT_TYPE, kind)], body).into_response()),
        Preview::Dropped => Ok(StatusCode::NO_CONTENT.into_response()),
        Preview::PluginFails(why) => Err(Problem::new(Kind::Conflict, format!("nothing can be sent: {why}"))),
        Preview::NoWebhook => Err(Problem::new(Kind::Conflict, "it was never sent, and nobody subscribes to it now")),
    }
}
