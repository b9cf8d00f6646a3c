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

mod delivery;
mod effects;
mod fetches;
mod nodes;
mod ownership;
mod receiver;
mod scheduler;
#[cfg(test)]
mod tests;
mod webhook_queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::webhook::Webhook;
use scheduler::State;
use webhook_queue::Spot;

pub(super) use delivery::QueuedDelivery;
pub(super) use effects::Effects;
pub(super) use fetches::{BacklogFetch, BacklogKind, FetchResult};
pub(super) use receiver::{FailureStreak, ReceiverSignal};
pub(super) use webhook_queue::AttemptClass;

/// The database's answer to an ordered queue: which delivery waits for its retry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::delivery) enum OrderAnswer {
    /// The fetch did not find out.
    #[default]
    NotAsked,
    /// No delivery waits for its retry.
    Open,
    /// This one is the first that does.
    BlockedBy(String),
}

/// Which way a delivery came from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum Origin {
    /// Due or spilled.
    Live,
    /// Marked for replay: it waits behind all live traffic.
    Replay,
}

/// The queues of all webhooks of this process.
pub(in crate::delivery) struct WebhookQueues {
    state: Mutex<State>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    /// A timer was set that ends before all others.
    timers: Notify,
}

/// The claim of a new event, while it is being stored, on its webhook's queue: on a place in memory, or on being the
/// next in the backlog. Dropping it releases it.
pub(in crate::delivery) struct Reservation {
    queues: Arc<WebhookQueues>,
    webhook_id: String,
    in_memory: bool,
}

impl Reservation {
    /// Returns whether the queue keeps a place in memory for the event; if not, it has to be spilled.
    pub(in crate::delivery) fn in_memory(&self) -> bool {
        self.in_memory
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.queues.change(|state, now| {
            if let Some(lane) = state.lanes.get_mut(self.webhook_id.as_str()) {
                let counter = if self.in_memory { &mut lane.reserved } else { &mut lane.unplaced };
                *counter = counter.saturating_sub(1);
            }
            state.settle(&self.webhook_id, now);
        });
    }
}

impl WebhookQueues {
    /// Returns an empty set of queues that has at most `max_attempts` in flight at once.
    pub(in crate::delivery) fn new(max_attempts: usize) -> Self {
        Self::with_clock(max_attempts, Instant::now)
    }

    fn with_clock(max_attempts: usize, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self { state: Mutex::new(State::new(max_attempts)), now: Box::new(now), timers: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state at the present instant, and reports a timer that ends before all others.
    fn change<R>(&self, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state, (self.now)());
        if std::mem::take(&mut state.hurry) {
            self.timers.notify_one();
        }
        result
    }

    /// Reserves a place for a new event of this webhook.
    pub(in crate::delivery) fn reserve(self: &Arc<Self>, webhook: &Webhook) -> Reservation {
        let mut state = self.lock();
        let limit = state.limit();
        let lane = state.lane(webhook);
        let in_memory = lane.takes_fresh() && lane.room(limit) > 0;
        let counter = if in_memory { &mut lane.reserved } else { &mut lane.unplaced };
        *counter += 1;
        Reservation { queues: self.clone(), webhook_id: webhook.id.clone(), in_memory }
    }

    /// Queues the event of a reservation in memory, once it is stored.
    pub(in crate::delivery) fn fill(&self, reservation: &Reservation, delivery: QueuedDelivery) -> Effects {
        debug_assert_eq!(reservation.webhook_id, delivery.webhook_id);
        self.change(|state, now| {
            state.push(delivery, Spot::Back, now);
            state.effects(&reservation.webhook_id, now)
        })
    }

    /// Queues deliveries that were claimed from the database. Gives back those without room; a delivery that is held
    /// already is skipped.
    pub(in crate::delivery) fn offer(
        &self,
        webhook: &Webhook,
        deliveries: Vec<QueuedDelivery>,
        origin: Origin,
    ) -> Effects {
        let mut refused = Vec::new();
        let replayed = origin == Origin::Replay;
        let spot = if replayed { Spot::Replay } else { Spot::Back };
        self.change(|state, now| {
            for job in deliveries {
                let limit = state.limit();
                if state.holds(&job.id) {
                    continue;
                }
                let lane = state.lane(webhook);
                let (admitted, pushed_out) = if replayed { (true, None) } else { lane.admits(&job, limit) };
                lane.parked |= !admitted || pushed_out.is_some();
                if let Some(other) = pushed_out {
                    state.let_go(&other);
                    refused.push(other);
                }
                if admitted {
                    state.push(job, spot, now);
                } else {
                    refused.push(job);
                }
            }
            Effects { start_worker: state.starts_worker(now), give_back: refused, ..Effects::default() }
        })
    }

    /// Queues a delivery that a user wants attempted now: before all others of its webhook, and without waiting for a
    /// probe. Gives it back if too many are queued that way, or another node owns the webhook.
    pub(in crate::delivery) fn retry_now(&self, webhook: &Webhook, delivery: QueuedDelivery) -> Effects {
        self.change(|state, now| {
            let limit = state.limit();
            if !state.holds(&delivery.id) {
                let lane = state.lane(webhook);
                lane.give_another_chance();
                // As many again as are queued without being asked for.
                if lane.room(2 * limit) == 0 || !lane.is_ours() {
                    let wake_fetcher = state.wants_fetch(&webhook.id);
                    return Effects { start_worker: false, wake_fetcher, give_back: vec![delivery] };
                }
                state.push(delivery, Spot::Front, now);
            }
            state.effects(&webhook.id, now)
        })
    }

    /// Moves a queued delivery before all others, as [`WebhookQueues::retry_now`]. One in flight is left alone.
    pub(in crate::delivery) fn expedite(&self, webhook: &Webhook, delivery_id: &str) -> Effects {
        self.change(|state, now| {
            let lane = state.lane(webhook);
            if let Some(job) = lane.pick(delivery_id) {
                lane.give_another_chance();
                lane.put(job, Spot::Front);
            }
            state.settle(&webhook.id, now);
            state.effects(&webhook.id, now)
        })
    }

    /// Takes in that deliveries of this webhook were written to the backlog.
    pub(in crate::delivery) fn spilled(&self, webhook: &Webhook) -> Effects {
        let mut state = self.lock();
        state.lane(webhook).parked = true;
        Effects { wake_fetcher: state.wants_fetch(&webhook.id), ..Effects::default() }
    }

    /// Takes in that deliveries of this webhook were marked for replay.
    pub(in crate::delivery) fn replay_requested(&self, webhook: &Webhook) -> Effects {
        let mut state = self.lock();
        state.lane(webhook).replayed = true;
        Effects { wake_fetcher: state.wants_fetch(&webhook.id), ..Effects::default() }
    }

    /// Takes in that an enabled webhook was stored: its queue follows it, forgets how its receiver answered, and fetches
    /// its backlog.
    pub(in crate::delivery) fn webhook_changed(&self, webhook: &Webhook) -> Effects {
        self.change(|state, now| {
            let lane = state.lane(webhook);
            lane.start_anew();
            lane.anew_at = webhook.updated_at;
            state.settle(&webhook.id, now);
            state.effects(&webhook.id, now)
        })
    }

    /// Takes in that a webhook was disabled, and gives back all its queued deliveries. Attempts in flight go on.
    pub(in crate::delivery) fn webhook_disabled(&self, webhook_id: &str) -> Effects {
        self.change(|state, now| Effects { give_back: state.empty(webhook_id, now), ..Effects::default() })
    }

    /// Takes in that a webhook was removed, with its ownership, and returns its queued deliveries, to be cancelled.
    /// Attempts in flight go on. A second call returns what was queued in between.
    #[must_use]
    pub(in crate::delivery) fn webhook_removed(&self, webhook_id: &str) -> Vec<QueuedDelivery> {
        self.change(|state, now| {
            state.seats.ours.remove(webhook_id);
            if let Some(lane) = state.lanes.get_mut(webhook_id) {
                lane.lose_seat();
            }
            state.empty(webhook_id, now)
        })
    }

    /// Returns the next delivery to attempt. `None`: the worker that called is to end.
    pub(in crate::delivery) fn take(&self) -> Option<(QueuedDelivery, Effects)> {
        self.change(|state, now| {
            let delivery = state.next(now)?;
            Some((delivery, Effects { start_worker: state.starts_worker(now), ..Effects::default() }))
        })
    }

    /// Takes in what an attempt shows about its receiver. `now_ms` is the time, milliseconds since 1970. Returns the
    /// streak of failures that the attempt belongs to, if it failed.
    ///
    /// The effects are empty: the worker that judges goes on to [`WebhookQueues::attempt_ended`] and
    /// [`WebhookQueues::take`], which asks for the next worker.
    pub(in crate::delivery) fn judge(
        &self,
        delivery: &QueuedDelivery,
        signal: ReceiverSignal,
        now_ms: i64,
    ) -> (Option<FailureStreak>, Effects) {
        let streak = self.change(|state, now| {
            let lane = state.lanes.get_mut(delivery.webhook_id.as_str())?;
            let streak = lane.health.judge(signal, now, now_ms);
            state.settle(&delivery.webhook_id, now);
            streak
        });
        (streak, Effects::default())
    }

    /// Takes in that an attempt has ended; `will_retry`: the delivery is due again later. Never asks for a worker: the
    /// caller is one, and goes on to [`WebhookQueues::take`].
    pub(in crate::delivery) fn attempt_ended(&self, delivery: &QueuedDelivery, will_retry: bool) -> Effects {
        self.change(|state, now| {
            state.ended(delivery, will_retry, now);
            Effects { wake_fetcher: state.wants_fetch(&delivery.webhook_id), ..Effects::default() }
        })
    }

    /// Opens the queues whose timer has ended. Returns when the next one ends.
    pub(in crate::delivery) fn open_due(&self) -> (Effects, Option<Instant>) {
        let mut state = self.lock();
        let now = (self.now)();
        let next = state.open(now);
        state.hurry = false;
        (Effects { start_worker: state.starts_worker(now), ..Effects::default() }, next)
    }

    /// Waits until a timer is set that ends before the one that [`WebhookQueues::open_due`] returned.
    pub(in crate::delivery) async fn timer_changed(&self) {
        self.timers.notified().await;
    }

    /// Removes queues without anything worth remembering, and has ordered queues that wait for a retry ask the database
    /// again whether it is still there.
    pub(in crate::delivery) fn prune(&self) -> Effects {
        let (mut state, now) = (self.lock(), (self.now)());
        let limit = state.limit();
        let mut wake_fetcher = false;
        for lane in state.lanes.values_mut().filter(|lane| lane.is_blocked()) {
            lane.ask_again();
            wake_fetcher |= lane.wants_parked(limit);
        }
        state.lanes.retain(|_, lane| !lane.is_idle(now));
        Effects { wake_fetcher, ..Effects::default() }
    }

    /// Returns the longest time that a queue has had a delivery and a free slot without being served; none has while
    /// the node is fenced.
    pub(in crate::delivery) fn longest_wait(&self) -> Option<Duration> {
        let (state, now) = (self.lock(), (self.now)());
        let since = state.lanes.values().filter_map(|lane| lane.servable_since).min()?;
        (!state.seats.is_fenced(now)).then(|| now.duration_since(since))
    }

    /// Stops handing out deliveries. Attempts in flight end by themselves.
    pub(in crate::delivery) fn close(&self) {
        self.lock().closed = true;
    }
}
