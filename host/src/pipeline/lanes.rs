//! Lanes: one per webhook, served in turn, so that no webhook's backlog stands before another's events.
//!
//! Companies take turns before their webhooks do, and one may have only as many attempts in flight as are free besides:
//! alone half of all, two a third each. So there is always room for one more company, whatever hangs at the others. Of
//! receivers that are not known to be well, one attempt of each lane may take half of all, more of it or of those that keep
//! silent an eighth, and a company its part of these: thousands of receivers that do not answer leave room for those that
//! do, and need no more memory than that.
//!
//! A lane holds a bounded number of deliveries in memory, and all lanes together a bounded number of bytes. What does
//! not fit is parked in the database and comes in, oldest first, when there is room. A lane with something parked takes
//! nothing fresh: it would overtake. What is replayed comes in when a lane has nothing else.
//!
//! An ordered lane has one attempt in flight at most, and a delivery that waits for its retry stays before the later ones.
//!
//! Where several nodes serve one database, `seats.rs` says which of them delivers what.

mod health;
mod lane;
mod seats;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::event::Event;
use crate::domain::webhook::Webhook;
use lane::{Lane, Spot};
use state::State;

pub(super) use health::{Streak, Verdict};
pub(super) use lane::Class;

/// What a delivery takes in memory besides its event's data and headers, about, in bytes.
const OVERHEAD: usize = 768;
/// Deliveries of a replay that a lane holds: few, since they wait there behind all live traffic.
const REPLAYS: usize = 32;
/// Lanes that are refilled in one go.
const REFILLS: usize = 64;

/// A delivery to be attempted.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) delivery: String,
    pub(super) webhook: String,
    /// Under which this process has it; it ends under no other.
    pub(super) lease: Option<Arc<str>>,
    pub(super) attempt_count: u32,
    /// Attempts that the schedule does not count.
    pub(super) attempt_base: u32,
    pub(super) event: Arc<Event>,
    /// As what it is in flight.
    pub(super) class: Class,
}

impl Job {
    /// Of an event that was not attempted before.
    pub(super) fn fresh(delivery: String, webhook: &Webhook, event: Arc<Event>) -> Self {
        Self {
            delivery,
            webhook: webhook.id.clone(),
            lease: None,
            attempt_count: 0,
            attempt_base: 0,
            event,
            class: Class::First,
        }
    }

    fn size(&self) -> usize {
        let headers = self.event.headers.iter().map(|(name, value)| name.len() + value.len());
        OVERHEAD + self.event.data.len() + headers.sum::<usize>()
    }
}

/// All lanes of this process.
pub(super) struct Lanes {
    state: Mutex<State>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    /// A timer was set that may be the next.
    pub(super) timers: Notify,
}

/// A fresh event that is being stored is known to its lane, which keeps a place for it or will find it parked. Dropped
/// unused, the place is free again.
pub(super) struct Place {
    lanes: Arc<Lanes>,
    webhook: String,
    /// Whether there is room for it in memory.
    pub(super) in_memory: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.lanes.lock();
        if let Some(lane) = state.lanes.get_mut(self.webhook.as_str()) {
            let counter = if self.in_memory { &mut lane.reserved } else { &mut lane.unplaced };
            *counter = counter.saturating_sub(1);
        }
        state.settle(&self.webhook, (self.lanes.now)());
    }
}

/// What a lane has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What is parked.
    Parked,
    /// What is parked, up to the first that waits for its retry.
    Ordered,
    /// What is to be replayed.
    Replayed,
}

/// A lane that has room for something in the database.
#[derive(Debug)]
pub(super) struct Refill {
    pub(super) webhook: Arc<str>,
    pub(super) company: Arc<str>,
    pub(super) event_type: String,
    pub(super) wanted: Wanted,
    pub(super) room: usize,
    /// Only what is older than this delivery, the last in memory: until nothing of it is left, the lane must not go on.
    pub(super) before: Option<String>,
    /// The webhook has one owner among the nodes, and this one does not know to be it: it has to ask for the seat first.
    pub(super) seatless: bool,
    /// Numbers the times that this node has lost all its seats.
    pub(super) term: u64,
}

/// How a refill ended.
#[derive(Debug, Default)]
pub(super) struct Refilled {
    /// There may be more of it in the database.
    pub(super) more: bool,
    /// For an ordered lane, the first delivery that waits for its retry; the inner `None`: there is none.
    pub(super) barrier: Option<Option<String>>,
}

impl Lanes {
    /// No lanes yet; at most `max` attempts at once over all of them.
    pub(super) fn new(max: usize) -> Self {
        Self::at(max, Instant::now)
    }

    fn at(max: usize, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self { state: Mutex::new(State::new(max)), now: Box::new(now), timers: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, at this instant, and wakes the timer where it has to run earlier now.
    fn change<R>(&self, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state, (self.now)());
        if std::mem::take(&mut state.hurry) {
            self.timers.notify_one();
        }
        result
    }

    /// A place for a fresh event.
    pub(super) fn reserve(self: &Arc<Self>, webhook: &Webhook) -> Place {
        let mut state = self.lock();
        let limit = state.limit();
        let lane = state.lane(webhook);
        let in_memory = lane.takes_fresh() && lane.room(limit) > 0;
        let counter = if in_memory { &mut lane.reserved } else { &mut lane.unplaced };
        *counter += 1;
        Place { lanes: self.clone(), webhook: webhook.id.clone(), in_memory }
    }

    /// Puts a stored event into its place. True: start a worker.
    pub(super) fn put(&self, place: &Place, job: Job) -> bool {
        debug_assert_eq!(place.webhook, job.webhook);
        self.change(|state, now| {
            state.push(job, Spot::Back, now);
            state.starts_worker(now)
        })
    }

    /// Puts deliveries that were taken from the database into their lane. Answers whether to start a worker, and those
    /// to be parked, since there is no room for them.
    pub(super) fn offer(&self, webhook: &Webhook, jobs: Vec<Job>, replayed: bool) -> (bool, Vec<Job>) {
        let mut refused = Vec::new();
        let spot = if replayed { Spot::Replay } else { Spot::Back };
        self.change(|state, now| {
            for job in jobs {
                let limit = state.limit();
                if state.holds(&job.delivery) {
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
            (state.starts_worker(now), refused)
        })
    }

    /// Puts a delivery that somebody asked for before all others of its lane, which does not wait for a probe. Answers
    /// whether to start a worker, and gives it back where too many were asked for already.
    pub(super) fn urge(&self, webhook: &Webhook, job: Job) -> (bool, Option<Job>) {
        self.change(|state, now| {
            if state.holds(&job.delivery) {
                return (false, None);
            }
            let limit = state.limit();
            let lane = state.lane(webhook);
            lane.give_another_chance();
            // As many again as come by themselves.
            if lane.room(2 * limit) == 0 || !lane.is_ours() {
                return (false, Some(job));
            }
            state.push(job, Spot::Front, now);
            (state.starts_worker(now), None)
        })
    }

    /// Has a delivery that waits in memory come before all others, as [`Lanes::urge`]. One that is in flight is left
    /// alone. True: start a worker.
    pub(super) fn hasten(&self, webhook: &Webhook, delivery: &str) -> bool {
        self.change(|state, now| {
            let lane = state.lane(webhook);
            if let Some(job) = lane.pick(delivery) {
                lane.give_another_chance();
                lane.put(job, Spot::Front);
            }
            state.settle(&webhook.id, now);
            state.starts_worker(now)
        })
    }

    /// Something was parked for this webhook. True: there is room for it already.
    pub(super) fn parked(&self, webhook: &Webhook) -> bool {
        let mut state = self.lock();
        let limit = state.limit();
        let lane = state.lane(webhook);
        lane.parked = true;
        lane.wants_parked(limit)
    }

    /// Something is to be replayed for this webhook.
    pub(super) fn replayed(&self, webhook: &Webhook) {
        self.lock().lane(webhook).replayed = true;
    }

    /// The webhook was stored anew: its lane goes by it, and what is parked comes in. True: start a worker.
    pub(super) fn changed(&self, webhook: &Webhook) -> bool {
        self.change(|state, now| {
            let lane = state.lane(webhook);
            lane.start_anew();
            lane.anew_at = webhook.updated_at;
            state.settle(&webhook.id, now);
            state.starts_worker(now)
        })
    }

    /// Some lanes with room for at least half a buffer of what lies in the database, those first whose turn was the
    /// longest ago. Each is handed out once, until [`Lanes::refilled`].
    pub(super) fn to_refill(&self) -> Vec<Refill> {
        let mut state = self.lock();
        let (limit, turn, term) = (state.limit(), state.next_turn(), state.seats.term());
        let ripe = |(_, lane): &(&Arc<str>, &mut Lane)| lane.wants_parked(limit) || lane.wants_replays();
        let mut lanes: Vec<_> = state.lanes.iter_mut().filter(ripe).collect();
        lanes.sort_by_key(|(_, lane)| lane.turn);
        let refill = |(webhook, lane): (&Arc<str>, &mut Lane)| {
            let (wanted, room) = match lane.wants_parked(limit) {
                true if lane.is_ordered() => (Wanted::Ordered, lane.room(limit)),
                true => (Wanted::Parked, lane.room(limit)),
                false => (Wanted::Replayed, REPLAYS),
            };
            let before = lane.doubtful().filter(|_| wanted == Wanted::Ordered);
            let room = if before.is_some() { limit } else { room };
            (lane.refilling, lane.turn) = (true, turn);
            match wanted {
                Wanted::Replayed => lane.replayed = false,
                Wanted::Parked => lane.parked = false,
                Wanted::Ordered => {
                    lane.parked = false;
                    lane.ask();
                }
            }
            let (company, event_type) = (lane.company.clone(), lane.event_type.clone());
            let seatless = !lane.is_ours();
            Refill { webhook: webhook.clone(), company, event_type, wanted, room, before, seatless, term }
        };
        lanes.into_iter().take(REFILLS).map(refill).collect()
    }

    /// Ends a refill. True: start a worker.
    pub(super) fn refilled(&self, refill: &Refill, result: Refilled) -> bool {
        self.change(|state, now| {
            if let Some(lane) = state.lanes.get_mut(&refill.webhook) {
                lane.refilling = false;
                match refill.wanted {
                    Wanted::Replayed => lane.replayed |= result.more,
                    Wanted::Parked | Wanted::Ordered => lane.parked |= result.more,
                }
                if let Some(barrier) = result.barrier {
                    lane.learn(barrier);
                }
            }
            state.settle(&refill.webhook, now);
            state.starts_worker(now)
        })
    }

    /// The next delivery to attempt, lanes taking turns, and whether to start one more worker, since there is more.
    /// `None`: the worker that asked is to end.
    pub(super) fn take(&self) -> Option<(Job, bool)> {
        self.change(|state, now| Some((state.next(now)?, state.starts_worker(now))))
    }

    /// What an attempt says about its receiver. `now_ms` is the time, milliseconds since 1970. Answers the streak of
    /// failures that it belongs to, if it is one.
    pub(super) fn judge(&self, job: &Job, verdict: Verdict, now_ms: i64) -> Option<Streak> {
        self.change(|state, now| {
            let lane = state.lanes.get_mut(job.webhook.as_str())?;
            let streak = lane.health.judge(verdict, now, now_ms);
            state.settle(&job.webhook, now);
            streak
        })
    }

    /// An attempt has ended; `again`: it is to be retried. True: its lane has room for what is in the database.
    pub(super) fn done(&self, job: &Job, again: bool) -> bool {
        self.change(|state, now| {
            state.ended(job, again, now);
            let limit = state.limit();
            let lane = state.lanes.get(job.webhook.as_str());
            lane.is_some_and(|lane| lane.wants_parked(limit) || lane.wants_replays())
        })
    }

    /// Empties the lane of a webhook that was removed or disabled; what is in flight stays.
    pub(super) fn drain(&self, webhook: &str) -> Vec<Job> {
        self.change(|state, now| state.empty(webhook, now))
    }

    /// Opens the lanes whose time has come. Answers whether to start a worker, and when the next one opens.
    pub(super) fn open(&self) -> (bool, Option<Instant>) {
        let mut state = self.lock();
        let now = (self.now)();
        let next = state.open(now);
        state.hurry = false;
        (state.starts_worker(now), next)
    }

    /// Forgets lanes of which nothing is worth remembering, and has ordered lanes that wait for a retry ask once more
    /// whether it is still there.
    pub(super) fn tidy(&self) {
        let (mut state, now) = (self.lock(), (self.now)());
        for lane in state.lanes.values_mut().filter(|lane| lane.is_blocked()) {
            lane.ask_again();
        }
        state.lanes.retain(|_, lane| !lane.is_idle(now));
    }

    /// The longest that a lane has had something to send and a free slot, without being served; none has while the node
    /// is fenced.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        let (state, now) = (self.lock(), (self.now)());
        let since = state.lanes.values().filter_map(|lane| lane.servable_since).min()?;
        (!state.seats.is_fenced(now)).then(|| now.duration_since(since))
    }

    /// No more deliveries are handed out; those in flight end by themselves.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }
}
