//! Changes of a queue's webhook, backlog, owner and order.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::WebhookQueue;
use crate::delivery::queue::backlog::BacklogRows;
use crate::delivery::queue::cancellations::selects;
use crate::delivery::queue::ordering::OrderAnswer;
use crate::delivery::queue::ownership::NodeOwnership;
use crate::delivery::queue::queue_settings::QueueSettings;
use crate::delivery::queue::throttle::Throttle;
use crate::delivery::queue::{BacklogKind, QueuedDelivery};
use crate::domain::webhook::Webhook;
use crate::store::{CancelSelection, CancelState};

impl WebhookQueue {
    /// Follows the webhook as it stands now.
    pub(in crate::delivery::queue) fn follow(&mut self, webhook: &Webhook, node: &NodeOwnership) {
        let settings = QueueSettings::of(webhook);
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        self.pace.set_rate(settings.rate_limit);
        self.ownership = self.ownership.single_owner_set(settings.single_owner, node.share_of(&webhook.id));
        // Deliveries from before the webhook had an owner wait for the ownership, or are given back without it.
        if !self.holds_nothing() && !self.may_serve() {
            self.spilled();
        }
        if self.order.set_ordered(settings.ordered) {
            self.spilled();
            self.live.append(&mut self.retries);
            self.live.make_contiguous().sort_by(|a, b| a.id.cmp(&b.id));
        }
    }

    /// Records that the webhook was changed: the health of its receiver is unknown, and its whole backlog is wanted.
    pub(in crate::delivery::queue) fn webhook_changed(&mut self) {
        self.receiver.webhook_changed();
        self.throttle = Throttle::default();
        self.pace.reset();
        self.backlog.written(BacklogRows::Both);
        self.order.invalidate();
    }

    /// Records that the webhook was disabled or removed. Returns all that is queued.
    pub(in crate::delivery::queue) fn webhook_gone(&mut self) -> Vec<QueuedDelivery> {
        self.webhook_changed();
        self.backlog.dropped();
        self.take_all()
    }

    /// Takes the selected deliveries out.
    pub(in crate::delivery::queue) fn cancel(&mut self, selection: &CancelSelection) -> Vec<QueuedDelivery> {
        let (mut cancelled, label) = (Vec::new(), self.label.clone());
        let parts = [(&mut self.live, false), (&mut self.retries, false), (&mut self.replays, true)];
        for (queue, is_replay) in parts {
            let state = |delivery: &QueuedDelivery| match is_replay {
                true => CancelState::Replayed,
                false if delivery.is_retry() => CancelState::Retrying,
                false => CancelState::Pending,
            };
            let (taken, left) = queue.drain(..).partition(|one| selects(selection, one, label.as_deref(), state(one)));
            *queue = left;
            cancelled.extend::<VecDeque<_>>(taken);
        }
        cancelled
    }

    /// Records that a user wants an attempt now: it waits for no probe and no pause, but keeps to the pace.
    pub(in crate::delivery::queue) fn attempt_requested(&mut self, now: Instant) {
        self.receiver.attempt_requested();
        self.throttle.attempt_requested(now);
        self.ask_again();
    }

    /// Records that deliveries were spilled.
    pub(in crate::delivery::queue) fn spilled(&mut self) {
        self.backlog.written(BacklogRows::Spilled);
    }

    /// Records that deliveries were marked for replay.
    pub(in crate::delivery::queue) fn replay_requested(&mut self) {
        self.backlog.written(BacklogRows::Replays);
    }

    /// Records that another node has spilled deliveries or marked some for replay.
    pub(in crate::delivery::queue) fn spilled_elsewhere(&mut self) {
        self.backlog.written(BacklogRows::Both);
    }

    /// Records the number of nodes.
    pub(in crate::delivery::queue) fn node_count_set(&mut self, count: u32) {
        self.ownership = self.ownership.node_count_set(count, self.settings.single_owner);
    }

    /// Records that this node owns the webhook.
    pub(in crate::delivery::queue) fn ownership_granted(&mut self) {
        self.ownership = self.ownership.granted();
    }

    /// Records that another node may own the webhook: the known order no longer holds.
    pub(in crate::delivery::queue) fn ownership_forgotten(&mut self) {
        self.ownership = self.ownership.lost();
        self.order.invalidate();
    }

    /// The same, for a node that others took for dead: its backlog is theirs. Returns all that is queued.
    pub(in crate::delivery::queue) fn ownership_lost(&mut self) -> Vec<QueuedDelivery> {
        self.ownership_forgotten();
        self.backlog.dropped();
        self.take_all()
    }

    /// Records that another node owns the webhook, which ends a fetch. Returns all that is queued, unless the webhook has
    /// no single owner any more.
    pub(in crate::delivery::queue) fn ownership_refused(&mut self, kind: BacklogKind) -> Vec<QueuedDelivery> {
        self.fetch_ended(kind, false, OrderAnswer::NotAsked);
        let given_back = if self.may_serve() { Vec::new() } else { self.take_all() };
        // Once they are spilled the owner has to be notified of them.
        if !given_back.is_empty() {
            self.spilled();
        }
        given_back
    }

    /// Records that a fetch begins.
    pub(in crate::delivery::queue) fn fetch_started(&mut self, kind: BacklogKind) {
        self.backlog.fetch_started(kind);
        if kind == BacklogKind::Ordered {
            self.order.ask();
        }
    }

    /// Records that a fetch has ended.
    pub(in crate::delivery::queue) fn fetch_ended(&mut self, kind: BacklogKind, more: bool, answer: OrderAnswer) {
        self.backlog.fetch_ended(kind, more);
        self.order.answer(answer);
    }

    /// Has an ordered queue ask the database again which delivery waits for its retry.
    pub(in crate::delivery::queue) fn ask_again(&mut self) {
        self.order.invalidate();
        if self.settings.ordered {
            self.spilled();
        }
    }

    /// Has an ordered queue ask again, if it waits for a retry and none of its deliveries is in flight, so that the
    /// database has all of them. Returns whether it does.
    pub(in crate::delivery::queue) fn ask_again_if_blocked(&mut self) -> bool {
        let blocked = self.in_flight == 0 && self.order.waits_for().is_some();
        if blocked {
            self.ask_again();
        }
        blocked
    }
}
