//! Deliveries (one event on its way to one webhook) and their attempts.
//!
//! Five structs stand for a delivery, each for one part of its way:
//!
//! - `NewDelivery` (store): a delivery of a new event, before both are stored.
//! - `QueuedDelivery` (delivery): the delivery in memory, in its queue or in an attempt.
//! - `ClaimedDelivery` (store): the row that a node has claimed, on its way back into memory.
//! - `DeliveryUpdate` (store): the result of an attempt, or of leaving memory without one, to be stored.
//! - [`DeliveryRecord`]: the row as the API shows it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// The plugin dropped the event.
    Filtered,
    /// The retry schedule is exhausted.
    Failed,
    /// The webhook was removed.
    Cancelled,
}

/// All statuses.
pub const STATUSES: [Status; 5] =
    [Status::Pending, Status::Delivered, Status::Filtered, Status::Failed, Status::Cancelled];

impl Status {
    /// Returns the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the status with this name.
    pub fn named(name: &str) -> Option<Self> {
        STATUSES.into_iter().find(|status| status.name() == name)
    }
}

/// A delivery as the delivery log shows it.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    /// `dlv_…`.
    pub id: String,
    /// The event's id.
    pub event_id: String,
    /// The company.
    pub company: String,
    /// The event's type.
    pub event_type: String,
    /// The webhook's id.
    pub webhook: String,
    /// The webhook's label.
    pub label: Option<String>,
    /// The status.
    pub status: Status,
    /// Number of attempts made.
    pub attempt_count: u32,
    /// Time of the next attempt while the delivery is pending, in milliseconds since 1970.
    pub next_attempt_at: Option<i64>,
    /// Creation time, in milliseconds since 1970.
    pub created_at: i64,
    /// Time at which a final status was reached, in milliseconds since 1970.
    pub finished_at: Option<i64>,
    /// When the data of its event, and what its attempts recorded, were erased, in milliseconds since 1970.
    pub erased_at: Option<i64>,
    /// The last attempt, if one was made.
    pub last_attempt: Option<LastAttempt>,
}

/// The last attempt of a delivery, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAttempt {
    /// Start time, in milliseconds since 1970.
    pub started_at: i64,
    /// As [`Attempt::status_code`].
    pub status_code: Option<u16>,
    /// As [`Attempt::error`].
    pub error: Option<String>,
}

/// The deliveries that are selected by their status. Its serialised form is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum StatusFilter {
    /// Those with this status.
    Is(Status),
    /// Pending ones that have failed at least once.
    Retrying,
}

impl StatusFilter {
    /// The name of [`StatusFilter::Retrying`] in the API.
    pub const RETRYING: &str = "retrying";

    /// Returns the filter with this name.
    pub fn named(name: &str) -> Option<Self> {
        if name == Self::RETRYING { Some(Self::Retrying) } else { Status::named(name).map(Self::Is) }
    }
}

impl From<StatusFilter> for &'static str {
    fn from(filter: StatusFilter) -> Self {
        match filter {
            StatusFilter::Is(status) => status.name(),
            StatusFilter::Retrying => StatusFilter::RETRYING,
        }
    }
}

impl TryFrom<String> for StatusFilter {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("`{name}` is no status"))
    }
}

/// One attempt of a delivery: a POST, or the reason why none was made.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The number: 1 for the first attempt.
    pub number: u32,
    /// Start time, in milliseconds since 1970.
    pub started_at: i64,
    /// Time from the start of the transform to the end of the answer, in milliseconds.
    pub duration_ms: i64,
    /// The receiver's status code, if it answered.
    pub status_code: Option<u16>,
    /// The reason for a failure, as a text for the webhook's owner.
    pub error: Option<String>,
    /// The first 16 KiB of the answer's body as text, if the receiver answered.
    pub response_body: Option<String>,
    /// The URL that it went to; `None` if nothing was sent.
    pub url: Option<String>,
    /// The headers that were sent, as a JSON object without credentials; `None` if nothing was sent.
    pub request_headers: Option<Box<RawValue>>,
    /// The headers of the answer, as a JSON object.
    pub response_headers: Option<Box<RawValue>>,
    /// The plugin's result, as the JSON object of the API; of several transforms, an array of those that ran.
    pub plugin: Option<Box<RawValue>>,
}

/// The error of an attempt whose own error was erased.
pub const ERASED_ERROR: &str = "erased with the data of the event";

impl Attempt {
    /// Returns the results of the transforms that ran, in their order.
    pub fn plugins(&self) -> Vec<&RawValue> {
        match self.plugin.as_deref() {
            Some(several) if several.get().starts_with('[') => serde_json::from_str(several.get()).unwrap_or_default(),
            one => one.into_iter().collect(),
        }
    }

    /// Returns what an attempt keeps when the data of its event is erased: nothing that may quote them.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self {
            number: self.number,
            started_at: self.started_at,
            duration_ms: self.duration_ms,
            status_code: self.status_code,
            error: self.error.as_ref().map(|_| ERASED_ERROR.into()),
            response_body: None,
            url: self.url.clone(),
            request_headers: None,
            response_headers: None,
            plugin: None,
        }
    }
}
