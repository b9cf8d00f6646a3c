//! The exchange with the fetcher, which brings the backlog of a queue into memory.

use std::sync::Arc;

use super::webhook_queue::WebhookQueue;
use super::{Effects, OrderAnswer, WebhookQueues};

/// Deliveries of a replay that a queue holds at once: few, since they wait there behind all live traffic.
const REPLAYS: usize = 32;
/// Most backlogs handed out by one call of [`WebhookQueues::backlogs_to_fetch`].
pub(super) const FETCHES: usize = 64;

/// The part of a backlog that a queue has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum BacklogKind {
    /// Spilled deliveries, the oldest first.
    Unordered,
    /// Spilled deliveries, up to the first that waits for its retry.
    Ordered,
    /// Deliveries that are to be sent again.
    Replay,
}

/// The backlog of one queue that has room for it. No second one is handed out for the queue before
/// [`WebhookQueues::fetched`] or [`WebhookQueues::ownership_refused`].
#[derive(Debug)]
pub(in crate::delivery) struct BacklogFetch {
    pub(in crate::delivery) webhook_id: Arc<str>,
    pub(in crate::delivery) company: Arc<str>,
    pub(in crate::delivery) event_type: String,
    pub(in crate::delivery) kind: BacklogKind,
    /// Most deliveries to fetch.
    pub(in crate::delivery) room: usize,
    /// Fetch only deliveries older than this one, the last in memory: until none of them is left, the queue must not go
    /// on.
    pub(in crate::delivery) before: Option<String>,
    /// The webhook is served by one owner among the nodes, and this node does not know to be it: claim the ownership
    /// first.
    pub(in crate::delivery) needs_ownership: bool,
    /// Counts how often this node has lost all its ownerships.
    pub(in crate::delivery) term: u64,
}

/// The result of a [`BacklogFetch`].
#[derive(Debug, Default)]
pub(in crate::delivery) struct FetchResult {
    /// There may be more of the same kind in the database.
    pub(in crate::delivery) more: bool,
    /// Which delivery of an ordered webhook waits for its retry.
    pub(in crate::delivery) order: OrderAnswer,
}

impl WebhookQueues {
    /// Returns up to 64 backlogs whose queue has room for at least half a buffer, the least recently fetched first.
    #[must_use]
    pub(in crate::delivery) fn backlogs_to_fetch(&self) -> Vec<BacklogFetch> {
        let mut state = self.lock();
        let (limit, turn, term) = (state.limit(), state.next_turn(), state.seats.term());
        let ripe = |(_, lane): &(&Arc<str>, &mut WebhookQueue)| lane.wants_parked(limit) || lane.wants_replays();
        let mut lanes: Vec<_> = state.lanes.iter_mut().filter(ripe).collect();
        lanes.sort_by_key(|(_, lane)| lane.turn);
        let fetch = |(webhook, lane): (&Arc<str>, &mut WebhookQueue)| {
            let (kind, room) = match lane.wants_parked(limit) {
                true if lane.is_ordered() => (BacklogKind::Ordered, lane.room(limit)),
                true => (BacklogKind::Unordered, lane.room(limit)),
                false => (BacklogKind::Replay, REPLAYS),
            };
            let before = lane.doubtful().filter(|_| kind == BacklogKind::Ordered);
            let room = if before.is_some() { limit } else { room };
            (lane.refilling, lane.turn) = (true, turn);
            match kind {
                BacklogKind::Replay => lane.replayed = false,
                BacklogKind::Unordered => lane.parked = false,
                BacklogKind::Ordered => {
                    lane.parked = false;
                    lane.ask();
                }
            }
            BacklogFetch {
                webhook_id: webhook.clone(),
                company: lane.company.clone(),
                event_type: lane.event_type.clone(),
                kind,
                room,
                before,
                needs_ownership: !lane.is_ours(),
                term,
            }
        };
        lanes.into_iter().take(FETCHES).map(fetch).collect()
    }

    /// Ends a fetch whose deliveries have been offered.
    pub(in crate::delivery) fn fetched(&self, fetch: &BacklogFetch, result: FetchResult) -> Effects {
        self.change(|state, now| {
            if let Some(lane) = state.lanes.get_mut(&fetch.webhook_id) {
                lane.refilling = false;
                match fetch.kind {
                    BacklogKind::Replay => lane.replayed |= result.more,
                    BacklogKind::Unordered | BacklogKind::Ordered => lane.parked |= result.more,
                }
                match result.order {
                    OrderAnswer::NotAsked => (),
                    OrderAnswer::Open => lane.learn(None),
                    OrderAnswer::BlockedBy(id) => lane.learn(Some(id)),
                }
            }
            state.settle(&fetch.webhook_id, now);
            Effects { start_worker: state.starts_worker(now), ..Effects::default() }
        })
    }

    /// Takes in that this node owns the webhook of a fetch that needed the ownership. The fetch goes on.
    pub(in crate::delivery) fn ownership_granted(&self, fetch: &BacklogFetch) {
        let mut state = self.lock();
        if state.seats.term != fetch.term {
            return;
        }
        state.seats.ours.insert(fetch.webhook_id.clone());
        if let Some(lane) = state.lanes.get_mut(&fetch.webhook_id) {
            lane.share.seat = true;
        }
    }

    /// Takes in that another node owns the webhook of a fetch, which ends the fetch. Gives back all queued deliveries of
    /// the webhook.
    pub(in crate::delivery) fn ownership_refused(&self, fetch: &BacklogFetch) -> Effects {
        self.change(|state, now| {
            let Some(lane) = state.lanes.get_mut(&fetch.webhook_id) else {
                return Effects::default();
            };
            lane.refilling = false;
            let jobs = if lane.is_ours() { Vec::new() } else { lane.take_all() };
            // Once they are spilled the owner has to be notified of them.
            lane.parked |= !jobs.is_empty();
            for job in &jobs {
                state.let_go(job);
            }
            state.settle(&fetch.webhook_id, now);
            Effects { give_back: jobs, ..Effects::default() }
        })
    }
}
