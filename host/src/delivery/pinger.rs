//! Tests a webhook: one event through the whole path, at once, past everything that waits.
//!
//! The log has the event of a test as a `ping`, whatever type it was sent as: it is no event of its producer, to be replayed or
//! compared.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::attempt::{AttemptOutcome, AttemptRunner};
use super::delivery_clock::DeliveryClock;
use super::host_event::HostEvents;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::{Event, PING};
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::shares::Share;
use crate::store::{DeliveryUpdate, Store, StoreError};

/// An event to test a webhook with.
#[derive(Debug)]
pub struct SampleEvent {
    /// The event type.
    pub event_type: String,
    /// When it happened, milliseconds since 1970; `None`: now.
    pub occurred_at: Option<i64>,
    /// The headers of its producer.
    pub headers: Vec<(String, String)>,
    /// JSON text.
    pub data: Bytes,
}

/// Sends test events.
pub struct Pinger {
    store: Arc<Store>,
    attempts: Arc<AttemptRunner>,
    host_events: Arc<HostEvents>,
    clock: Arc<DeliveryClock>,
    /// Pings at once: each holds a socket, and may take the whole attempt timeout.
    share: Arc<Share>,
}

impl Pinger {
    pub(super) fn new(
        store: Arc<Store>,
        attempts: Arc<AttemptRunner>,
        host_events: Arc<HostEvents>,
        clock: Arc<DeliveryClock>,
        share: Arc<Share>,
    ) -> Self {
        Self { store, attempts, host_events, clock, share }
    }

    /// Sends an event to the webhook once, also if it is disabled: the `sample`, or a `ping`. It is in the log afterwards, as a
    /// `ping`, and is not retried.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: too many tests of the company wait already; no attempt was made. Any other error of the store:
    /// the attempt was made.
    pub async fn test(&self, webhook: &Webhook, sample: Option<SampleEvent>) -> Result<Attempt, StoreError> {
        let _part = self.share.take(&webhook.company, 1).await.map_err(CompanyLimit::from)?;
        let now = self.clock.wall_ms();
        let data = json!({"type": PING, "webhook": webhook.id, "for": webhook.event_type, "sent_at": rfc3339(now)});
        let ping = self.host_events.event(&webhook.company, PING, &data, now);
        let mut row = self.host_events.row(ping, [webhook]);
        let mut event = row.event.clone();
        if let Some(SampleEvent { event_type, occurred_at, headers, data }) = sample {
            let logged = Event { occurred_at: occurred_at.unwrap_or(now), headers, data, ..(*event).clone() };
            event = Arc::new(Event { event_type, ..logged.clone() });
            row.event = Arc::new(logged);
        }
        // No other node takes a ping over.
        let report = self.attempts.run(&event, webhook, std::future::pending()).await;
        let status = final_status(&report.outcome);
        let attempt = report.into_attempt(1);
        let completion = DeliveryUpdate {
            company: webhook.company.clone(),
            id: row.place.clone(),
            lease: None,
            status,
            attempt_count: 1,
            attempt_base: 0,
            due: None,
            finished_at: Some(self.clock.wall_ms()),
            attempt: Some(attempt.clone()),
        };
        self.store.insert_completed(row, completion).await?;
        Ok(attempt)
    }
}

fn final_status(outcome: &AttemptOutcome) -> Status {
    match outcome {
        AttemptOutcome::Delivered | AttemptOutcome::DeliveredLast => Status::Delivered,
        AttemptOutcome::Filtered => Status::Filtered,
        AttemptOutcome::Rejected { .. } | AttemptOutcome::NoResponse | AttemptOutcome::HostError => Status::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_is_never_retried() {
        for outcome in [AttemptOutcome::NoResponse, AttemptOutcome::HostError] {
            assert_eq!(final_status(&outcome), Status::Failed);
        }
        assert_eq!(final_status(&AttemptOutcome::Delivered), Status::Delivered);
        assert_eq!(final_status(&AttemptOutcome::Filtered), Status::Filtered);
    }
}
