//! The limits of a company: its quotas, and its shares of what all companies share.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::Serialize;

use super::ApiState;
use super::auth::{AdminRead, Authorized, PlatformAdmin};
use super::body::{self, BodyLimit};
use super::problem::Problem;
use crate::domain::Invalid;
use crate::domain::quota::{Quota, QuotaUsage};
use crate::shares::{Resource, Share};
use crate::store::QuotaChange;

/// The largest limit that a request may set: both databases and JSON can hold it.
const MAX_LIMIT: u64 = 1 << 53;

/// One limit.
#[derive(Serialize)]
struct LimitView {
    used: u64,
    limit: u64,
    unit: &'static str,
}

/// The limits of a company, by their names.
#[derive(Serialize)]
pub(super) struct LimitsView {
    company: String,
    /// What it keeps in the database.
    quotas: BTreeMap<&'static str, LimitView>,
    /// What it has of each shared resource at this moment, and could have.
    shares: BTreeMap<&'static str, LimitView>,
}

fn quota_view(QuotaUsage { quota, used, limit }: QuotaUsage) -> (&'static str, LimitView) {
    (quota.name(), LimitView { used, limit, unit: quota.unit().name() })
}

fn share_view(share: &Share, company: &str) -> (&'static str, LimitView) {
    let info = share.resource().info();
    let (used, limit) = share.usage(company);
    (info.name, LimitView { used, limit, unit: info.unit.name() })
}

async fn view(api: &ApiState, company: String) -> Result<Json<LimitsView>, Problem> {
    let quotas = api.store.quota_usage(&company).await?.into_iter().map(quota_view).collect();
    // Those of a client address are not a company's.
    let shares = api.shares.iter().filter(|share| share.resource() != Resource::ClientConnections);
    let shares = shares.map(|share| share_view(share, &company)).collect();
    Ok(Json(LimitsView { company, quotas, shares }))
}

/// `GET /limits`.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<AdminRead>,
) -> Result<Json<LimitsView>, Problem> {
    view(&api, company).await
}

/// `PUT /limits` with `{"webhooks": 2000, "event-bytes": null}`, for a platform key: changes these quotas of one company; null
/// gives it that of all others again. 200 with all its limits.
pub(super) async fn change(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<PlatformAdmin>,
    request: Request<Body>,
) -> Result<Json<LimitsView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let changes = body::checked(&bytes, changes)?;
    api.store.change_quotas(company.clone(), changes).await?;
    view(&api, company).await
}

/// Checks the quotas that a request changes.
///
/// # Errors
/// Every broken rule.
fn changes(sent: BTreeMap<String, Option<u64>>) -> Result<Vec<QuotaChange>, Vec<Invalid>> {
    let (mut changes, mut errors) = (Vec::new(), Vec::new());
    for (name, limit) in sent {
        match Quota::named(&name) {
            Some(_) if limit.is_some_and(|limit| limit > MAX_LIMIT) => {
                errors.push(Invalid::at(
                    format!("/{name}"),
                    format!("a limit is a whole number up to {MAX_LIMIT}, or null"),
                ));
            }
            Some(quota) => changes.push(QuotaChange { quota, limit }),
            None => {
                let names = Quota::ALL.map(Quota::name).join(", ");
                errors.push(Invalid::at("", format!("there is no quota of this name; the quotas are {names}")));
            }
        }
    }
    if errors.is_empty() { Ok(changes) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, limit: Option<u64>) -> Result<Vec<QuotaChange>, Vec<Invalid>> {
        changes([(name.to_owned(), limit)].into())
    }

    #[test]
    fn only_known_quotas_are_changed_within_their_range() {
        let webhooks = |limit| Ok(vec![QuotaChange { quota: Quota::Webhooks, limit }]);
        assert_eq!(change("webhooks", Some(0)), webhooks(Some(0)));
        assert_eq!(change("webhooks", None), webhooks(None));
        assert_eq!(change("webhooks", Some(MAX_LIMIT)), webhooks(Some(MAX_LIMIT)));
        assert_eq!(change("webhooks", Some(MAX_LIMIT + 1)).unwrap_err()[0].pointer, "/webhooks");
        assert!(change("dns-lookups", Some(1)).unwrap_err()[0].detail.contains("event-bytes"));
    }
}
