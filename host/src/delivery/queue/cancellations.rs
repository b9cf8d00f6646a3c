//! Cancellations that apply to attempts in flight: if such an attempt fails, its delivery is not retried.

use std::collections::VecDeque;

use crate::delivery::queue::QueuedDelivery;
use crate::store::{CancelSelection, CancelState};

/// Most cancellations that are remembered. The oldest is forgotten: its deliveries are retried if their attempt was in flight
/// while so many others were cancelled.
const MOST: usize = 1024;

/// The cancellations since the oldest attempt in flight began, and the number of attempts begun.
#[derive(Debug, Default)]
pub(super) struct RecentCancellations {
    /// Each with the number of the last attempt that had begun by then.
    recent: VecDeque<(CancelSelection, u64)>,
    attempts_begun: u64,
    in_flight: usize,
}

impl RecentCancellations {
    /// Counts an attempt that begins, and returns its number.
    pub(super) fn attempt_began(&mut self) -> u64 {
        self.attempts_begun += 1;
        self.in_flight += 1;
        self.attempts_begun
    }

    /// Records a cancellation.
    pub(super) fn add(&mut self, selection: &CancelSelection) {
        if self.in_flight == 0 {
            return;
        }
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((selection.clone(), self.attempts_begun));
    }

    /// Returns whether a delivery, whose webhook has this label, was cancelled since its attempt began.
    pub(super) fn concern(&self, delivery: &QueuedDelivery, label: Option<&str>) -> bool {
        // An attempt in flight is no longer the one that a replay has marked.
        let state = if delivery.is_retry() { CancelState::Retrying } else { CancelState::Pending };
        let concerns = |(selection, last): &(CancelSelection, u64)| {
            delivery.attempt <= *last && selects(selection, delivery, label, state)
        };
        self.recent.iter().any(concerns)
    }

    /// Counts an attempt that has ended.
    pub(super) fn attempt_ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.recent.clear();
        }
    }
}

/// Returns whether a selection has this delivery, whose webhook has this label and whose state is `state`. Memory does not know the
/// error of the last attempt: a selection by that has none of its deliveries.
pub(super) fn selects(
    selection: &CancelSelection,
    delivery: &QueuedDelivery,
    label: Option<&str>,
    state: CancelState,
) -> bool {
    (selection.state == state || selection.state == CancelState::Pending)
        && selection.company == delivery.event.company()
        && selection.filter.error.is_none()
        && selection.filter.concerns(delivery.event.event_type(), &delivery.webhook_id, label)
        && (&selection.first..&selection.end).contains(&&delivery.id)
}
