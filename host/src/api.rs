//! The REST API: HTTP in, domain out. Every route stands in [`router`].

mod auth;
mod body;
mod deliveries;
mod events;
mod failures;
mod health;
mod measure;
mod plugins;
mod problem;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::delivery::Engine;
use crate::metrics::Metrics;
use crate::oauth::Tokens;
use crate::outbound::Outbound;
use crate::sandbox::Sandbox;
use crate::store::Store;
pub(crate) use failures::{Failures, Peer};
use problem::{Kind, Problem};

/// What the handlers work with.
pub(crate) struct Api {
    /// The database.
    pub(crate) store: Arc<Store>,
    /// The delivery engine.
    pub(crate) engine: Arc<Engine>,
    /// For asking plugins about configs.
    pub(crate) sandbox: Sandbox,
    /// For judging targets.
    pub(crate) outbound: Arc<Outbound>,
    /// Tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Judges access tokens, where they are accepted.
    pub(crate) tokens: Option<Tokens>,
    /// Slows down who tries credentials.
    pub(crate) failures: Failures,
    /// Counts what happens.
    pub(crate) metrics: Arc<Metrics>,
    /// The challenge header's name, lower-case.
    pub(crate) challenge_header: String,
    /// Largest `data` of an event, in bytes.
    pub(crate) max_event_bytes: usize,
    /// Time for one plugin call.
    pub(crate) plugin_deadline: Duration,
    /// Largest plugin, in bytes.
    pub(crate) max_plugin_bytes: usize,
}

type App = axum::extract::State<Arc<Api>>;

/// Every route.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let v1 = Router::new()
        .route("/webhooks", get(webhooks::list).post(webhooks::create).delete(webhooks::delete_by_type))
        .route("/webhooks/{id}", get(webhooks::one).patch(webhooks::patch).delete(webhooks::delete_by_id))
        .route("/webhooks/{id}/secret/rotate", post(webhooks::rotate))
        .route("/webhooks/{id}/test", post(webhooks::ping))
        .route("/events", post(events::publish))
        .route("/events/batch", post(events::batch))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/replay", post(deliveries::replay))
        .route("/deliveries/{id}", get(deliveries::one))
        .route("/deliveries/{id}/retry", post(deliveries::retry))
        .route("/deliveries/{id}/transformed", get(deliveries::transformed))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{name}", put(plugins::upload).get(plugins::one).delete(plugins::remove))
        .route("/plugins/{name}/versions/{digest}", get(plugins::version).delete(plugins::remove_version))
        .route("/plugins/{name}/activate", post(plugins::activate))
        .route("/plugins/{name}/dry-run", post(plugins::dry_run))
        .route("/plugins/{name}/compare", post(plugins::compare));
    Router::new()
        .nest("/api/v1", v1)
        .route("/healthz", get(health::process))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(measure::scrape))
        .fallback(|| async { Problem::new(Kind::NotFound, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async { Problem::new(Kind::Method, "this path does not take this method") })
        .layer(from_fn_with_state(api.clone(), measure::count))
        .with_state(api)
}

/// A part of a list, as every list but `GET /webhooks` answers.
#[derive(Serialize)]
struct List<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

/// How often a change is tried again whose ground has shifted meanwhile ([`crate::store::StoreError::Changed`]).
const RETRIES: u32 = 4;

/// Most rows of one list.
const MAX_LIMIT: u32 = 100;

/// Checks `?limit=`: 1 to 100, 100 where it is not given.
fn limit(given: Option<u32>) -> Result<u32, Problem> {
    match given {
        None => Ok(MAX_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::new(Kind::Rule, format!("limit: from 1 to {MAX_LIMIT}"))),
    }
}

/// The query of calls that only name the company.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct CompanyOnly {
    company: Option<String>,
}
