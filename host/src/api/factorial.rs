//! Webhook subscriptions as the later versions of Factorial's own API have them
//! (<https://apidoc.factorialhr.com/docs/manage-webhooks>), so that its SDKs work. They are the company's webhooks.

mod list;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};

use super::ApiState;
use super::auth::{Authorized, Subscriber, WebhooksRead, WebhooksWrite};
use super::body::{self, BodyLimit};
use super::params::PathParams;
use super::problem::{Problem, ProblemKind};
use super::spans;
use super::webhooks::{self, ChangedSubscription, NewSubscription, SubscriptionFields};
use crate::domain::webhook::{Webhook, check_api_version};
use crate::store::IfTaken;
use view::SubscriptionView;

pub(super) use list::list;

/// The path of all subscriptions.
pub(super) const LIST: &str = "/api/{version}/resources/api_public/webhook_subscriptions";
/// The path of one subscription.
pub(super) const ONE: &str = "/api/{version}/resources/api_public/webhook_subscriptions/{id}";

/// Checks the version in the path.
///
/// # Errors
/// 404: there is no such path.
fn check_version(version: &str) -> Result<(), Problem> {
    check_api_version(version)
        .map_err(|rule| Problem::new(ProblemKind::NotFound, format!("there is no such path: {rule}")))
}

/// Returns a subscription. Webhooks with a label are none: in this API a company has one for each type.
///
/// # Errors
/// 404 if the company has none with this id.
async fn find(api: &ApiState, company: &str, id: &str) -> Result<Webhook, Problem> {
    let found = api.store.webhook(company, id).await?;
    found.filter(|webhook| webhook.label.is_none()).ok_or_else(webhooks::not_found)
}

/// `GET …/webhook_subscriptions/{id}`.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksRead>,
    PathParams((version, id)): PathParams<(String, String)>,
) -> Result<Json<SubscriptionView>, Problem> {
    check_version(&version)?;
    Ok(Json(SubscriptionView::new(find(&api, &company, &id).await?, &version)))
}

/// `POST …/webhook_subscriptions`: 201; 422 if the company has one for the type.
pub(super) async fn create(
    State(api): State<Arc<ApiState>>,
    subscriber: Subscriber,
    PathParams(version): PathParams<String>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<SubscriptionView>), Problem> {
    subscriber.check_scope()?;
    check_version(&version)?;
    let bytes = body::read(&api.shares, subscriber.holder(), request, BodyLimit::Json).await?;
    let check = |fields: SubscriptionFields| fields.check_new(&version, webhooks::field_rules(&api));
    let NewSubscription { company_id, new } = body::checked(&bytes, check)?;
    let company = subscriber.company(company_id.as_deref())?;
    spans::record_company(&company);
    let stored = webhooks::subscribe(&api, company, new, IfTaken::Refuse).await?;
    Ok((StatusCode::CREATED, Json(SubscriptionView::new(stored.webhook, &version))))
}

/// `PUT …/webhook_subscriptions/{id}`: 200. It changes only what is sent.
pub(super) async fn update(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams((version, id)): PathParams<(String, String)>,
    request: Request<Body>,
) -> Result<Json<SubscriptionView>, Problem> {
    check_version(&version)?;
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let current = find(&api, &company, &id).await?;
    let check = |fields: SubscriptionFields| fields.check_change(&current, &version, webhooks::field_rules(&api));
    let ChangedSubscription { company_id, changes } = body::checked(&bytes, check)?;
    if company_id.is_some_and(|named| named != company) {
        return Err(Problem::new(ProblemKind::Scope, "the subscription belongs to another company than `company_id`"));
    }
    Ok(Json(SubscriptionView::new(webhooks::edit(&api, current, changes).await?, &version)))
}

/// `DELETE …/webhook_subscriptions/{id}`: 200 with the removed subscription.
pub(super) async fn remove(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams((version, id)): PathParams<(String, String)>,
) -> Result<Json<SubscriptionView>, Problem> {
    check_version(&version)?;
    let found = find(&api, &company, &id).await?;
    Ok(Json(SubscriptionView::new(webhooks::remove(&api, Some(found)).await?, &version)))
}
