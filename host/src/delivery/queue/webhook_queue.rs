//! The queue of one webhook: its content, and the rules by which deliveries join and leave it.

mod changes;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::attempt_class::PerClass;
use super::backlog::{Backlog, BacklogRows};
use super::ordering::DeliveryOrder;
use super::ownership::{NodeOwnership, Ownership};
use super::pace::Pace;
use super::queue_settings::QueueSettings;
use super::receiver_health::{FailureStreak, ReceiverHealth};
use super::throttle::Throttle;
use super::{AttemptClass, QueuedDelivery, ReceiverSignal};
use crate::domain::webhook::Webhook;

/// Where a delivery joins its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Before all others: a user wants it attempted now.
    Front,
    /// Behind those that wait.
    Back,
    /// Behind all live traffic, also later one.
    Replay,
}

/// Whether a delivery from the database may join a queue.
#[derive(Debug)]
pub(super) enum Admission {
    /// There is room.
    Admitted,
    /// There is room in place of this later one, which leaves the queue.
    InsteadOf(QueuedDelivery),
    /// There is none, or another node owns the webhook.
    Refused,
}

/// The part of a queue that a delivery waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Live,
    Retries,
    Replays,
}

/// The next delivery of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NextDelivery {
    part: Part,
    is_retry: bool,
    /// When its attempt may begin, as far as its receiver is concerned; `None`: at any time.
    opens_at: Option<Instant>,
}

/// New events that are being stored.
#[derive(Debug, Default)]
struct Reserved {
    /// Those with a place in memory.
    in_memory: usize,
    /// Those that will be spilled: later ones must not pass them.
    spilling: usize,
}

impl Reserved {
    fn count_mut(&mut self, in_memory: bool) -> &mut usize {
        if in_memory { &mut self.in_memory } else { &mut self.spilling }
    }

    fn is_empty(&self) -> bool {
        self.in_memory == 0 && self.spilling == 0
    }
}

/// The scheduler's notes about a queue.
#[derive(Debug, Default)]
pub(super) struct SchedulerNotes {
    /// For each class, whether the queue has an entry in its company's round.
    pub(super) listed: PerClass<bool>,
    /// The timer that is in force.
    pub(super) timer: Option<Instant>,
    /// Since when it could have been served, if it can be.
    pub(super) servable_since: Option<Instant>,
}

/// The queue of one webhook.
#[derive(Debug)]
pub(super) struct WebhookQueue {
    pub(super) company: Arc<str>,
    pub(super) event_type: String,
    pub(super) label: Option<String>,
    /// First attempts, and those that a user asked for; in an ordered queue, retries as well.
    live: VecDeque<QueuedDelivery>,
    /// Retries take turns with first attempts, so that neither holds up the other.
    retries: VecDeque<QueuedDelivery>,
    retries_are_next: bool,
    replays: VecDeque<QueuedDelivery>,
    reserved: Reserved,
    in_flight: u32,
    settings: QueueSettings,
    /// `updated_at` of the webhook with which the queue began, or that was last reported as changed.
    pub(super) follows_version_of: i64,
    ownership: Ownership,
    order: DeliveryOrder,
    receiver: ReceiverHealth,
    throttle: Throttle,
    pace: Pace,
    backlog: Backlog,
    /// The number of its last fetch.
    pub(super) last_fetch: u64,
    pub(super) notes: SchedulerNotes,
}

impl WebhookQueue {
    /// Returns an empty queue. An ordered one has to ask the database first.
    pub(super) fn new(webhook: &Webhook, node: &NodeOwnership) -> Self {
        let settings = QueueSettings::of(webhook);
        let backlog = if settings.ordered { Backlog::Wanted(BacklogRows::Spilled) } else { Backlog::Idle };
        Self {
            company: webhook.company.as_str().into(),
            event_type: webhook.event_type.clone(),
            label: webhook.label.clone(),
            live: VecDeque::new(),
            retries: VecDeque::new(),
            retries_are_next: false,
            replays: VecDeque::new(),
            reserved: Reserved::default(),
            in_flight: 0,
            settings,
            follows_version_of: webhook.updated_at,
            ownership: node.ownership_of(&webhook.id, settings.single_owner),
            order: DeliveryOrder::new(settings.ordered),
            receiver: ReceiverHealth::new(webhook),
            throttle: Throttle::default(),
            pace: Pace::new(settings.rate_limit),
            backlog,
            last_fetch: 0,
            notes: SchedulerNotes::default(),
        }
    }

    /// Counts a new event that is about to be stored. Returns whether a place in memory is kept for it.
    pub(super) fn reserve(&mut self, limit: usize) -> bool {
        let in_memory = self.takes_new_events() && self.room(limit) > 0;
        *self.reserved.count_mut(in_memory) += 1;
        in_memory
    }

    /// Ends the effect of [`WebhookQueue::reserve`].
    pub(super) fn release(&mut self, in_memory: bool) {
        let count = self.reserved.count_mut(in_memory);
        *count = count.saturating_sub(1);
    }

    /// Returns whether new events may join it without passing any that wait in the database.
    fn takes_new_events(&self) -> bool {
        // An event that another node has just stored for an ordered webhook is known to the database alone.
        let stored_elsewhere = self.settings.ordered && self.ownership.is_among_several();
        self.backlog.lets_new_events_in()
            && self.reserved.spilling == 0
            && self.order.is_open()
            && self.may_serve()
            && !stored_elsewhere
    }

    /// Returns how many more live deliveries fit in if a queue may hold `limit`.
    pub(super) fn room(&self, limit: usize) -> usize {
        self.room_for_requested(self.settings.limit(limit))
    }

    /// Returns the same for deliveries that a user wants attempted now, however slow the webhook is.
    pub(super) fn room_for_requested(&self, limit: usize) -> usize {
        limit.saturating_sub(self.live.len() + self.retries.len() + self.reserved.in_memory)
    }

    /// Decides whether a delivery from the database may join. An ordered queue admits it before its turn is over, in place
    /// of its last one.
    pub(super) fn admit(&mut self, delivery: &QueuedDelivery, limit: usize) -> Admission {
        if !self.may_serve() {
            return Admission::Refused;
        }
        if self.room(limit) > 0 {
            return Admission::Admitted;
        }
        if !self.settings.ordered {
            return Admission::Refused;
        }
        match self.live.pop_back_if(|last| last.id > delivery.id) {
            Some(last) => Admission::InsteadOf(last),
            None if self.live.is_empty() => Admission::Admitted,
            None => Admission::Refused,
        }
    }

    /// Queues a delivery.
    pub(super) fn push(&mut self, delivery: QueuedDelivery, position: Position) {
        // The ownership may have been lost since a place was reserved: it is claimed again, or the delivery given back.
        if !self.may_serve() {
            self.spilled();
        }
        match position {
            Position::Replay => self.replays.push_back(delivery),
            Position::Front | Position::Back if self.settings.ordered => {
                let at = self.live.partition_point(|other| other.id < delivery.id);
                self.live.insert(at, delivery);
            }
            Position::Front => self.live.push_front(delivery),
            Position::Back if delivery.is_retry() => self.retries.push_back(delivery),
            Position::Back => self.live.push_back(delivery),
        }
    }

    /// Takes a queued delivery out.
    pub(super) fn remove(&mut self, delivery_id: &str) -> Option<QueuedDelivery> {
        let remove = |queue: &mut VecDeque<QueuedDelivery>| {
            queue.remove(queue.iter().position(|delivery| delivery.id == delivery_id)?)
        };
        let parts = [&mut self.live, &mut self.retries, &mut self.replays];
        parts.into_iter().find_map(remove)
    }

    fn take_all(&mut self) -> Vec<QueuedDelivery> {
        self.live.drain(..).chain(self.retries.drain(..)).chain(self.replays.drain(..)).collect()
    }

    /// Takes the next delivery for an attempt that begins now, if one may.
    pub(super) fn take(&mut self, now: Instant) -> Option<QueuedDelivery> {
        if !self.is_servable(now) {
            return None;
        }
        let next = self.next(now)?;
        let delivery = match next.part {
            Part::Live => self.live.pop_front(),
            Part::Retries => self.retries.pop_front(),
            Part::Replays => self.replays.pop_front(),
        }?;
        self.retries_are_next = next.part != Part::Retries;
        if next.is_retry {
            self.receiver.retry_began(now);
        }
        self.in_flight += 1;
        self.notes.servable_since = None;
        self.pace.attempt_began(now);
        self.throttle.attempt_began(now);
        Some(delivery)
    }

    /// Records the result of an attempt; see [`ReceiverHealth::attempt_ended`].
    pub(super) fn judge(&mut self, signal: ReceiverSignal, now: Instant, now_ms: i64) -> Option<FailureStreak> {
        match signal {
            ReceiverSignal::Throttled(wait) => self.throttle.throttled(wait, self.in_flight, now),
            ReceiverSignal::Accepted => self.throttle.answered(true),
            ReceiverSignal::Refused | ReceiverSignal::Overloaded | ReceiverSignal::NoResponse => {
                self.throttle.answered(false);
            }
            ReceiverSignal::PluginFailed | ReceiverSignal::Nothing => self.throttle.nothing_sent(now),
        }
        self.receiver.attempt_ended(signal, now, now_ms)
    }

    /// Records that an attempt has ended; `will_retry`: its delivery waits for a retry.
    pub(super) fn attempt_ended(&mut self, delivery_id: &str, will_retry: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.order.attempt_ended(delivery_id, will_retry) {
            self.spilled();
        }
    }

    /// Returns whether spilled rows are worth a fetch: half of a buffer at once. An ordered queue that has to ask needs one
    /// in any case, and one without its ownership needs one for that.
    pub(super) fn wants_spilled(&self, limit: usize) -> bool {
        let worth_it = self.order.is_open() && self.room(limit) > self.settings.limit(limit) / 2;
        self.backlog.has_spilled() && (worth_it || self.order.has_to_ask() || !self.may_serve())
    }

    /// Returns whether spilled rows or replays are worth a fetch.
    pub(super) fn wants_fetch(&self, limit: usize) -> bool {
        self.wants_spilled(limit) || (self.backlog.has_only_replays() && self.holds_nothing())
    }

    /// Returns the last delivery of an ordered queue that does not know yet whether the database has earlier ones.
    pub(super) fn last_in_doubt(&self) -> Option<&QueuedDelivery> {
        self.live.back().filter(|_| self.order.has_to_ask())
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.settings.ordered
    }

    /// Returns whether this node may hold its deliveries in memory and send them.
    pub(super) fn may_serve(&self) -> bool {
        self.ownership.may_serve()
    }

    fn holds_nothing(&self) -> bool {
        self.live.is_empty() && self.retries.is_empty() && self.replays.is_empty()
    }

    /// Returns the next delivery: the one that may be attempted first. Replays are behind all others.
    fn next(&self, now: Instant) -> Option<NextDelivery> {
        let next = |part, is_retry| {
            let opens_at = self.receiver.opens_at(is_retry).filter(|at| *at > now);
            NextDelivery { part, is_retry, opens_at }
        };
        let first = self.live.front().filter(|first| self.order.lets_pass(&first.id));
        let live = first.map(|first| next(Part::Live, self.settings.ordered && first.is_retry()));
        let retry = self.retries.front().map(|_| next(Part::Retries, true));
        match (live, retry) {
            (Some(live), Some(retry)) => {
                let retry_first = (retry.opens_at, !self.retries_are_next) < (live.opens_at, self.retries_are_next);
                Some(if retry_first { retry } else { live })
            }
            (None, None) if self.live.is_empty() && self.order.is_open() => {
                self.replays.front().map(|_| next(Part::Replays, false))
            }
            (live, retry) => live.or(retry),
        }
    }

    fn slots(&self) -> u32 {
        if self.settings.ordered || self.receiver.is_only_probed() {
            return 1;
        }
        self.throttle.slots(self.ownership.slots(self.settings.slots))
    }

    /// Returns whether a delivery and a slot for it are there, now or when [`WebhookQueue::opens_at`] has come.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.in_flight < self.slots() && self.may_serve() && self.next(now).is_some()
    }

    /// Returns the earliest attempt that the pace, a pause and the receiver's health allow; `None`: at any time.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let receiver = self.next(now).and_then(|next| next.opens_at);
        self.pace.next_at().max(self.throttle.opens_at()).max(receiver)
    }

    /// Returns whether an attempt may begin now.
    fn is_servable(&self, now: Instant) -> bool {
        self.is_ready(now) && self.opens_at(now).is_none_or(|at| at <= now)
    }

    /// Returns the class of its next attempt.
    pub(super) fn class(&self) -> AttemptClass {
        match () {
            () if self.receiver.is_healthy() => AttemptClass::Healthy,
            () if !self.receiver.is_silent() && self.in_flight == 0 => AttemptClass::Unproven,
            () => AttemptClass::Restricted,
        }
    }

    /// Returns whether nothing is lost by removing it.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        // If an ordered queue were removed, it would have to ask again at its next event.
        let knows_its_order = self.order.is_on() && !self.order.has_to_ask();
        self.holds_nothing()
            && self.reserved.is_empty()
            && self.in_flight == 0
            && self.backlog.is_idle()
            && !knows_its_order
            && self.receiver.is_forgettable(now)
            && self.pace.allows(now)
            && self.throttle.is_forgettable(now)
    }
}
