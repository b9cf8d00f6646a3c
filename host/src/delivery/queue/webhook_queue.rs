//! One webhook's lane.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::QueuedDelivery;
use super::ownership::Share;
use super::receiver::Health;
use crate::domain::webhook::Webhook;

/// How far a rate-limited lane may catch up with its own pace: what timers are late by.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Where a delivery joins its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// Before all others: somebody asked for it now.
    Front,
    /// Behind those that wait.
    Back,
    /// Behind all live traffic, also what comes later.
    Replay,
}

/// What is known of the receiver that an attempt goes to, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum AttemptClass {
    /// It took the last event.
    Healthy,
    /// Little, and no other attempt is on its way.
    Unproven,
    /// It keeps silent, or the lane has an attempt on its way already: each may hang until the time-out.
    Restricted,
}

impl AttemptClass {
    pub(super) const ALL: [Self; 3] = [Self::Healthy, Self::Unproven, Self::Restricted];

    /// How many attempts of this class may be in flight where `max` may in all.
    pub(super) fn most(self, max: usize) -> usize {
        match self {
            Self::Healthy => max,
            Self::Unproven => max.div_ceil(2),
            Self::Restricted => max.div_ceil(8),
        }
    }
}

/// The part of a webhook that its lane goes by.
#[derive(Debug, Default, PartialEq)]
struct Settings {
    slots: u32,
    /// Between the beginnings of two attempts.
    interval: Option<Duration>,
    ordered: bool,
    /// Whether, of several nodes, one alone sends to it.
    owned: bool,
}

/// What an ordered lane knows of the deliveries that it does not hold.
#[derive(Debug, Default)]
struct Order {
    /// Whether it has asked the database.
    known: bool,
    /// It is asking, and nothing has happened since that makes the answer void.
    asking: bool,
    /// The delivery that waits for its retry: no later one passes it. Identifiers ascend in the order of publishing.
    barrier: Option<String>,
}

/// One webhook's lane.
#[derive(Debug)]
pub(super) struct WebhookQueue {
    pub(super) company: Arc<str>,
    pub(super) event_type: String,
    queue: VecDeque<QueuedDelivery>,
    replay: VecDeque<QueuedDelivery>,
    /// When the webhook was changed by which the lane last began anew: milliseconds since 1970.
    pub(super) anew_at: i64,
    /// Places promised to events that are being stored.
    pub(super) reserved: usize,
    /// Events that are being stored and will be parked: later ones must not pass them.
    pub(super) unplaced: usize,
    in_flight: u32,
    settings: Settings,
    pub(super) share: Share,
    order: Order,
    pub(super) health: Health,
    /// The earliest that its pace allows the next attempt.
    paced: Option<Instant>,
    /// Something may lie in the database for this lane: parked, or to be replayed.
    pub(super) parked: bool,
    pub(super) replayed: bool,
    /// Somebody is fetching it.
    pub(super) refilling: bool,
    /// The number of its last refill.
    pub(super) turn: u64,
    /// For each class, whether the lane has an entry in its company's round.
    pub(super) entries: [bool; AttemptClass::ALL.len()],
    /// The timer that is set for it.
    pub(super) timer: Option<Instant>,
    /// Since when it could be served, if it can.
    pub(super) servable_since: Option<Instant>,
}

impl WebhookQueue {
    pub(super) fn new(webhook: &Webhook, share: Share) -> Self {
        Self {
            company: webhook.company.as_str().into(),
            event_type: webhook.event_type.clone(),
            queue: VecDeque::new(),
            replay: VecDeque::new(),
            anew_at: webhook.updated_at,
            reserved: 0,
            unplaced: 0,
            in_flight: 0,
            settings: Settings::default(),
            share,
            order: Order::default(),
            health: Health::of(webhook),
            paced: None,
            parked: false,
            replayed: false,
            refilling: false,
            turn: 0,
            entries: [false; AttemptClass::ALL.len()],
            timer: None,
            servable_since: None,
        }
    }

    /// Goes by the webhook as it stands now.
    pub(super) fn follow(&mut self, webhook: &Webhook) {
        let interval = webhook.rate_limit.map(|rate| Duration::from_secs(1) / rate.max(1));
        let (slots, ordered, owned) = (webhook.max_in_flight.max(1), webhook.ordered, webhook.has_owner());
        let settings = Settings { slots, interval, ordered, owned };
        if settings == self.settings {
            return;
        }
        let begins = settings.ordered && !self.settings.ordered;
        self.settings = settings;
        // What it holds from before it had an owner waits for the seat, or is given back without it.
        let holds = !self.queue.is_empty() || !self.replay.is_empty();
        self.parked |= holds && !self.is_ours();
        if begins {
            self.ask_again();
            self.queue.make_contiguous().sort_by(|a, b| a.id.cmp(&b.id));
        }
    }

    /// Whether one node answers for all that its webhook is sent.
    fn has_owner(&self) -> bool {
        self.share.is_shared() && self.settings.owned
    }

    /// Whether this node may send for it, and hold what waits for it in memory.
    pub(super) fn is_ours(&self) -> bool {
        self.share.seat || !self.has_owner()
    }

    /// Another node may have the seat, and what was known of what waits no longer holds.
    pub(super) fn lose_seat(&mut self) {
        self.share.seat = false;
        self.order = Order::default();
    }

    /// Somebody changed the webhook: what was known of its receiver no longer holds, and all that waits comes in.
    pub(super) fn start_anew(&mut self) {
        self.health.start_anew();
        self.paced = None;
        (self.parked, self.replayed) = (true, true);
        self.ask_again();
    }

    /// Somebody asks for an attempt now: it waits for no probe, but keeps to the pace.
    pub(super) fn give_another_chance(&mut self) {
        self.health.hurry();
        self.ask_again();
    }

    /// An ordered lane asks the database once more what must not be passed.
    pub(super) fn ask_again(&mut self) {
        self.order = Order::default();
        self.parked |= self.settings.ordered;
    }

    /// The database is being asked.
    pub(super) fn ask(&mut self) {
        self.order.asking = true;
    }

    /// Whether nothing of an ordered lane is on its way, so that the database knows all.
    pub(super) fn is_blocked(&self) -> bool {
        self.settings.ordered && self.in_flight == 0 && self.order.barrier.is_some()
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.settings.ordered
    }

    /// The answer of the database: `barrier` is the first delivery that waits for a retry.
    pub(super) fn learn(&mut self, barrier: Option<String>) {
        if !std::mem::take(&mut self.order.asking) {
            return;
        }
        // One that failed since the database was asked is known here alone.
        self.order.barrier = match (self.order.barrier.take(), barrier) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.order.known = true;
    }

    /// An attempt of this delivery has ended; `again`: it is to be retried.
    pub(super) fn ended(&mut self, delivery: &str, again: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if !self.settings.ordered {
            return;
        }
        if again {
            self.order.barrier = Some(delivery.to_owned());
        } else if self.order.barrier.as_deref() == Some(delivery) {
            self.ask_again();
        }
    }

    /// How many more it may take when a lane may hold `limit`.
    pub(super) fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.queue.len() + self.reserved)
    }

    /// Whether fresh events may be put into it, none of those that wait in the database being passed.
    pub(super) fn takes_fresh(&self) -> bool {
        // What another node has just stored for an ordered lane is known to the database alone.
        let elsewhere = self.settings.ordered && self.share.is_shared();
        !self.parked && !self.refilling && self.unplaced == 0 && self.is_open() && self.is_ours() && !elsewhere
    }

    /// Whether the order stands in nobody's way. While it does, nothing further comes into memory: it would wait there.
    fn is_open(&self) -> bool {
        !self.settings.ordered || (self.order.known && self.order.barrier.is_none())
    }

    /// Whether what is parked for it is worth fetching: half of what it may hold at once. An ordered lane has to ask in
    /// any case before it goes on, and one without its seat for that.
    pub(super) fn wants_parked(&self, limit: usize) -> bool {
        let worth = self.is_open() && self.room(limit) > limit / 2;
        self.parked && !self.refilling && (worth || self.has_to_ask() || !self.is_ours())
    }

    fn has_to_ask(&self) -> bool {
        self.settings.ordered && !self.order.known
    }

    pub(super) fn wants_replays(&self) -> bool {
        self.replayed && !self.parked && !self.refilling && self.queue.is_empty() && self.replay.is_empty()
    }

    pub(super) fn put(&mut self, job: QueuedDelivery, spot: Spot) {
        // The seat may have been lost since its place was promised: it is asked for, or this is given back.
        self.parked |= !self.is_ours();
        match spot {
            Spot::Replay => self.replay.push_back(job),
            _ if self.settings.ordered => {
                let at = self.queue.partition_point(|other| other.id < job.id);
                self.queue.insert(at, job);
            }
            Spot::Front => self.queue.push_front(job),
            Spot::Back => self.queue.push_back(job),
        }
    }

    /// Whether a delivery from the database may come in where the lane may hold `limit`. Into an ordered one it comes
    /// before its turn is over, at the cost of the last, which is given back.
    pub(super) fn admits(&mut self, job: &QueuedDelivery, limit: usize) -> (bool, Option<QueuedDelivery>) {
        if !self.is_ours() {
            return (false, None);
        }
        if self.room(limit) > 0 {
            return (true, None);
        }
        let passes = self.settings.ordered && self.queue.back().is_none_or(|last| last.id > job.id);
        (passes, if passes { self.queue.pop_back() } else { None })
    }

    /// The last in memory of an ordered lane that does not know yet whether the database has what comes before it.
    pub(super) fn doubtful(&self) -> Option<String> {
        self.queue.back().filter(|_| self.has_to_ask()).map(|job| job.id.clone())
    }

    /// Takes out a delivery that waits in it.
    pub(super) fn pick(&mut self, delivery: &str) -> Option<QueuedDelivery> {
        let pick =
            |queue: &mut VecDeque<QueuedDelivery>| queue.remove(queue.iter().position(|job| job.id == delivery)?);
        pick(&mut self.queue).or_else(|| pick(&mut self.replay))
    }

    /// Takes everything that waits in it; there may be more in the database.
    pub(super) fn take_all(&mut self) -> Vec<QueuedDelivery> {
        self.queue.drain(..).chain(self.replay.drain(..)).collect()
    }

    fn next(&mut self) -> Option<&mut VecDeque<QueuedDelivery>> {
        if !self.settings.ordered {
            return [&mut self.queue, &mut self.replay].into_iter().find(|queue| !queue.is_empty());
        }
        match (&self.order.barrier, self.queue.front()) {
            _ if !self.order.known => None,
            (Some(barrier), Some(front)) if front.id > *barrier => None,
            (_, Some(_)) => Some(&mut self.queue),
            (Some(_), None) => None,
            (None, None) => Some(&mut self.replay).filter(|queue| !queue.is_empty()),
        }
    }

    fn slots(&self) -> u32 {
        match &self.settings {
            settings if settings.ordered || self.health.probe_at().is_some() => 1,
            settings if self.has_owner() => settings.slots,
            settings => self.share.part(settings.slots),
        }
    }

    /// Whether something waits and a slot is free for it, now or when [`WebhookQueue::opens_at`] has come.
    pub(super) fn is_ready(&mut self) -> bool {
        self.in_flight < self.slots() && self.is_ours() && self.next().is_some()
    }

    /// The earliest that its pace and its receiver's health allow an attempt; `None`: at any time.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.paced.max(self.health.probe_at())
    }

    pub(super) fn is_servable(&mut self, now: Instant) -> bool {
        self.is_ready() && self.opens_at().is_none_or(|at| at <= now)
    }

    pub(super) fn class(&self) -> AttemptClass {
        match (self.health.is_silent(), self.health.is_proven()) {
            (false, true) => AttemptClass::Healthy,
            (false, false) if self.in_flight == 0 => AttemptClass::Unproven,
            _ => AttemptClass::Restricted,
        }
    }

    /// The next delivery to attempt, where there is one.
    pub(super) fn take(&mut self, now: Instant) -> Option<QueuedDelivery> {
        let job = self.next()?.pop_front()?;
        self.in_flight += 1;
        self.servable_since = None;
        if let Some(interval) = self.settings.interval {
            let late = if interval < CATCH_UP { CATCH_UP } else { Duration::ZERO };
            let earliest = now.checked_sub(late).unwrap_or(now);
            self.paced = Some(self.paced.map_or(now, |paced| paced.max(earliest)) + interval);
        }
        Some(job)
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let coming = self.reserved + self.unplaced > 0;
        let empty = self.queue.is_empty() && self.replay.is_empty() && !coming && self.in_flight == 0;
        // An ordered lane that were forgotten would have to ask again at its next event.
        let still = !self.parked && !self.replayed && !self.refilling && !self.order.known;
        empty && still && self.health.is_forgotten(now) && self.paced.is_none_or(|paced| paced <= now)
    }
}
