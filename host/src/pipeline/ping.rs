//! Trying a webhook out: one event through the whole path, at once, whatever waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::json;
use tokio::sync::Semaphore;

use super::Pipeline;
use super::lanes::Job;
use super::record::Came;
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::PING;
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::store::{Completion, StoreError};

/// Tries at once, over all webhooks and over those of one company: each may take the whole time-out.
const MAX_PINGS: usize = 128;
const PER_COMPANY: usize = 8;

/// Whose turn it is to try a webhook out: companies wait for themselves first.
pub(super) struct Turns {
    all: Semaphore,
    companies: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Semaphore::new(MAX_PINGS), companies: Mutex::default() }
    }
}

impl Turns {
    fn of(&self, company: &str) -> Arc<Semaphore> {
        let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = companies.get(company).and_then(Weak::upgrade) {
            return own;
        }
        companies.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(PER_COMPANY));
        companies.insert(company.to_owned(), Arc::downgrade(&own));
        own
    }
}

impl Pipeline {
    /// Sends a `ping` event to the webhook, also to a disabled one, once. It is in the log afterwards, like any other,
    /// and is not retried.
    ///
    /// # Errors
    /// The store's; the attempt was made.
    pub async fn ping(&self, webhook: &Webhook) -> Result<Attempt, StoreError> {
        let inner = &self.0;
        // The semaphores are never closed.
        let company = inner.pings.of(&webhook.company);
        let _own = company.acquire().await.ok();
        let _turn = inner.pings.all.acquire().await.ok();
        let now = inner.time.of_day();
        let data = json!({"type": PING, "webhook": webhook.id, "for": webhook.event_type, "sent_at": rfc3339(now)});
        let row = self.own_event(webhook, (PING, data), now);
        let job = Job::fresh(row.id.clone(), webhook, row.event.clone());
        let ending = self.try_once(&job, webhook).await;
        let status = match ending.came {
            Came::Delivered => Status::Delivered,
            Came::Filtered => Status::Filtered,
            Came::Refused { .. } | Came::Silent | Came::Hindered => Status::Failed,
        };
        let attempt = ending.attempt(1);
        let completion = Completion {
            company: webhook.company.clone(),
            id: row.id.clone(),
            lease: None,
            status,
            attempt_count: 1,
            due: None,
            finished_at: Some(inner.time.of_day()),
            attempt: Some(attempt.clone()),
        };
        inner.store.insert_finished(row, completion).await?;
        Ok(attempt)
    }
}
