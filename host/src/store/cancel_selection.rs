//! Which deliveries are to be cancelled.

use serde::{Deserialize, Serialize};

use crate::domain::delivery_selection::DeliverySelection;
use crate::domain::id::deliveries_end;

/// The pending deliveries that a cancellation selects by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelState {
    /// All of them.
    Pending,
    /// Those that have failed at least once.
    Retrying,
    /// Those that a replay has marked and that have not been attempted since.
    Replayed,
}

impl CancelState {
    pub(super) const ALL: [Self; 3] = [Self::Pending, Self::Retrying, Self::Replayed];

    /// Returns the name in the database.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Replayed => "replayed",
        }
    }
}

/// The pending deliveries of a company to cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelSelection {
    /// The company.
    pub company: String,
    /// The conditions that they meet besides; no statuses.
    pub filter: DeliverySelection,
    /// Their state.
    pub state: CancelState,
    /// The first id.
    pub first: String,
    /// The id after the last.
    pub end: String,
}

impl CancelSelection {
    /// Selects the deliveries of the event at this place in the log.
    pub fn of_event(company: &str, place: &str) -> Self {
        Self { end: deliveries_end(place), ..Self::one(company, place) }
    }

    /// Selects one delivery.
    pub fn one(company: &str, id: &str) -> Self {
        // No id sorts between an id and that id followed by a zero.
        let end = format!("{id}0");
        let filter = DeliverySelection::default();
        Self { company: company.into(), filter, state: CancelState::Pending, first: id.into(), end }
    }
}
