//! Cancels deliveries that wait.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::Serialize;

use super::selection::{Selection, SelectionFields};
use super::{DeliveryView, not_found};
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::Invalid;
use crate::domain::delivery::{Status, StatusFilter};
use crate::domain::delivery_selection::DeliverySelection;
use crate::domain::id::deliveries_end;
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

#[derive(Serialize)]
pub(in crate::api) struct CancelView {
    count: u64,
}

/// `POST /deliveries/cancel`: 202; the cancellation goes on in the background. 200 if it was only to be counted.
pub(in crate::api) async fn cancel_many(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<CancelView>), Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let now = api.clock.now_ms();
    let checked = body::checked(&bytes, |fields: SelectionFields| {
        let selection = fields.check(now)?;
        let state = state(&selection).map_err(|error| vec![error])?;
        Ok((selection, state))
    });
    let (selection, state) = checked?;
    let dry_run = selection.dry_run;
    let status = if dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    let selection = match &selection.event {
        None => cancel_selection(company, selection, state),
        Some(event) => match api.store.place_of_event(&company, event).await? {
            None => return Ok((status, Json(CancelView { count: 0 }))),
            Some(place) => of_event(cancel_selection(company, selection, state), place),
        },
    };
    if dry_run {
        return Ok((status, Json(CancelView { count: api.store.count_cancellable(&selection).await? })));
    }
    let cancellation = Cancellation { id: api.engine.ids.next("cnl", now), selection, now };
    Ok((status, Json(CancelView { count: api.engine.canceller.cancel(cancellation).await? })))
}

/// Returns the state of the deliveries to cancel.
///
/// # Errors
/// The selection has deliveries that do not wait.
fn state(selection: &Selection) -> Result<CancelState, Invalid> {
    if selection.missing {
        return Err(Invalid::at("/only", "a delivery that does not exist cannot be cancelled"));
    }
    let statuses = &selection.conditions.statuses;
    let waits = |status: &StatusFilter| matches!(status, StatusFilter::Is(Status::Pending) | StatusFilter::Retrying);
    if !statuses.iter().all(waits) {
        return Err(Invalid::at(
            "/status",
            format!(
                "only waiting deliveries can be cancelled: `{}` (the default) or `{}`",
                Status::Pending.name(),
                StatusFilter::RETRYING
            ),
        ));
    }
    Ok(if statuses[..] == [StatusFilter::Retrying] { CancelState::Retrying } else { CancelState::Pending })
}

fn cancel_selection(company: String, selection: Selection, state: CancelState) -> CancelSelection {
    let filter = DeliverySelection { statuses: Vec::new(), ..selection.conditions };
    CancelSelection { company, filter, state, first: first_id(selection.since), end: first_id(selection.until) }
}

/// Keeps those of the event at this place in the log.
fn of_event(selection: CancelSelection, place: String) -> CancelSelection {
    let end = selection.end.min(deliveries_end(&place));
    CancelSelection { first: selection.first.max(place), end, ..selection }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(statuses: &[StatusFilter]) -> Result<CancelState, Invalid> {
        let conditions = DeliverySelection { statuses: statuses.to_vec(), ..DeliverySelection::default() };
        state(&Selection { conditions, event: None, since: 0, until: 9, missing: false, dry_run: false })
    }

    #[test]
    fn only_waiting_deliveries_can_be_selected() {
        let pending = StatusFilter::Is(Status::Pending);
        assert_eq!((selected(&[]), selected(&[pending])), (Ok(CancelState::Pending), Ok(CancelState::Pending)));
        assert_eq!(selected(&[StatusFilter::Retrying]), Ok(CancelState::Retrying));
        assert_eq!(selected(&[StatusFilter::Retrying, pending]), Ok(CancelState::Pending));
        for status in [Status::Delivered, Status::Failed, Status::Cancelled] {
            assert_eq!(selected(&[pending, StatusFilter::Is(status)]).unwrap_err().pointer, "/status");
        }
    }

    #[test]
    fn deliveries_of_an_event_are_those_within_the_range() {
        let all =
            CancelSelection { first: "dlv_1".into(), end: "dlv_5".into(), ..CancelSelection::one("acme", "dlv_3") };
        let one = of_event(all.clone(), "dlv_3".into());
        assert_eq!((&*one.first, &*one.end), ("dlv_3", "dlv_3~"));
        let later = of_event(all, "dlv_7".into());
        assert!(later.first > later.end, "it has none");
    }
}
