//! All queues, and the service of them: rounds, timers, memory and workers.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::cancellations::RecentCancellations;
use super::memory::HeldDeliveries;
use super::ownership::NodeOwnership;
use super::rounds::FairRounds;
use super::timers::Timers;
use super::webhook_queue::{Admission, Position, WebhookQueue};
use super::{AttemptClass, Effects, Origin, QueuedDelivery};
use crate::domain::subscription::EventTypePattern;
use crate::domain::webhook::Webhook;
use crate::shares::Share;
use crate::store::CancelSelection;

/// The content of the lock.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) queues: HashMap<Arc<str>, WebhookQueue>,
    pub(super) rounds: FairRounds,
    pub(super) held: HeldDeliveries,
    pub(super) timers: Timers,
    pub(super) node: NodeOwnership,
    pub(super) cancellations: RecentCancellations,
    /// Workers that run, or were asked for. As many as attempts at most.
    workers: usize,
    max_workers: usize,
    pub(super) closed: bool,
    /// Numbers the fetches.
    fetches: u64,
}

impl Scheduler {
    /// Returns a scheduler without queues, for at most `max_attempts` in flight. Its deliveries take `memory`.
    pub(super) fn new(max_attempts: usize, memory: Arc<Share>) -> Self {
        Self {
            queues: HashMap::new(),
            rounds: FairRounds::new(max_attempts),
            held: HeldDeliveries::new(memory),
            timers: Timers::default(),
            node: NodeOwnership::default(),
            cancellations: RecentCancellations::default(),
            workers: 0,
            max_workers: max_attempts,
            closed: false,
            fetches: 0,
        }
    }

    /// Returns the queue of a webhook, made if need be, as the webhook stands.
    pub(super) fn queue(&mut self, webhook: &Webhook) -> &mut WebhookQueue {
        let node = &self.node;
        let queue = self.queues.entry(webhook.id.as_str().into()).or_insert_with(|| WebhookQueue::new(webhook, node));
        queue.follow(webhook, node);
        queue
    }

    /// Returns how many deliveries a queue of this company may hold now.
    pub(super) fn queue_limit(&self, company: &str) -> usize {
        self.held.queue_limit(company)
    }

    /// Returns whether nothing at all is held or remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.rounds.is_empty()
    }

    /// Queues a delivery of a known webhook.
    pub(super) fn push(&mut self, mut delivery: QueuedDelivery, position: Position, now: Instant) {
        let Some((id, _)) = self.queues.get_key_value(delivery.webhook_id.as_str()) else {
            return;
        };
        let id = id.clone();
        if let Some(queue) = self.queues.get_mut(&id) {
            self.held.insert(&mut delivery, &queue.company);
            queue.push(delivery, position);
        }
        self.settle(&id, now);
    }

    /// Queues a delivery from the database, unless it is held already. Returns the one that finds no room: it, or a later
    /// one.
    pub(super) fn offer(
        &mut self,
        webhook: &Webhook,
        delivery: QueuedDelivery,
        origin: Origin,
        now: Instant,
    ) -> Option<QueuedDelivery> {
        if self.held.contains(&delivery.id) {
            return None;
        }
        let limit = self.queue_limit(&webhook.company);
        let queue = self.queue(webhook);
        if origin == Origin::Replay {
            self.push(delivery, Position::Replay, now);
            return None;
        }
        let refused = match queue.admit(&delivery, limit) {
            Admission::Admitted => {
                self.push(delivery, Position::Back, now);
                return None;
            }
            Admission::InsteadOf(last) => {
                queue.spilled();
                self.held.remove(&last);
                self.push(delivery, Position::Back, now);
                last
            }
            Admission::Refused => {
                queue.spilled();
                delivery
            }
        };
        Some(refused)
    }

    /// Counts deliveries that leave memory without an attempt.
    pub(super) fn forget(&mut self, deliveries: &[QueuedDelivery]) {
        for delivery in deliveries {
            self.held.remove(delivery);
        }
    }

    /// Empties the queue of a webhook that was disabled or removed. Attempts in flight go on.
    pub(super) fn empty(&mut self, webhook_id: &str, now: Instant) -> Vec<QueuedDelivery> {
        let Some(queue) = self.queues.get_mut(webhook_id) else {
            return Vec::new();
        };
        let deliveries = queue.webhook_gone();
        self.forget(&deliveries);
        self.settle(webhook_id, now);
        deliveries
    }

    /// Takes the selected deliveries out of their queues. Those whose attempt is in flight end with it.
    pub(super) fn cancel(&mut self, selection: &CancelSelection, now: Instant) -> Vec<QueuedDelivery> {
        self.cancellations.add(selection);
        let mut cancelled = Vec::new();
        self.for_queues_of(selection, now, |queue| cancelled.extend(queue.cancel(selection)));
        self.forget(&cancelled);
        cancelled
    }

    /// Changes the queues that may have deliveries of a selection, and settles them. Returns whether one of them wants a fetch.
    pub(super) fn for_queues_of(
        &mut self,
        selection: &CancelSelection,
        now: Instant,
        mut change: impl FnMut(&mut WebhookQueue),
    ) -> bool {
        let (limit, mut ids, mut wants_fetch) = (self.queue_limit(&selection.company), Vec::new(), false);
        for (id, queue) in &mut self.queues {
            let subscribed = EventTypePattern::stored(&queue.event_type);
            let types = &selection.filter.types;
            let of_type = types.is_empty() || types.iter().any(|name| subscribed.matches(name));
            if *queue.company == *selection.company && of_type {
                change(queue);
                wants_fetch |= queue.wants_fetch(limit);
                ids.push(id.clone());
            }
        }
        for id in ids {
            self.settle(&id, now);
        }
        wants_fetch
    }

    /// Changes every queue, and settles it.
    pub(super) fn for_each_queue(&mut self, now: Instant, mut change: impl FnMut(&mut WebhookQueue)) {
        self.queues.values_mut().for_each(&mut change);
        let ids: Vec<_> = self.queues.keys().cloned().collect();
        for id in ids {
            self.settle(&id, now);
        }
    }

    /// Returns whether to start a worker, which counts as running from then on.
    #[must_use]
    pub(super) fn starts_worker(&mut self, now: Instant) -> bool {
        let starts =
            !self.closed && self.workers < self.max_workers && self.rounds.have_work() && !self.node.is_fenced(now);
        self.workers += usize::from(starts);
        starts
    }

    /// Returns whether a queue has room for rows that may lie in the database.
    pub(super) fn wants_fetch(&self, webhook_id: &str) -> bool {
        self.queues.get(webhook_id).is_some_and(|queue| queue.wants_fetch(self.queue_limit(&queue.company)))
    }

    /// Returns the effects of an input to a webhook's queue: a worker, and the fetcher.
    pub(super) fn effects(&mut self, webhook_id: &str, now: Instant) -> Effects {
        Effects { wake_fetcher: self.wants_fetch(webhook_id), ..self.worker_effects(now) }
    }

    /// Returns the effects of an input that needs nothing fetched.
    pub(super) fn worker_effects(&mut self, now: Instant) -> Effects {
        Effects { start_worker: self.starts_worker(now), ..Effects::default() }
    }

    /// Returns the number of the next fetch.
    pub(super) fn next_fetch(&mut self) -> u64 {
        self.fetches += 1;
        self.fetches
    }

    /// Brings the consequences of a queue's state up to date: its entry in the round, its timer, or its removal.
    pub(super) fn settle(&mut self, webhook_id: &str, now: Instant) {
        let Some((id, _)) = self.queues.get_key_value(webhook_id) else {
            return;
        };
        let id = id.clone();
        let Some(queue) = self.queues.get_mut(webhook_id) else {
            return;
        };
        if queue.is_forgettable(now) {
            self.queues.remove(webhook_id);
            return;
        }
        if !queue.is_ready(now) {
            queue.notes.servable_since = None;
            return;
        }
        match queue.opens_at(now).filter(|at| *at > now) {
            Some(at) => {
                queue.notes.servable_since = None;
                if queue.notes.timer != Some(at) {
                    queue.notes.timer = Some(at);
                    self.timers.set(at, id);
                }
            }
            None => {
                queue.notes.servable_since.get_or_insert(now);
                let class = queue.class();
                self.rounds.enlist(&queue.company, &id, class, queue.notes.listed.get_mut(class));
            }
        }
    }

    /// Returns the next delivery to attempt. `None`: the worker that called is to end, and counts no longer.
    pub(super) fn next(&mut self, now: Instant) -> Option<QueuedDelivery> {
        let mut delivery = None;
        if !self.closed && !self.node.is_fenced(now) {
            delivery = AttemptClass::ALL.into_iter().find_map(|class| self.next_in(class, now));
        }
        if delivery.is_none() {
            self.workers = self.workers.saturating_sub(1);
        }
        delivery
    }

    fn next_in(&mut self, class: AttemptClass, now: Instant) -> Option<QueuedDelivery> {
        if !self.rounds.may_begin(class) {
            return None;
        }
        // Each company once: one that has its share now stays in the round.
        for _ in 0..self.rounds.companies_in(class) {
            let company = self.rounds.next_company(class)?;
            let delivery = match self.rounds.has_fair_share(&company, class) {
                true => None,
                false => self.next_of(&company, class, now),
            };
            self.rounds.end_turn(company, class);
            if delivery.is_some() {
                return delivery;
            }
        }
        None
    }

    /// Returns the next delivery of a company, its webhooks taking turns.
    fn next_of(&mut self, company: &str, class: AttemptClass, now: Instant) -> Option<QueuedDelivery> {
        for _ in 0..self.rounds.webhooks_in(company, class) {
            let id = self.rounds.next_webhook(company, class)?;
            let Some(queue) = self.queues.get_mut(&id) else {
                continue;
            };
            *queue.notes.listed.get_mut(class) = false;
            let delivery = if queue.class() <= class { queue.take(now) } else { None };
            self.settle(&id, now);
            if let Some(mut delivery) = delivery {
                delivery.class = class;
                delivery.attempt = self.cancellations.attempt_began();
                self.rounds.attempt_began(company, class, delivery.bytes_to_read());
                return Some(delivery);
            }
        }
        None
    }

    /// Records that an attempt has ended; `will_retry`: its delivery waits for a retry.
    pub(super) fn attempt_ended(&mut self, delivery: &QueuedDelivery, will_retry: bool, now: Instant) {
        let company = delivery.event.company();
        self.held.remove(delivery);
        self.rounds.attempt_ended(company, delivery.class, delivery.bytes_to_read());
        if let Some(queue) = self.queues.get_mut(delivery.webhook_id.as_str()) {
            queue.attempt_ended(&delivery.id, will_retry);
        }
        self.settle(&delivery.webhook_id, now);
        self.rounds.forget_if_idle(company);
        self.cancellations.attempt_ended();
    }

    /// Opens the queues whose timer has ended at `now`. Returns when the next one ends.
    pub(super) fn open_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, id)) = self.timers.first() {
            let in_force = self.queues.get(&id).is_some_and(|queue| queue.notes.timer == Some(at));
            if in_force && at > now {
                return Some(at);
            }
            self.timers.remove_first();
            if let Some(queue) = self.queues.get_mut(&id).filter(|_| in_force) {
                queue.notes.timer = None;
                self.settle(&id, now);
            }
        }
        None
    }
}
