//! The exchange with the fetcher, which brings backlogs into memory.

use std::sync::Arc;

use super::scheduler::Scheduler;
use super::webhook_queue::WebhookQueue;
use super::{BacklogKind, Effects, OrderAnswer, WebhookQueues};

/// Deliveries of a replay that a queue holds at once: few, since they wait there behind all live traffic.
pub(super) const REPLAYS: usize = 32;
/// Most backlogs handed out by one call of [`WebhookQueues::backlogs_to_fetch`].
pub(super) const FETCHES: usize = 64;

/// The backlog of one queue that has room for it. The queue hands out no second one before [`WebhookQueues::fetched`] or
/// [`WebhookQueues::ownership_refused`].
#[derive(Debug)]
pub(in crate::delivery) struct BacklogFetch {
    pub(in crate::delivery) webhook_id: Arc<str>,
    pub(in crate::delivery) company: Arc<str>,
    pub(in crate::delivery) event_type: String,
    /// The rows to fetch.
    pub(in crate::delivery) kind: BacklogKind,
    /// Most deliveries to fetch.
    pub(in crate::delivery) room: usize,
    /// Fetch only deliveries older than this one, the last in memory: until none of them is left, the queue must not go
    /// on.
    pub(in crate::delivery) before: Option<String>,
    /// The webhook has one owner among the nodes, and this node does not know to be it: claim the ownership first.
    pub(in crate::delivery) needs_ownership: bool,
    /// The number of times that this node had lost all its ownerships.
    pub(in crate::delivery) term: u64,
}

/// The result of a [`BacklogFetch`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct FetchResult {
    /// There may be more of the same kind in the database.
    pub(in crate::delivery) more: bool,
    /// Which delivery of an ordered webhook waits for its retry.
    pub(in crate::delivery) order: OrderAnswer,
}

/// The figures that all fetches of one call have in common.
#[derive(Clone, Copy)]
struct FetchRound {
    number: u64,
    term: u64,
}

impl FetchRound {
    /// Begins the fetch of the backlog of a queue that may hold `queue_limit` deliveries.
    fn begin(self, webhook_id: &Arc<str>, queue: &mut WebhookQueue, queue_limit: usize) -> BacklogFetch {
        let (kind, room) = match queue.wants_spilled(queue_limit) {
            true if queue.is_ordered() => (BacklogKind::Ordered, queue.room(queue_limit)),
            true => (BacklogKind::Unordered, queue.room(queue_limit)),
            false => (BacklogKind::Replay, REPLAYS),
        };
        let last = queue.last_in_doubt().filter(|_| kind == BacklogKind::Ordered);
        let before = last.map(|last| last.id.clone());
        queue.last_fetch = self.number;
        queue.fetch_started(kind);
        BacklogFetch {
            webhook_id: webhook_id.clone(),
            company: queue.company.clone(),
            event_type: queue.event_type.clone(),
            kind,
            room: if before.is_some() { queue_limit } else { room },
            before,
            needs_ownership: !queue.may_serve(),
            term: self.term,
        }
    }
}

impl WebhookQueues {
    /// Returns up to 64 backlogs whose queue has room for at least half a buffer, the least recently fetched first.
    #[must_use]
    pub(in crate::delivery) fn backlogs_to_fetch(&self) -> Vec<BacklogFetch> {
        let mut state = self.lock();
        let round = FetchRound { number: state.next_fetch(), term: state.node.term() };
        let Scheduler { queues, held, .. } = &mut *state;
        let limit = |queue: &WebhookQueue| held.queue_limit(&queue.company);
        let mut wanting: Vec<_> = queues.iter_mut().filter(|(_, queue)| queue.wants_fetch(limit(queue))).collect();
        wanting.sort_by_key(|(_, queue)| queue.last_fetch);
        let begin = |(webhook_id, queue): (&Arc<str>, &mut WebhookQueue)| {
            let limit = limit(queue);
            round.begin(webhook_id, queue, limit)
        };
        wanting.into_iter().take(FETCHES).map(begin).collect()
    }

    /// Ends a fetch whose deliveries have been offered.
    pub(in crate::delivery) fn fetched(&self, fetch: &BacklogFetch, result: FetchResult) -> Effects {
        self.change(|state, now| {
            if let Some(queue) = state.queues.get_mut(&fetch.webhook_id) {
                queue.fetch_ended(fetch.kind, result.more, result.order);
            }
            state.settle(&fetch.webhook_id, now);
            state.worker_effects(now)
        })
    }

    /// Records that this node owns the webhook of a fetch that needed the ownership. The fetch continues.
    pub(in crate::delivery) fn ownership_granted(&self, fetch: &BacklogFetch) {
        let mut state = self.lock();
        if !state.node.grant(&fetch.webhook_id, fetch.term) {
            return;
        }
        if let Some(queue) = state.queues.get_mut(&fetch.webhook_id) {
            queue.ownership_granted();
        }
    }

    /// Records that another node owns the webhook of a fetch, which ends the fetch. Gives back all queued deliveries of
    /// the webhook.
    pub(in crate::delivery) fn ownership_refused(&self, fetch: &BacklogFetch) -> Effects {
        self.change(|state, now| {
            let Some(queue) = state.queues.get_mut(&fetch.webhook_id) else {
                return Effects::default();
            };
            let give_back = queue.ownership_refused(fetch.kind);
            state.forget(&give_back);
            state.settle(&fetch.webhook_id, now);
            Effects { give_back, ..Effects::default() }
        })
    }
}
