//! Lists subscriptions, with the pages of Factorial's later API (<https://apidoc.factorialhr.com/docs/pagination>).

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::check_version;
use super::view::SubscriptionView;
use crate::api::ApiState;
use crate::api::answers::HeldAnswer;
use crate::api::auth::{Authorized, WebhooksRead};
use crate::api::params::{NamesCompany, PathParams, in_query};
use crate::api::problem::Problem;
use crate::domain::id;
use crate::store::{WebhookFilter, WebhookPage};

/// Most subscriptions of a page. A larger `limit` means as many, as in Factorial.
const MAX_LIMIT: u64 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct SubscriptionListQuery {
    company: Option<String>,
    company_id: Option<String>,
    id: Option<String>,
    r#type: Option<String>,
    enabled: Option<bool>,
    after_id: Option<String>,
    limit: Option<String>,
}

impl NamesCompany for SubscriptionListQuery {
    fn company(&self) -> Option<&str> {
        self.company_id.as_deref().or(self.company.as_deref())
    }
}

#[derive(Serialize)]
pub(in crate::api) struct SubscriptionPage {
    data: Vec<SubscriptionView>,
    meta: PageMeta,
}

#[derive(Serialize)]
struct PageMeta {
    has_previous_page: bool,
    has_next_page: bool,
    limit: u64,
    /// How many all pages have.
    total: usize,
    /// The id of the first on this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_cursor: Option<String>,
    /// The id of the last on this page: the `after_id` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_cursor: Option<String>,
}

/// `GET …/webhook_subscriptions`: newest first.
pub(in crate::api) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<WebhooksRead, SubscriptionListQuery>,
    PathParams(version): PathParams<String>,
) -> Result<(Option<Extension<HeldAnswer>>, Json<SubscriptionPage>), Problem> {
    check_version(&version)?;
    let limit = page_limit(query.limit.as_deref())?;
    let after = query.after_id.filter(|after| !after.is_empty());
    if after.as_deref().is_some_and(|after| !id::is_id_of("wh", after)) {
        return Err(in_query("after_id")("use the `end_cursor` of the previous page".into()));
    }
    let filter = WebhookFilter { id: query.id, event_type: query.r#type, enabled: query.enabled, unlabelled: true };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = api.store.filtered_webhooks(&company, &filter, after.as_deref(), most).await?;
    let WebhookPage { webhooks, bytes, next, total, has_previous } = page;
    let held = HeldAnswer::take(&api, &company, bytes)?.map(Extension);
    let meta = PageMeta {
        has_previous_page: has_previous,
        has_next_page: next.is_some(),
        limit,
        total,
        start_cursor: webhooks.first().map(|first| first.id.clone()),
        end_cursor: webhooks.last().map(|last| last.id.clone()),
    };
    let data = webhooks.into_iter().map(|webhook| SubscriptionView::new(webhook, &version)).collect();
    Ok((held, Json(SubscriptionPage { data, meta })))
}

/// Checks `?limit=`: a whole number of 1 or more, by default [`MAX_LIMIT`].
///
/// # Errors
/// 422 for anything else.
fn page_limit(given: Option<&str>) -> Result<u64, Problem> {
    let limit = given.map_or(Some(MAX_LIMIT), |text| text.parse().ok().filter(|limit| *limit > 0));
    let limit =
        limit.ok_or_else(|| in_query("limit")(format!("a whole number from 1; a page has at most {MAX_LIMIT}")));
    limit.map(|limit| limit.min(MAX_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_1_to_100_subscriptions() {
        let limits = [None, Some("1"), Some("100"), Some("101"), Some("500")].map(|given| page_limit(given).ok());
        assert_eq!(limits, [Some(100), Some(1), Some(100), Some(100), Some(100)]);
        for bad in ["0", "-1", "1.5", "", "all"] {
            assert!(page_limit(Some(bad)).is_err(), "{bad}");
        }
    }
}
