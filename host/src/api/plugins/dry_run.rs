//! Transforms one sample event that comes with the request. Nothing is sent or stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
use crate::api::webhooks::{TransformFields, broken_transforms, resolve_transforms, transforms};
use crate::delivery::{ChainCall, ChainStep};
use crate::domain::author::Author;
use crate::domain::event::{self, Event};
use crate::domain::plugin::{
    Digest, Failure, Logs, Outcome, PluginCall, PluginVersion, RenderedMessage, outcome_name_and_reason, owner,
};
use crate::domain::transform::Transform;
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
    /// Instead of `config` and `digest`.
    #[serde(default)]
    transforms: Option<Vec<TransformFields>>,
}

/// The transforms to run on the event.
enum Ran {
    /// The plugin of the path, with this config and maybe this version.
    Plugin { config: Arc<str>, digest: Option<String> },
    /// Several, the plugin of the path among them.
    Transforms(Vec<Transform>),
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
    /// One for each that ran, if the request lists transforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugins: Option<Vec<StepView>>,
}

/// One transform of several.
#[derive(Serialize)]
struct StepView {
    name: String,
    digest: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
    logs: Value,
    logs_dropped: u64,
    duration_us: u64,
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
    let (event, ran) = body::checked(&bytes, |requested: DryRunRequest| {
        let event = body::nested(requested.event, "/event", |sample| check_event(&api, sample, company.clone()));
        match (event, check_ran(&name, requested)) {
            (Ok(event), Ok(ran)) => Ok((Arc::new(event), ran)),
            (event, ran) => Err(event.err().into_iter().flatten().chain(ran.err().into_iter().flatten()).collect()),
        }
    })?;
    if event.data.len() > api.max_event_bytes {
        return Err(Problem::new(ProblemKind::TooLarge, body::data_exceeded(api.max_event_bytes)));
    }
    Ok(Json(match ran {
        Ran::Plugin { config, digest } => run_plugin(&api, (company, name), event, config, digest).await?,
        Ran::Transforms(transforms) => run_transforms(&api, event, transforms).await?,
    }))
}

/// Checks what is to be run, of which the plugin `name` must be one.
fn check_ran(name: &str, requested: DryRunRequest) -> Result<Ran, Vec<Invalid>> {
    let DryRunRequest { config, digest, transforms: listed, .. } = requested;
    let Some(list) = listed else {
        digest.as_deref().map_or(Ok(()), check_digest).map_err(|error| vec![error])?;
        return Ok(Ran::Plugin { config: config.map_or("null", RawValue::get).into(), digest });
    };
    let mut errors = broken_transforms(&list);
    let both = "`transforms` has this for each of them: send only one of the two";
    let sent = [("/config", config.is_some()), ("/digest", digest.is_some())];
    errors.extend(sent.into_iter().filter(|(_, is_sent)| *is_sent).map(|(pointer, _)| Invalid::at(pointer, both)));
    let list = transforms(&list);
    if errors.is_empty() && list.iter().all(|transform| transform.plugin.name != name) {
        errors.push(Invalid::at("/transforms", format!("plugin `{name}` of the path must be among them")));
    }
    if errors.is_empty() { Ok(Ran::Transforms(list)) } else { Err(errors) }
}

async fn run_plugin(
    api: &ApiState,
    (company, name): (String, String),
    event: Arc<Event>,
    config: Arc<str>,
    digest: Option<String>,
) -> Result<DryRunView, Problem> {
    let digest = match digest {
        Some(digest) => digest,
        None => active_version(api, &company, &name).await?.to_string(),
    };
    let version = find_version(api, &company, &name, &digest).await?;
    let _turn = heavy_call(api, &company, Some(&version)).await?;
    let digest = version.digest;
    let plugin = load_version(api, &company, &name, &digest).await?;
    let checked = api.sandbox.check_config(&plugin, config.clone()).await;
    let (call, fuel) = match &checked.result {
        Ok(()) => {
            let owner = owner(&company, &name).to_owned();
            let version = PluginVersion { owner, name, digest: digest.clone() };
            let call = api.engine.transformer.call(&plugin, event.clone(), config.clone()).await;
            // A call that reached its deadline did as much as this machine allowed, which is no measure of its cost.
            let is_whole = call.duration < api.plugin_deadline;
            let fuel = if is_whole { count_fuel(api, &version, event.clone(), config).await } else { None };
            (call, fuel)
        }
        Err(failure) => {
            let refused = Failure::Refused(format!("the config is refused: {failure}"));
            (checked.ended(Err(refused)), None)
        }
    };
    Ok(view(&digest, &event, &call, fuel))
}

/// Runs transforms one after the other. Their configs must be accepted, as for a webhook.
async fn run_transforms(
    api: &ApiState,
    event: Arc<Event>,
    mut transforms: Vec<Transform>,
) -> Result<DryRunView, Problem> {
    let company = &event.company;
    let _turn = heavy_call(api, company, None).await?;
    resolve_transforms(api, company, &mut transforms).await?;
    let mut steps = Vec::with_capacity(transforms.len());
    for Transform { plugin, digest, config, on_error, .. } in &transforms {
        let (Some(digest), Some(config)) = (digest, config.text()) else { continue };
        let (name, config, on_error) = (plugin.name.clone(), config.clone(), *on_error);
        steps.push(ChainStep { plugin: load_version(api, company, &name, digest).await?, name, config, on_error });
    }
    let mut run = api.engine.transformer.chain(event.clone(), steps).await;
    let calls = std::mem::take(&mut run.calls);
    let result = run.outcome();
    let plugins: Vec<_> = transforms.iter().zip(calls).map(|(transform, call)| step_view(transform, call)).collect();
    let last = plugins.last();
    let call = PluginCall {
        result,
        logs: Logs::default(),
        duration: Duration::from_micros(plugins.iter().map(|step| step.duration_us).sum()),
        memory_bytes: plugins.iter().map(|step| step.memory_bytes).max().unwrap_or_default(),
    };
    let digest = last.and_then(|step| step.digest.clone()).unwrap_or_default();
    let (logs, logs_dropped) =
        last.map_or((Value::Array(Vec::new()), 0), |step| (step.logs.clone(), step.logs_dropped));
    let view = view(&Digest::stored(&digest), &event, &call, None);
    Ok(DryRunView { logs, logs_dropped, plugins: Some(plugins), ..view })
}

fn step_view(transform: &Transform, ChainCall { outcome, reason, call }: ChainCall) -> StepView {
    StepView {
        name: transform.plugin.name.clone(),
        digest: transform.digest.as_ref().map(ToString::to_string),
        outcome,
        reason,
        logs: call.logs.shown(),
        logs_dropped: call.logs.dropped,
        duration_us: call.duration_us(),
        memory_bytes: call.memory_bytes,
    }
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
        plugins: None,
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
