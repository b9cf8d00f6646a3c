//! Writes down how attempts ended: the only place that decides what a failed attempt means.

mod auto_disable;
mod decision;

use std::sync::Arc;
use std::time::Duration;

use super::attempt::AttemptReport;
use super::delivery_clock::DeliveryClock;
use super::effect_runner::EffectRunner;
use super::fetch_signal::FetchSignal;
use super::operational_events::{Notice, OperationalEvents};
use super::queue::{QueuedDelivery, WebhookQueues};
use crate::domain::delivery::Status;
use crate::domain::id;
use crate::domain::operational_event::{ExhaustedDelivery, OperationalEvent};
use crate::domain::retry::Schedule;
use crate::domain::webhook::Webhook;
use crate::metrics::{AttemptResult, Metrics};
use crate::store::{DeliveryUpdate, FailureNote, Store, StoreError};
use crate::telemetry::ThrottledLog;
pub(super) use auto_disable::AutoDisable;
use decision::{Consequence, NextStep, Streak, WebhookNow};

/// Random numbers in `[0, 1)`.
pub type Rng = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Records attempts.
pub(super) struct Recorder {
    pub(super) store: Arc<Store>,
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) schedule: Schedule,
    pub(super) rng: Rng,
    pub(super) auto_disable: AutoDisable,
    pub(super) operational_events: Arc<OperationalEvents>,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) fetch: Arc<FetchSignal>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: ThrottledLog,
}

impl Recorder {
    /// Writes down how an attempt ended, with its consequences for the delivery and for its webhook. Returns whether the
    /// delivery will be retried.
    pub(super) async fn record(&self, delivery: &QueuedDelivery, webhook: &Webhook, report: AttemptReport) -> bool {
        self.count(delivery, &report);
        let planned = decision::next_step(&self.schedule, delivery, &report.outcome, &*self.rng, self.clock.due_ms());
        let (next, waits_for) = self.as_webhook_stands(delivery, planned).await;
        let outcome = report.outcome.clone();
        let error = report.error.clone().unwrap_or_default();
        let streak = self.judge(delivery, &report, &error);
        let (status_code, plugin_result) = (report.status_code, report.plugin_result.clone());
        self.finish(delivery, next, report).await;
        self.operational_events.plugin_ended(webhook, &plugin_result).await;
        if decision::is_exhausted(next, &outcome) {
            self.tell_exhausted(delivery, webhook, &error, status_code).await;
        }
        if let Some(webhook) = waits_for {
            // It may have been enabled meanwhile, and its backlog been fetched before this delivery was part of it.
            self.effects.apply_now(self.queues.spilled(&webhook));
        }
        let rest_ms = next.due.map(|due| due.saturating_sub(self.clock.due_ms()));
        let streak = streak.map(|since_ms| Streak { since_ms, now_ms: self.clock.cautious_ms(), rest_ms });
        match decision::consequence(webhook, &outcome, streak, &error) {
            Consequence::None => (),
            Consequence::Disable(reason) => self.auto_disable.disable(webhook, &reason).await,
            Consequence::Note(note) => self.note(webhook, note, &error).await,
        }
        next.due.is_some()
    }

    /// Returns when the current streak of failures began, milliseconds since 1970.
    fn judge(&self, delivery: &QueuedDelivery, report: &AttemptReport, error: &str) -> Option<i64> {
        let (streak, effects) = self.queues.judge(delivery, report.receiver_signal(), self.clock.cautious_ms());
        self.effects.apply_now(effects);
        let streak = streak?;
        if let Some(failures) = streak.failures_to_log {
            let (webhook, company) = (&delivery.webhook_id, delivery.event.company());
            tracing::warn!(webhook, company, failures, error, "a webhook fails");
        }
        Some(streak.since_ms)
    }

    async fn finish(&self, delivery: &QueuedDelivery, next: NextStep, report: AttemptReport) {
        let number = delivery.attempt_count.saturating_add(1);
        let completion = DeliveryUpdate {
            company: delivery.event.company().to_owned(),
            id: delivery.id.clone(),
            lease: delivery.lease.clone(),
            status: next.status,
            attempt_count: number,
            attempt_base: next.attempt_base,
            due: next.due,
            finished_at: (next.status != Status::Pending).then(|| self.clock.wall_ms()),
            attempt: Some(report.into_attempt(number)),
        };
        self.store.finish(completion).await;
        if next.due.is_some() {
            self.fetch.wake();
        }
    }

    /// The planned step, unless the delivery was cancelled, or the webhook removed or disabled, during the attempt. Also returns the disabled webhook that
    /// the delivery waits for.
    async fn as_webhook_stands(
        &self,
        delivery: &QueuedDelivery,
        planned: NextStep,
    ) -> (NextStep, Option<Arc<Webhook>>) {
        if planned.due.is_none() {
            return (planned, None);
        }
        if self.queues.is_cancelled(delivery) {
            return (NextStep { status: Status::Cancelled, due: None, ..planned }, None);
        }
        let found = self.store.webhook_of(delivery.event.company(), &delivery.webhook_id).await;
        let now = match &found {
            Ok(Some(webhook)) if webhook.enabled => WebhookNow::Enabled,
            Ok(Some(_)) => WebhookNow::Disabled,
            Ok(None) => WebhookNow::Removed,
            Err(_) => WebhookNow::Unknown,
        };
        let waits_for = found.ok().flatten().filter(|_| now == WebhookNow::Disabled);
        (decision::for_webhook(planned, now), waits_for)
    }

    async fn tell_exhausted(
        &self,
        delivery: &QueuedDelivery,
        webhook: &Webhook,
        error: &str,
        status_code: Option<u16>,
    ) {
        let exhausted = ExhaustedDelivery {
            webhook,
            id: &delivery.id,
            event_id: delivery.event.id(),
            event_type: delivery.event.event_type(),
            attempt_count: delivery.attempt_count.saturating_add(1),
            error,
            status_code,
            omitted: 0,
        };
        self.operational_events.delivery_exhausted(exhausted).await;
    }

    async fn note(&self, webhook: &Webhook, note: FailureNote, error: &str) {
        if let Err(error) = self.try_note(webhook, note, error).await {
            self.log.warn("storing since when a webhook fails did not work; the next attempt stores it", &error);
        }
    }

    async fn try_note(&self, webhook: &Webhook, note: FailureNote, error: &str) -> Result<(), StoreError> {
        let event = match note {
            FailureNote::Failing { since_ms, announced } if announced > webhook.failing_announced => {
                Some(OperationalEvent::WebhookFailing { webhook, since_ms, error })
            }
            FailureNote::Succeeded if webhook.failing_announced > 0 => {
                Some(OperationalEvent::WebhookRecovered(webhook))
            }
            FailureNote::Failing { .. } | FailureNote::Succeeded => None,
        };
        let notice = match event {
            Some(event) => self.operational_events.prepare(&webhook.company, &event).await?,
            None => None,
        };
        let is_due = self.store.record_failing(webhook, note, notice.as_ref().map(Notice::row)).await?;
        if let (true, Some(notice)) = (is_due, notice) {
            self.operational_events.stored(&notice);
        }
        Ok(())
    }

    fn count(&self, delivery: &QueuedDelivery, report: &AttemptReport) {
        let result = report.result();
        self.metrics.attempt_ended(result, report.took);
        // A replay says nothing about the speed of the first delivery.
        let accepted = id::made_at(&delivery.id).filter(|_| delivery.attempt_base == 0);
        if let (AttemptResult::Success, Some(accepted)) = (result, accepted) {
            let took = self.clock.wall_ms().saturating_sub(accepted);
            self.metrics.event_delivered(Duration::from_millis(u64::try_from(took).unwrap_or(0)));
        }
    }
}
