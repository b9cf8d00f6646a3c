//! Cancels deliveries that wait.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::selection::Selection;
use super::{DeliveryView, not_found};
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::Invalid;
use crate::domain::delivery::{Status, StatusFilter};
use crate::store::{CancelSelection, CancelState, Cancellation, first_id};

/// `POST /deliveries/{id}/cancel`: 200 with the cancelled delivery, 202 if its attempt is in flight: it is cancelled if that
/// fails. 409 if it has ended already.
pub(in crate::api) async fn cancel(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    PathParams(id): PathParams<String>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let before = api.store.delivery_record(&company, &id).await?.ok_or_else(not_found)?;
    if before.status == Status::Pending {
        api.engine.canceller.cancel_one(&company, &id).await?;
    }
    let delivery = api.store.delivery_record(&company, &id).await?.ok_or_else(not_found)?;
    let status = match delivery.status {
        Status::Cancelled => StatusCode::OK,
        Status::Pending => StatusCode::ACCEPTED,
        ended @ (Status::Delivered | Status::Filtered | Status::Failed) => {
            let detail = format!("this delivery is {} already; only a pending one can be cancelled", ended.name());
            return Err(Problem::new(ProblemKind::Conflict, detail));
        }
    };
    Ok((status, Json(DeliveryView::new(&api, delivery))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelRequest {
    r#type: Option<String>,
    status: Option<String>,
    since: String,
    until: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api) struct CancelView {
    count: u64,
}

/// `POST /deliveries/cancel`: 202; the cancellation goes on in the background.
pub(in crate::api) async fn cancel_many(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<CancelView>), Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let now = api.clock.now_ms();
    let selection = body::checked(&bytes, |request: CancelRequest| request.check(company, now))?;
    let cancellation = Cancellation { id: api.engine.ids.next("cnl", now), selection, now };
    Ok((StatusCode::ACCEPTED, Json(CancelView { count: api.engine.canceller.cancel(cancellation).await? })))
}

impl CancelRequest {
    /// Checks the selection at `now`, in milliseconds since 1970.
    ///
    /// # Errors
    /// Every broken rule.
    fn check(self, company: String, now: i64) -> Result<CancelSelection, Vec<Invalid>> {
        let mut errors = Vec::new();
        let state = match self.status.as_deref() {
            Some(StatusFilter::RETRYING) => CancelState::Retrying,
            status => {
                if status.is_some_and(|name| name != Status::Pending.name()) {
                    let detail = format!(
                        "only waiting deliveries can be cancelled: `{}` (the default) or `{}`",
                        Status::Pending.name(),
                        StatusFilter::RETRYING
                    );
                    errors.push(Invalid::at("/status", detail));
                }
                CancelState::Pending
            }
        };
        let selection = Selection { event_type: self.r#type, since: self.since, until: self.until };
        let (event_type, since, until) = selection.check(now, errors)?;
        Ok(CancelSelection { company, event_type, state, first: first_id(since), end: first_id(until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn check(status: Option<&str>) -> Result<CancelSelection, Vec<Invalid>> {
        let since = "2020-01-01T00:00:00Z".into();
        let request = CancelRequest { r#type: None, status: status.map(Into::into), since, until: None };
        request.check("acme".into(), NOW)
    }

    #[test]
    fn only_waiting_deliveries_can_be_selected() {
        let state = |status| check(status).unwrap().state;
        assert_eq!((state(None), state(Some("pending"))), (CancelState::Pending, CancelState::Pending));
        assert_eq!(state(Some("retrying")), CancelState::Retrying);
        for status in ["delivered", "replayed", ""] {
            assert_eq!(check(Some(status)).unwrap_err()[0].pointer, "/status");
        }
    }
}
