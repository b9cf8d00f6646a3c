//! A delivery: one event on its way to one webhook, and the attempts that were made at it.

use serde_json::value::RawValue;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// The plugin dropped it.
    Filtered,
    /// The schedule is exhausted.
    Failed,
    /// Its webhook was removed.
    Cancelled,
}

/// All of them.
pub const STATUSES: [Status; 5] =
    [Status::Pending, Status::Delivered, Status::Filtered, Status::Failed, Status::Cancelled];

impl Status {
    /// The name that the contract gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        STATUSES.into_iter().find(|status| status.name() == name)
    }
}

/// What is pending, by where it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// For an instant: a retry.
    pub scheduled: i64,
    /// In a process's memory.
    pub leased: i64,
    /// In its webhook's lane, in the database.
    pub parked: i64,
    /// The same, behind all else: it is being replayed.
    pub replayed: i64,
    /// Since when the one has been due that has been so the longest, of those that are in no process's memory;
    /// milliseconds since 1970.
    pub oldest_due: Option<i64>,
}

/// A delivery as the log shows it.
#[derive(Debug, Clone)]
pub struct Delivery {
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
    /// Where it stands.
    pub status: Status,
    /// Attempts made.
    pub attempt_count: u32,
    /// When it is tried next, while it waits; milliseconds since 1970.
    pub next_attempt_at: Option<i64>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// When it came to its end.
    pub finished_at: Option<i64>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// From the start of the transform to the end of the answer.
    pub duration_ms: i64,
    /// The receiver's answer, where there was one.
    pub status_code: Option<u16>,
    /// Why it failed, readable.
    pub error: Option<String>,
    /// The answer's first 16 KiB as text, where there was an answer.
    pub response_body: Option<String>,
    /// What was sent, as a JSON object; `None` when nothing was.
    pub request_headers: Option<Box<RawValue>>,
    /// What the plugin did, as the contract's JSON object.
    pub plugin: Option<Box<RawValue>>,
}
