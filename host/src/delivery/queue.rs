//! The webhook queues: deliveries held in memory, one queue per webhook, so that no webhook's backlog delays another's
//! events.
//!
//! Scheduling is fair between companies first and between the webhooks of a company second. A company may have as many
//! attempts in flight as remain free besides: one company alone gets half of all, two get a third each. So there is
//! always room for one more company, however many attempts of the others hang. Of receivers that are not known to be
//! healthy, the first attempt of each queue may take half of all attempts, further ones and those to silent receivers
//! an eighth, and each company its part of these: thousands of receivers that do not answer leave room for those that
//! do, and need no more memory than that.
//!
//! A queue holds a bounded number of deliveries in memory, and all queues together a bounded number of bytes. The rest is
//! spilled to the database, the backlog, and fetched, the oldest first, when there is room. A queue with a backlog takes
//! no new event: it would overtake. Replays are fetched when a queue has nothing else.
//!
//! An ordered queue has at most one attempt in flight, and a delivery that waits for its retry stays before later ones.
//!
//! If several nodes serve one database, `ownership.rs` decides which of them serves which webhook.

mod attempt_class;
mod backlog;
mod cancellations;
mod delivery;
mod effects;
mod fetches;
mod memory;
mod nodes;
mod ordering;
mod ownership;
mod pace;
mod queue_settings;
mod receiver_health;
mod reservation;
mod rounds;
mod scheduler;
#[cfg(test)]
mod tests;
mod throttle;
mod timers;
mod webhook_queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::waiting::WaitingCount;
use crate::domain::webhook::Webhook;
use crate::shares::Share;
use crate::store::CancelSelection;
use scheduler::Scheduler;
use webhook_queue::{Position, WebhookQueue};

pub(super) use attempt_class::AttemptClass;
pub(super) use backlog::BacklogKind;
pub(super) use delivery::{HeldEvent, QueuedDelivery};
pub(super) use effects::Effects;
pub(super) use fetches::{BacklogFetch, FetchResult};
pub(super) use ordering::OrderAnswer;
pub(super) use ownership::Fence;
pub(super) use receiver_health::{FailureStreak, ReceiverSignal};
pub(super) use reservation::Reservation;

/// How a delivery came from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum Origin {
    /// It was due or spilled.
    Live,
    /// It was marked for replay, and waits behind all live traffic.
    Replay,
}

/// The queues of all webhooks of this process. Each input returns its [`Effects`].
pub(in crate::delivery) struct WebhookQueues {
    state: Mutex<Scheduler>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    /// A timer was set that ends before all others.
    timer_brought_forward: Notify,
}

impl WebhookQueues {
    /// Returns an empty set of queues, for at most `max_attempts` in flight at once. Their deliveries take `memory`.
    pub(in crate::delivery) fn new(max_attempts: usize, memory: Arc<Share>) -> Self {
        Self::with_clock(max_attempts, memory, Instant::now)
    }

    fn with_clock(max_attempts: usize, memory: Arc<Share>, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let state = Mutex::new(Scheduler::new(max_attempts, memory));
        Self { state, now: Box::new(now), timer_brought_forward: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Scheduler> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state at the present instant, and reports a timer that ends before all others.
    fn change<R>(&self, change: impl FnOnce(&mut Scheduler, Instant) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state, (self.now)());
        if state.timers.take_brought_forward() {
            self.timer_brought_forward.notify_one();
        }
        result
    }

    /// Queues the event of a reservation with a place in memory, once it is stored.
    pub(in crate::delivery) fn fill(&self, reservation: &Reservation, delivery: QueuedDelivery) -> Effects {
        debug_assert_eq!(reservation.webhook_id, delivery.webhook_id);
        self.change(|state, now| {
            state.push(delivery, Position::Back, now);
            state.effects(&reservation.webhook_id, now)
        })
    }

    /// Queues deliveries that were claimed from the database, and skips those that are held already. Gives back those
    /// without room.
    pub(in crate::delivery) fn offer(
        &self,
        webhook: &Webhook,
        deliveries: Vec<QueuedDelivery>,
        origin: Origin,
    ) -> Effects {
        self.change(|state, now| {
            let offer = |delivery| state.offer(webhook, delivery, origin, now);
            let give_back = deliveries.into_iter().filter_map(offer).collect();
            Effects { give_back, ..state.worker_effects(now) }
        })
    }

    /// Queues a delivery that a user wants attempted now: before all others of its webhook, and without waiting for a
    /// probe. Gives it back if too many are queued that way, or if another node owns the webhook.
    pub(in crate::delivery) fn retry_now(&self, webhook: &Webhook, delivery: QueuedDelivery) -> Effects {
        self.change(|state, now| {
            if !state.held.contains(&delivery.id) {
                let limit = state.queue_limit(&webhook.company);
                let queue = state.queue(webhook);
                queue.attempt_requested(now);
                // As many again as are queued without a request.
                if queue.room_for_requested(2 * limit) == 0 || !queue.may_serve() {
                    let wake_fetcher = queue.wants_fetch(limit);
                    return Effects { wake_fetcher, give_back: vec![delivery], ..Effects::default() };
                }
                state.push(delivery, Position::Front, now);
            }
            state.effects(&webhook.id, now)
        })
    }

    /// Moves a queued delivery before all others of its webhook, as [`WebhookQueues::retry_now`] does. One in flight is
    /// left alone.
    pub(in crate::delivery) fn expedite(&self, webhook: &Webhook, delivery_id: &str) -> Effects {
        self.change(|state, now| {
            let queue = state.queue(webhook);
            if let Some(delivery) = queue.remove(delivery_id) {
                queue.attempt_requested(now);
                queue.push(delivery, Position::Front);
            }
            state.settle(&webhook.id, now);
            state.effects(&webhook.id, now)
        })
    }

    /// Records that deliveries of this webhook were spilled.
    pub(in crate::delivery) fn spilled(&self, webhook: &Webhook) -> Effects {
        let mut state = self.lock();
        state.queue(webhook).spilled();
        Effects { wake_fetcher: state.wants_fetch(&webhook.id), ..Effects::default() }
    }

    /// Records that deliveries of this webhook were marked for replay.
    pub(in crate::delivery) fn replay_requested(&self, webhook: &Webhook) -> Effects {
        let mut state = self.lock();
        state.queue(webhook).replay_requested();
        Effects { wake_fetcher: state.wants_fetch(&webhook.id), ..Effects::default() }
    }

    /// Records that an enabled webhook was stored: its queue applies the new settings, forgets the receiver's health, and
    /// fetches its backlog.
    pub(in crate::delivery) fn webhook_changed(&self, webhook: &Webhook) -> Effects {
        self.change(|state, now| {
            let queue = state.queue(webhook);
            queue.webhook_changed();
            queue.follows_version_of = webhook.updated_at;
            state.settle(&webhook.id, now);
            state.effects(&webhook.id, now)
        })
    }

    /// Records that a webhook was disabled, and gives back all its queued deliveries. Attempts in flight go on.
    pub(in crate::delivery) fn webhook_disabled(&self, webhook_id: &str) -> Effects {
        self.change(|state, now| Effects { give_back: state.empty(webhook_id, now), ..Effects::default() })
    }

    /// Records that a webhook was removed, and its ownership with it. Returns its queued deliveries, to be cancelled.
    /// Attempts in flight go on. A second call returns those that were queued in between.
    #[must_use]
    pub(in crate::delivery) fn webhook_removed(&self, webhook_id: &str) -> Vec<QueuedDelivery> {
        self.change(|state, now| {
            state.node.forget(webhook_id);
            if let Some(queue) = state.queues.get_mut(webhook_id) {
                queue.ownership_forgotten();
            }
            state.empty(webhook_id, now)
        })
    }

    /// Takes the selected deliveries out of memory, to be cancelled. Those whose attempt is in flight are cancelled when it
    /// fails. A second call returns those that were queued in between.
    #[must_use]
    pub(in crate::delivery) fn cancel(&self, selection: &CancelSelection) -> Vec<QueuedDelivery> {
        self.change(|state, now| state.cancel(selection, now))
    }

    /// Returns whether a delivery was cancelled since its attempt, which is in flight, began.
    pub(in crate::delivery) fn is_cancelled(&self, delivery: &QueuedDelivery) -> bool {
        let state = self.lock();
        let label = state.queues.get(delivery.webhook_id.as_str()).and_then(|queue| queue.label.as_deref());
        state.cancellations.concern(delivery, label)
    }

    /// Records that the selected deliveries were cancelled in the database: an ordered webhook may have waited for one of them,
    /// and there may be room for others.
    pub(in crate::delivery) fn cancelled(&self, selection: &CancelSelection) -> Effects {
        self.change(|state, now| {
            let wake_fetcher = state.for_queues_of(selection, now, WebhookQueue::ask_again);
            Effects { wake_fetcher, ..state.worker_effects(now) }
        })
    }

    /// Returns the next delivery to attempt. `None`: the worker that called is to end.
    pub(in crate::delivery) fn take(&self) -> Option<(QueuedDelivery, Effects)> {
        self.change(|state, now| Some((state.next(now)?, state.worker_effects(now))))
    }

    /// Records the result of an attempt, as far as it concerns the receiver. `now_ms` is the time, milliseconds since
    /// 1970. Returns the streak of failures that the attempt belongs to, if it failed.
    ///
    /// The effects are always empty: the calling worker next calls [`WebhookQueues::attempt_ended`] and
    /// [`WebhookQueues::take`], which starts another worker if there is work for it. Starting one here would begin attempts
    /// before the result of this one is stored.
    pub(in crate::delivery) fn judge(
        &self,
        delivery: &QueuedDelivery,
        signal: ReceiverSignal,
        now_ms: i64,
    ) -> (Option<FailureStreak>, Effects) {
        let streak = self.change(|state, now| {
            let streak = state.queues.get_mut(delivery.webhook_id.as_str())?.judge(signal, now, now_ms);
            state.settle(&delivery.webhook_id, now);
            streak
        });
        (streak, Effects::default())
    }

    /// Records that an attempt has ended; `will_retry`: its delivery waits for a retry. Starts no worker: the caller is
    /// one, and next calls [`WebhookQueues::take`].
    pub(in crate::delivery) fn attempt_ended(&self, delivery: &QueuedDelivery, will_retry: bool) -> Effects {
        self.change(|state, now| {
            state.attempt_ended(delivery, will_retry, now);
            Effects { wake_fetcher: state.wants_fetch(&delivery.webhook_id), ..Effects::default() }
        })
    }

    /// Opens the queues whose timer has ended. Returns when the next one ends.
    pub(in crate::delivery) fn open_due(&self) -> (Effects, Option<Instant>) {
        let (mut state, now) = (self.lock(), (self.now)());
        let next = state.open_due(now);
        // The caller learns of these timers by the answer.
        state.timers.take_brought_forward();
        (state.worker_effects(now), next)
    }

    /// Waits until a timer is set that ends before the one that [`WebhookQueues::open_due`] returned.
    pub(in crate::delivery) async fn timer_changed(&self) {
        self.timer_brought_forward.notified().await;
    }

    /// Removes queues without anything worth remembering, and has ordered queues that wait for a retry ask the database
    /// again whether it is still there.
    pub(in crate::delivery) fn prune(&self) -> Effects {
        let (mut state, now) = (self.lock(), (self.now)());
        let mut wake_fetcher = false;
        let Scheduler { queues, held, .. } = &mut *state;
        for queue in queues.values_mut() {
            wake_fetcher |= queue.ask_again_if_blocked() && queue.wants_fetch(held.queue_limit(&queue.company));
        }
        queues.retain(|_, queue| !queue.is_forgettable(now));
        Effects { wake_fetcher, ..Effects::default() }
    }

    /// Returns how many deliveries are in memory, queued or in flight, and how long the oldest has waited.
    pub(in crate::delivery) fn held(&self) -> WaitingCount {
        self.lock().held.count()
    }

    /// Returns the longest time that a queue has had a delivery and a free slot without being served; none has while the
    /// node is fenced. Queues of restricted receivers do not count: they share few attempts, each of which may hang until the
    /// timeout of its webhook.
    pub(in crate::delivery) fn longest_wait(&self) -> Option<Duration> {
        let (state, now) = (self.lock(), (self.now)());
        let counted = state.queues.values().filter(|queue| queue.class() != AttemptClass::Restricted);
        let since = counted.filter_map(|queue| queue.notes.servable_since).min()?;
        (!state.node.is_fenced(now)).then(|| now.duration_since(since))
    }

    /// Stops handing out deliveries. Attempts in flight end by themselves.
    pub(in crate::delivery) fn close(&self) {
        self.lock().closed = true;
    }
}
