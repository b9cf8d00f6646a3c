//! The REST API: HTTP in, domain out. [`router`] lists every route.

mod answers;
mod auth;
mod author_field;
mod body;
mod companies;
mod concerned_company;
mod deliveries;
mod event_types;
mod events;
mod factorial;
mod header_fields;
mod health;
mod limits;
mod pagination;
mod params;
mod plain_errors;
mod plugins;
mod policies;
mod problem;
mod request_metrics;
mod spans;
mod turns;
mod webhooks;
mod whole_number;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};

use crate::clock::Clock;
use crate::delivery::Engine;
use crate::metrics::Metrics;
use crate::oauth::Tokens;
use crate::outbound::Outbound;
use crate::sandbox::Sandbox;
use crate::shares::Shares;
use crate::store::Store;
pub(crate) use auth::{AuthFailureLimiter, PeerAddress};
use problem::{Problem, ProblemKind};

/// The state that the handlers share.
pub(crate) struct ApiState {
    /// The database.
    pub(crate) store: Arc<Store>,
    /// The delivery engine.
    pub(crate) engine: Arc<Engine>,
    /// Runs plugins for config checks and dry-runs.
    pub(crate) sandbox: Sandbox,
    /// Checks the addresses of targets.
    pub(crate) outbound: Arc<Outbound>,
    /// Tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Verifies access tokens; `None` if the service does not accept them.
    pub(crate) tokens: Option<Tokens>,
    /// Rate-limits failed authentication per client address.
    pub(crate) auth_failures: AuthFailureLimiter,
    /// What all companies share.
    pub(crate) shares: Arc<Shares>,
    /// Counts requests and refused events.
    pub(crate) metrics: Arc<Metrics>,
    /// The challenge header's name, lower-case.
    pub(crate) challenge_header: String,
    /// Largest `data` of an event, in bytes.
    pub(crate) max_event_bytes: usize,
    /// The deadline of one plugin call.
    pub(crate) plugin_deadline: Duration,
    /// Largest plugin, in bytes.
    pub(crate) max_plugin_bytes: usize,
}

/// Makes the router of every route.
pub(crate) fn router(api: Arc<ApiState>) -> Router {
    let v1 = Router::new()
        .route("/webhooks", get(webhooks::list).post(webhooks::create).delete(webhooks::delete_by_type))
        .route("/webhooks/{id}", get(webhooks::show).patch(webhooks::patch).delete(webhooks::delete_by_id))
        .route("/webhooks/{id}/config", get(webhooks::config))
        .route("/webhooks/{id}/secret", get(webhooks::secret))
        .route("/webhooks/{id}/secret/rotate", post(webhooks::rotate))
        .route("/webhooks/{id}/test", post(webhooks::ping))
        .route("/webhooks/{id}/events", get(webhooks::pull))
        .route("/webhooks/{id}/events/ack", post(webhooks::acknowledge))
        .route("/events", get(events::list).post(events::publish))
        .route("/events/batch", post(events::batch))
        .route("/events/erase", post(events::erase_many))
        .route("/events/erasures", get(events::list_erasures))
        .route("/events/{id}", get(events::show).delete(events::erase))
        .route("/event-types", get(event_types::list))
        .route("/event-types/{*type}", get(event_types::show).put(event_types::put).delete(event_types::delete))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/cancel", post(deliveries::cancel_many))
        .route("/deliveries/replay", post(deliveries::replay))
        .route("/deliveries/replays", get(deliveries::list_replays))
        .route("/deliveries/replays/{id}", delete(deliveries::stop_replay))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/deliveries/{id}/cancel", post(deliveries::cancel))
        .route("/deliveries/{id}/retry", post(deliveries::retry))
        .route("/deliveries/{id}/transformed", get(deliveries::transformed))
        .route("/companies", get(companies::list))
        .route("/companies/{company}", delete(companies::remove))
        .route("/limits", get(limits::show).put(limits::change))
        .route("/policies", get(policies::list))
        .route("/policies/{name}", get(policies::show).put(policies::put).delete(policies::delete))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{name}", put(plugins::upload).get(plugins::show).delete(plugins::remove))
        .route("/plugins/{name}/versions/{digest}", get(plugins::show_version).delete(plugins::remove_version))
        .route("/plugins/{name}/activate", post(plugins::activate))
        .route("/plugins/{name}/dry-run", post(plugins::dry_run))
        .route("/plugins/{name}/compare", post(plugins::compare));
    Router::new()
        .nest("/api/v1", v1)
        .route(factorial::LIST, get(factorial::list).post(factorial::create))
        .route(factorial::ONE, get(factorial::show).put(factorial::update).delete(factorial::remove))
        .route("/healthz", get(health::process))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(request_metrics::scrape))
        .fallback(|uri: Uri| async move { Problem::new(ProblemKind::NotFound, nothing_at(uri.path())) })
        .method_not_allowed_fallback(|| async {
            Problem::new(ProblemKind::Method, "this path does not support this method")
        })
        .layer(from_fn_with_state(api.clone(), answers::send))
        .layer(from_fn_with_state(api.clone(), request_metrics::count_request))
        .layer(from_fn_with_state(api.clone(), spans::trace_request))
        .with_state(api)
}

/// Says that there is nothing at a path, and which path may be meant.
fn nothing_at(path: &str) -> String {
    const ROOTS: [&str; 6] = ["webhooks", "events", "event-types", "deliveries", "plugins", "policies"];
    let is_root = |segment: &str| ROOTS.contains(&segment);
    let hint = match path.strip_suffix('/').unwrap_or(path) {
        "" | "/api" | "/api/v1" => {
            "; the API has /api/v1/webhooks, /api/v1/events, /api/v1/deliveries, /api/v1/plugins"
        }
        _ if !path.starts_with("/api/v1/") && path.split('/').take(4).any(is_root) => {
            "; the paths of the API begin with /api/v1/"
        }
        _ if path.starts_with("/api/") && path.split('/').nth(3) == Some("resources") => {
            "; of Factorial's later API there is /api/{version}/resources/api_public/webhook_subscriptions"
        }
        _ if path.ends_with('/') => "; leave out the `/` at its end",
        _ => "",
    };
    format!("there is no resource at this path{hint}")
}

/// How often a change is repeated if other changes invalidated its checks meanwhile
/// ([`crate::store::StoreError::Changed`]).
const MAX_CHANGE_RETRIES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_gets_the_hint_that_fits() {
        for (path, hint) in [
            ("/api/v1/webhooks/", "path; leave out the `/` at its end"),
            ("/healthz/", "path; leave out the `/` at its end"),
            ("/webhooks", "path; the paths of the API begin with /api/v1/"),
            ("/events/", "path; the paths of the API begin with /api/v1/"),
            ("/api/webhooks/wh_1", "path; the paths of the API begin with /api/v1/"),
            ("/api/v2/deliveries", "path; the paths of the API begin with /api/v1/"),
            ("/v1/plugins", "path; the paths of the API begin with /api/v1/"),
            ("/api/2026-10-01/resources/employees/employees", "/resources/api_public/webhook_subscriptions"),
            ("/", "/api/v1/plugins"),
            ("/api/v1/", "/api/v1/plugins"),
            ("/api/v1/event", "path"),
            ("/nowhere", "path"),
        ] {
            assert!(nothing_at(path).ends_with(hint), "{path}: {}", nothing_at(path));
        }
    }
}
