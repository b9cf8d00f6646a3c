//! A delivery held in memory.

use std::sync::Arc;

use super::AttemptClass;
use crate::domain::event::Event;
use crate::domain::webhook::Webhook;

/// Approximate memory of a delivery besides its event's data and headers, in bytes.
const OVERHEAD: usize = 768;

/// The event of a delivery in memory.
#[derive(Debug, Clone)]
pub(in crate::delivery) enum HeldEvent {
    /// All of it.
    Whole(Arc<Event>),
    /// Only its names: memory was scarce. The rest is read from the database when the attempt begins.
    Stored(Arc<EventNames>),
}

/// The names of an event whose headers and data are in the database alone.
#[derive(Debug)]
pub(in crate::delivery) struct EventNames {
    id: String,
    event_type: String,
    company: Arc<str>,
    /// Memory of its headers and data.
    payload_bytes: usize,
}

impl HeldEvent {
    /// Returns the event's id.
    pub(in crate::delivery) fn id(&self) -> &str {
        match self {
            Self::Whole(event) => &event.id,
            Self::Stored(names) => &names.id,
        }
    }

    /// Returns the event's type.
    pub(in crate::delivery) fn event_type(&self) -> &str {
        match self {
            Self::Whole(event) => &event.event_type,
            Self::Stored(names) => &names.event_type,
        }
    }

    /// Returns the company whose event it is.
    pub(in crate::delivery) fn company(&self) -> &str {
        match self {
            Self::Whole(event) => &event.company,
            Self::Stored(names) => &names.company,
        }
    }

    fn payload_bytes(event: &Event) -> usize {
        event.data.len() + event.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// A delivery held in memory: queued or in flight. It is made from an accepted event or from a row that the store
/// claimed (`ClaimedDelivery`), and ends as a write to the store (`DeliveryUpdate`).
#[derive(Debug, Clone)]
pub(in crate::delivery) struct QueuedDelivery {
    /// `dlv_…`. Identifiers ascend in the order of publishing.
    pub(in crate::delivery) id: String,
    /// `wh_…` of its webhook.
    pub(in crate::delivery) webhook_id: String,
    /// The lease under which this process holds it; a write under any other lease changes nothing.
    pub(in crate::delivery) lease: Option<Arc<str>>,
    /// Attempts made so far.
    pub(in crate::delivery) attempt_count: u32,
    /// Attempts that the retry schedule does not count: those before a replay or a retry by hand.
    pub(in crate::delivery) attempt_base: u32,
    /// The event.
    pub(in crate::delivery) event: HeldEvent,
    /// The class under which its attempt in flight is counted.
    pub(in crate::delivery) class: AttemptClass,
    /// The number of its attempt in flight, among those of this process.
    pub(in crate::delivery) attempt: u64,
}

impl QueuedDelivery {
    /// Returns the delivery of an event that has never been attempted, without a lease.
    pub(in crate::delivery) fn fresh(id: String, webhook: &Webhook, event: Arc<Event>) -> Self {
        Self {
            id,
            webhook_id: webhook.id.clone(),
            lease: None,
            attempt_count: 0,
            attempt_base: 0,
            event: HeldEvent::Whole(event),
            class: AttemptClass::Unproven,
            attempt: 0,
        }
    }

    /// Returns whether its next attempt repeats one that the retry schedule counts.
    pub(super) fn is_retry(&self) -> bool {
        self.attempt_count > self.attempt_base
    }

    /// Returns the approximate memory that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        match &self.event {
            HeldEvent::Whole(event) => OVERHEAD + HeldEvent::payload_bytes(event),
            HeldEvent::Stored(_) => OVERHEAD,
        }
    }

    /// Returns the memory that its attempt needs besides, in bytes: for what has to be read from the database.
    pub(super) fn bytes_to_read(&self) -> usize {
        match &self.event {
            HeldEvent::Whole(_) => 0,
            HeldEvent::Stored(names) => names.payload_bytes,
        }
    }

    /// Keeps only the names of its event. `company` is the event's company.
    pub(super) fn leave_payload(&mut self, company: &Arc<str>) {
        if let HeldEvent::Whole(event) = &self.event {
            self.event = HeldEvent::Stored(Arc::new(EventNames {
                id: event.id.clone(),
                event_type: event.event_type.clone(),
                company: company.clone(),
                payload_bytes: HeldEvent::payload_bytes(event),
            }));
        }
    }
}
