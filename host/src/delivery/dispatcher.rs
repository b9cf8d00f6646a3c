//! The workers: each takes deliveries from the queues and carries them to their record until none is left for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::attempt::AttemptRunner;
use super::delivery_clock::DeliveryClock;
use super::effect_runner::{EffectRunner, WorkerPool};
use super::lease::LeaseHolder;
use super::queue::{HeldEvent, QueuedDelivery, WebhookQueues};
use super::recorder::Recorder;
use super::unattempted::cancelled;
use super::waiting_consumers::WaitingConsumers;
use crate::domain::event::Event;
use crate::domain::webhook::Webhook;
use crate::store::{PulledDelivery, Store};
use crate::telemetry::ThrottledLog;

/// Pause before a webhook that could not be read is read again, and between two looks at a fence.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Runs the workers.
pub(super) struct Dispatcher {
    pub(super) queues: Arc<WebhookQueues>,
    pub(super) store: Arc<Store>,
    pub(super) leases: Arc<LeaseHolder>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) attempts: Arc<AttemptRunner>,
    pub(super) recorder: Recorder,
    pub(super) effects: Arc<EffectRunner>,
    pub(super) consumers: Arc<WaitingConsumers>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Ends the attempts in flight.
    pub(super) cut: CancellationToken,
    pub(super) log: ThrottledLog,
}

/// What a worker needs to know about an attempt that it is about to make.
enum Permission {
    Granted(Arc<Webhook>),
    /// The delivery goes back to the database: its webhook is disabled, or another node holds the lease.
    Spill(Arc<Webhook>),
    /// The delivery waits for the consumer of its webhook from now on.
    Consumer(Arc<Webhook>),
    /// The webhook no longer exists.
    Cancel,
    /// The service stops. The lease is free at the next start.
    Stopping,
}

impl WorkerPool for Dispatcher {
    fn start_worker(self: Arc<Self>) {
        // A delivery whose attempt is cut off keeps its lease, which is free at the next start.
        let work = Box::pin(self.clone().work());
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(work));
    }
}

impl Dispatcher {
    /// One worker: ends when no delivery is left for it.
    async fn work(self: Arc<Self>) {
        while let Some((delivery, effects)) = self.queues.take() {
            self.effects.apply_now(effects);
            let span = tracing::info_span!(
                "attempt",
                delivery = delivery.id,
                event = delivery.event.id(),
                webhook = delivery.webhook_id,
                company = delivery.event.company(),
            );
            let will_retry = self.attempt(&delivery).instrument(span).await;
            self.effects.apply_now(self.queues.attempt_ended(&delivery, will_retry));
        }
    }

    /// Opens queues whose pace or probe pause has elapsed, until the engine stops.
    pub(super) async fn open_queues(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let (effects, next) = self.queues.open_due();
            self.effects.apply_now(effects);
            let opening = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.queues.timer_changed() => (),
                () = opening => (),
            }
        }
    }

    /// Returns whether the delivery will be retried.
    async fn attempt(&self, delivery: &QueuedDelivery) -> bool {
        match self.permission(delivery).await {
            Permission::Granted(webhook) => {
                // Neither row nor service is there: there is nothing to record.
                let Some(event) = self.event(delivery).await else { return false };
                let report = self.attempts.run(&event, &webhook, self.delivery_lost()).await;
                return self.recorder.record(delivery, &webhook, report).await;
            }
            Permission::Spill(webhook) => self.effects.spill_one(delivery, &webhook).await,
            Permission::Consumer(webhook) => self.leave_to_consumer(delivery, &webhook).await,
            Permission::Cancel => self.store.finish(cancelled(delivery, self.clock.wall_ms())).await,
            Permission::Stopping => (),
        }
        false
    }

    /// A delivery that was retried, replayed or stored before its webhook had a consumer. If this fails, it is fetched again when its
    /// lease has run out.
    async fn leave_to_consumer(&self, delivery: &QueuedDelivery, webhook: &Webhook) {
        let pulled = PulledDelivery {
            company: webhook.company.clone(),
            id: delivery.id.clone(),
            webhook: webhook.id.clone(),
            lease: delivery.lease.clone(),
        };
        match self.store.wait_for_consumer(pulled).await {
            Ok(()) => self.consumers.wake(&webhook.id),
            Err(error) => self.log.warn("leaving a delivery to its consumer failed; trying again", &error),
        }
    }

    /// Returns the event, from the database if memory has only its names. `None`: it is no longer there, or the service stops.
    async fn event(&self, delivery: &QueuedDelivery) -> Option<Arc<Event>> {
        if let HeldEvent::Whole(event) = &delivery.event {
            return Some(event.clone());
        }
        loop {
            match self.store.event_to_send(delivery.event.company(), delivery.event.id()).await {
                Ok(event) => return event.map(Arc::new),
                Err(_) if self.stop.is_cancelled() => return None,
                Err(error) => {
                    self.log.warn("reading an event failed; trying again", &error);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Waits until other nodes may take over the deliveries of this one.
    async fn delivery_lost(&self) {
        if self.store.is_shared() {
            passed(|| self.queues.attempts_end_at()).await;
        } else {
            std::future::pending().await
        }
    }

    async fn permission(&self, delivery: &QueuedDelivery) -> Permission {
        // The webhook as it stands now: a delivery goes wherever it points at the moment of the attempt.
        let webhook = loop {
            match self.store.webhook_of(delivery.event.company(), &delivery.webhook_id).await {
                Ok(Some(webhook)) => break webhook,
                Ok(None) => return Permission::Cancel,
                Err(_) if self.stop.is_cancelled() => return Permission::Stopping,
                Err(error) => {
                    self.log.warn("reading a webhook failed; trying again", &error);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        };
        match self.holds_lease(delivery).await {
            Some(true) if webhook.is_pulled() => Permission::Consumer(webhook),
            Some(true) if webhook.enabled => Permission::Granted(webhook),
            Some(_) => Permission::Spill(webhook),
            None => Permission::Stopping,
        }
    }

    /// Whether this node still holds the lease: the database may have been out of reach, and the node have been declared dead.
    /// `None`: the service stops.
    async fn holds_lease(&self, delivery: &QueuedDelivery) -> Option<bool> {
        if !self.store.is_shared() {
            return Some(true);
        }
        while self.queues.is_fenced() {
            if timeout(RETRY_PAUSE, self.stop.cancelled()).await.is_ok() {
                return None;
            }
        }
        Some(delivery.lease.as_deref() == Some(&*self.leases.name()))
    }
}

/// Waits until an instant has passed, which may be moved meanwhile; `None`: it never does.
async fn passed(instant: impl Fn() -> Option<Instant>) {
    while let Some(at) = instant() {
        if at <= Instant::now() {
            return;
        }
        sleep_until(at).await;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn attempts_end_when_the_instant_passes_that_heartbeats_move() {
        let (now, calls) = (Instant::now(), Cell::new(0));
        assert!(passed(|| Some(now)).now_or_never().is_some());
        assert!(passed(|| None).now_or_never().is_none());
        assert!(passed(|| Some(now + Duration::from_secs(3600))).now_or_never().is_none());
        // Each time it has passed it is somewhat later, as after a heartbeat, four times.
        let moved = || {
            calls.set(calls.get() + 1);
            Some(now + Duration::from_millis(5) * calls.get().min(5))
        };
        passed(moved).await;
        assert!(calls.get() > 1 && Instant::now() >= now + Duration::from_millis(5) * calls.get().min(5), "{calls:?}");
    }
}
