//! Transforms one sample event that comes with the request. Nothing is sent or stored.

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

use super::{active_version, check_digest, find_version, load_version};
use crate::api::ApiState;
use crate::api::auth::{Authorized, PluginsRead};
use crate::api::author_field;
use crate::api::body::{self, BodyLimit};
use crate::api::header_fields::HeaderFields;
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::api::turns::heavy_call;
use crate::domain::author::Author;
use crate::domain::event::{self, Event};
use crate::domain::plugin::{
    Digest, Failure, Outcome, PluginCall, PluginVersion, RenderedMessage, outcome_name_and_reason, owner,
};
use crate::domain::{Invalid, time};

/// The id of a sample event that has none of its own.
const DEFAULT_EVENT_ID: &str = "evt_example";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DryRunRequest<'b> {
    #[serde(borrow)]
    event: &'b RawValue,
    #[serde(borrow)]
    config: Option<&'b RawValue>,
    digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an event")]
struct SampleEvent<'b> {
    r#type: String,
    #[serde(borrow)]
    data: &'b RawValue,
    id: Option<String>,
    occurred_at: Option<String>,
    headers: Option<HeaderFields>,
    #[serde(borrow)]
    author: Option<&'b RawValue>,
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

/// `POST /plugins/{name}/dry-run`: 200 with the outcome, also if it is an error.
pub(in crate::api) async fn dry_run(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PluginsRead>,
    PathParams(name): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<DryRunView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::DryRun(api.max_event_bytes)).await?;
    let (event, config, digest) = body::checked(&bytes, |requested: DryRunRequest| {
        let event = body::nested(requested.event, "/event", |sample| check_event(&api, sample, company.clone()));
        let digest = requested.digest.as_deref().map_or(Ok(()), check_digest);
        let config: Arc<str> = requested.config.map_or("null", RawValue::get).into();
        match (event, digest) {
            (Ok(event), Ok(())) => Ok((Arc::new(event), config, requested.digest)),
            (event, digest) => Err(event.err().into_iter().flatten().chain(digest.err()).collect()),
        }
    })?;
    if event.data.len() > api.max_event_bytes {
        return Err(Problem::new(ProblemKind::TooLarge, body::data_exceeded(api.max_event_bytes)));
    }
    let digest = match digest {
        Some(digest) => digest,
        None => active_version(&api, &company, &name).await?.to_string(),
    };
    let version = find_version(&api, &company, &name, &digest).await?;
    let _turn = heavy_call(&api, &company, Some(&version)).await?;
    let digest = version.digest;
    let plugin = load_version(&api, &company, &name, &digest).await?;
    let checked = api.sandbox.check_config(&plugin, config.clone()).await;
    let (call, fuel) = match &checked.result {
        Ok(()) => {
            let owner = owner(&company, &name).to_owned();
            let version = PluginVersion { owner, name, digest: digest.clone() };
            let call = api.engine.transformer.call(&plugin, event.clone(), config.clone()).await;
            // A call that reached its deadline did as much as this machine allowed, which is no measure of its cost.
            let is_whole = call.duration < api.plugin_deadline;
            let fuel = if is_whole { count_fuel(&api, &version, event.clone(), config).await } else { None };
            (call, fuel)
        }
        Err(failure) => {
            let refused = Failure::Refused(format!("the config is refused: {failure}"));
            (checked.ended(Err(refused)), None)
        }
    };
    Ok(Json(view(&digest, &event, &call, fuel)))
}

/// Checks the rules for published events, except that the service's own types are allowed.
fn check_event(api: &ApiState, sample: SampleEvent, company: String) -> Result<Event, Vec<Invalid>> {
    let headers = sample.headers.unwrap_or_default();
    let instant = sample.occurred_at.as_deref().map(|text| time::instant("/occurred_at", text)).transpose();
    let errors = [
        event::check_type(&sample.r#type).map_err(|detail| Invalid::at("/type", detail)).err(),
        sample.id.as_deref().and_then(|id| event::check_id(id).err()),
        instant.as_ref().err().cloned(),
    ];
    let (author, broken_author) = author_field::read(sample.author);
    let errors = errors.into_iter().flatten().chain(headers.errors(&api.challenge_header)).chain(broken_author);
    let errors: Vec<_> = errors.collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Event {
        id: sample.id.unwrap_or_else(|| DEFAULT_EVENT_ID.into()),
        event_type: sample.r#type,
        company,
        occurred_at: instant.ok().flatten().unwrap_or_else(|| api.clock.now_ms()),
        headers: headers.pairs().into_iter().chain(author.into_iter().flat_map(Author::into_headers)).collect(),
        data: Bytes::copy_from_slice(sample.data.get().as_bytes()),
    })
}

fn view(digest: &Digest, event: &Event, call: &PluginCall<Outcome>, fuel: Option<u64>) -> DryRunView {
    let (outcome, reason) = outcome_name_and_reason(&call.result);
    let sent = call.result.as_ref().ok().and_then(|outcome| RenderedMessage::of(outcome, event, &[]));
    let (content_type, headers, body) = match sent {
        Some(RenderedMessage { content_type, headers, body }) => {
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

/// Counts the fuel of the call, which is the same on every machine. `None` if the call needs more than the deadline
/// allows, or if it cannot be counted now: the rest of the answer is useful without it.
async fn count_fuel(api: &ApiState, version: &PluginVersion, event: Arc<Event>, config: Arc<str>) -> Option<u64> {
    let counted = api.engine.plugins.fuel(version, event, config).await;
    counted.unwrap_or_else(|error| {
        tracing::warn!(error, plugin = version.name, "the fuel of a dry-run could not be counted");
        None
    })
}
