//! One transform of an event that is given with the call. Nothing is sent or stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{active, compiled, version_named};
use crate::api::auth::Caller;
use crate::api::body::{self, Parameters, Params, SMALL};
use crate::api::problem::{Kind, Problem};
use crate::api::webhooks::header_error;
use crate::api::{Api, App, CompanyOnly};
use crate::domain::credential::{Access, Area};
use crate::domain::event::{self, Event};
use crate::domain::plugin::{Call, Digest, Failure, Outcome, Sent, owner, told};
use crate::domain::{Invalid, time};

/// The id of an event that is given without one.
const EXAMPLE: &str = "evt_example";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    event: Given,
    config: Option<Box<RawValue>>,
    digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    r#type: String,
    data: Box<RawValue>,
    id: Option<String>,
    occurred_at: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
pub(in crate::api) struct DryRunView {
    digest: String,
    outcome: &'static str,
    reason: Option<String>,
    content_type: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    logs: Value,
    logs_dropped: u64,
    duration_us: u64,
    fuel: Option<u64>,
    memory_bytes: u64,
}

/// `POST /plugins/{name}/dry-run`.
pub(in crate::api) async fn dry_run(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(name): Parameters<String>,
    request: Request<Body>,
) -> Result<Json<DryRunView>, Problem> {
    let company = caller.company(Area::Plugins, Access::Read, query.company.as_deref())?;
    let bytes = body::of(request, api.max_event_bytes.saturating_add(SMALL)).await?;
    let ask: Ask = body::json(&bytes)?;
    let event = Arc::new(check(&api, ask.event, company.clone())?);
    let digest = match &ask.digest {
        Some(digest) => version_named(&api, &company, &name, digest).await?.digest,
        None => active(&api, &company, &name).await?,
    };
    let plugin = compiled(&api, &company, &name, &digest).await?;
    let config: Arc<str> = ask.config.map_or_else(|| "null".into(), |raw| raw.get().into());
    let checked = api.sandbox.check_config(&plugin, config.clone()).await;
    let (call, fuel) = match &checked.result {
        Ok(()) => {
            let version = (owner(&company, &name), name.as_str(), &digest);
            let call = api.engine.transformer.call(&plugin, event.clone(), config.clone()).await;
            // A call that met its deadline has done as much as this machine let it.
            let whole = call.duration < api.plugin_deadline;
            let fuel = if whole { fuel(&api, version, event.clone(), config).await } else { None };
            (call, fuel)
        }
        Err(failure) => {
            let refused = Failure::Refused(format!("the config is refused: {failure}"));
            (checked.ended(Err(refused)), None)
        }
    };
    Ok(Json(view(&digest, &event, &call, fuel)))
}

/// The rules for events that are published, but that the host's own types are as good as any here.
fn check(api: &Api, given: Given, company: String) -> Result<Event, Problem> {
    let size = given.data.get().len();
    if size > api.max_event_bytes {
        let detail = format!("the event's data is over {} bytes", api.max_event_bytes);
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let headers: Vec<_> = given.headers.unwrap_or_default().into_iter().collect();
    let instant = given.occurred_at.as_deref().map(time::parse_rfc3339);
    let bad_time = || Invalid::at("/occurred_at", time::HOW_WRITTEN);
    let errors = [
        event::check_type(&given.r#type).map_err(|detail| Invalid::at("/type", detail)).err(),
        given.id.as_deref().and_then(|id| event::check_id(id).err()),
        (instant == Some(None)).then(bad_time),
        header_error(&headers, &api.challenge_header),
    ];
    let errors: Vec<_> = errors.into_iter().flatten().map(|error| error.below("/event")).collect();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    Ok(Event {
        id: given.id.unwrap_or_else(|| EXAMPLE.into()),
        event_type: given.r#type,
        company,
        occurred_at: instant.flatten().unwrap_or_else(|| api.clock.now_ms()),
        headers,
        data: Bytes::from(String::from(Box::<str>::from(given.data))),
    })
}

fn view(digest: &Digest, event: &Event, call: &Call<Outcome>, fuel: Option<u64>) -> DryRunView {
    let (outcome, reason) = told(&call.result);
    let sent = call.result.as_ref().ok().and_then(|outcome| Sent::of(outcome, event, &[]));
    let (content_type, headers, body) = match sent {
        Some(Sent { content_type, headers, body }) => {
            (Some(content_type), headers.into_iter().collect(), Some(body.to_owned()))
        }
        None => (None, BTreeMap::new(), None),
    };
    DryRunView {
        digest: digest.to_string(),
        outcome,
        reason,
        content_type,
        headers,
        body,
        logs: call.logs.shown(),
        logs_dropped: call.logs.dropped,
        duration_us: call.duration_us(),
        fuel,
        memory_bytes: call.memory_bytes,
    }
}

/// What the call costs on any machine. `None` where it is more than the deadline lets it burn, or cannot be counted now:
/// the rest of the answer is worth having without it.
async fn fuel(api: &Api, version: (&str, &str, &Digest), event: Arc<Event>, config: Arc<str>) -> Option<u64> {
    let counted = api.engine.plugins.fuel(version, event, config).await;
    counted.unwrap_or_else(|error| {
        tracing::warn!(error, plugin = version.1, "the fuel of a dry-run could not be counted");
        None
    })
}
