//! The fetcher's decisions, as pure functions.

use std::time::Duration;

use crate::delivery::queue::{
    AttemptClass, BacklogFetch, BacklogKind, FetchResult, HeldEvent, OrderAnswer, Origin, QueuedDelivery,
};
use crate::store::{BacklogSelection, ClaimedDelivery};

/// Longest rest: the poll that finds whatever no signal announced.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Shortest rest if nothing was claimed: a delivery that is due and was not claimed is being claimed by another node.
const SHORTEST_REST: Duration = Duration::from_millis(5);

/// How long to rest at `now` if nothing was fetched and the next delivery is due at `next_due`; milliseconds since 1970.
pub(super) fn rest(next_due: Option<i64>, now: i64) -> Duration {
    let until_due = |due: i64| Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0));
    next_due.map_or(LONGEST_REST, until_due).clamp(SHORTEST_REST, LONGEST_REST)
}

/// The rows of a backlog that are wanted.
pub(super) fn selection(fetch: &BacklogFetch) -> BacklogSelection {
    match fetch.kind {
        BacklogKind::Unordered => BacklogSelection::Oldest,
        BacklogKind::Ordered => BacklogSelection::Ordered { before: fetch.before.clone() },
        BacklogKind::Replay => BacklogSelection::Replayed,
    }
}

/// Where the fetched rows join their queue.
pub(super) fn origin(kind: BacklogKind) -> Origin {
    match kind {
        BacklogKind::Unordered | BacklogKind::Ordered => Origin::Live,
        BacklogKind::Replay => Origin::Replay,
    }
}

/// What the queue learns from a fetch that found nothing, or something. `first_scheduled` is the first delivery of an ordered
/// webhook that waits for a retry.
///
/// Rows older than the last delivery in memory are fetched until none is left; only then is the order known.
pub(super) fn fetch_result(fetch: &BacklogFetch, found_nothing: bool, first_scheduled: Option<String>) -> FetchResult {
    let order_is_known = fetch.kind == BacklogKind::Ordered && (found_nothing || fetch.before.is_none());
    let order = match (order_is_known, first_scheduled) {
        (false, _) => OrderAnswer::NotAsked,
        (true, None) => OrderAnswer::Open,
        (true, Some(id)) => OrderAnswer::BlockedBy(id),
    };
    FetchResult { more: !found_nothing || fetch.before.is_some(), order }
}

impl From<ClaimedDelivery> for QueuedDelivery {
    fn from(claimed: ClaimedDelivery) -> Self {
        Self {
            id: claimed.id,
            webhook_id: claimed.webhook,
            lease: claimed.lease,
            attempt_count: claimed.attempt_count,
            attempt_base: claimed.attempt_base,
            event: HeldEvent::Whole(claimed.event),
            class: AttemptClass::Unproven,
            attempt: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::Event;

    fn fetch(kind: BacklogKind, before: Option<&str>) -> BacklogFetch {
        BacklogFetch {
            webhook_id: "wh_1".into(),
            company: "acme".into(),
            event_type: "t".into(),
            kind,
            room: 10,
            before: before.map(str::to_owned),
            needs_ownership: false,
            term: 0,
        }
    }

    #[test]
    fn rests_until_the_next_delivery_is_due_within_bounds() {
        assert_eq!(rest(None, 1_000), Duration::from_secs(1));
        assert_eq!(rest(Some(1_250), 1_000), Duration::from_millis(250));
        assert_eq!(rest(Some(i64::MAX), 1_000), Duration::from_secs(1));
        for overdue in [1_000, 999, 0, i64::MIN] {
            assert_eq!(rest(Some(overdue), 1_000), Duration::from_millis(5), "another node is claiming it");
        }
    }

    #[test]
    fn each_kind_of_backlog_selects_its_rows() {
        assert_eq!(selection(&fetch(BacklogKind::Unordered, None)), BacklogSelection::Oldest);
        assert_eq!(selection(&fetch(BacklogKind::Replay, None)), BacklogSelection::Replayed);
        let before = Some("dlv_9".to_owned());
        assert_eq!(selection(&fetch(BacklogKind::Ordered, Some("dlv_9"))), BacklogSelection::Ordered { before });
        assert_eq!(origin(BacklogKind::Replay), Origin::Replay);
        assert_eq!([BacklogKind::Unordered, BacklogKind::Ordered].map(origin), [Origin::Live, Origin::Live]);
    }

    #[test]
    fn unordered_backlog_has_more_until_a_fetch_finds_nothing() {
        for kind in [BacklogKind::Unordered, BacklogKind::Replay] {
            let result = |nothing| fetch_result(&fetch(kind, None), nothing, None);
            assert_eq!(result(false), FetchResult { more: true, order: OrderAnswer::NotAsked });
            assert_eq!(result(true), FetchResult { more: false, order: OrderAnswer::NotAsked });
        }
    }

    #[test]
    fn ordered_backlog_learns_what_blocks_it() {
        let result = |nothing, first: Option<&str>| {
            fetch_result(&fetch(BacklogKind::Ordered, None), nothing, first.map(str::to_owned))
        };
        assert_eq!(result(false, None), FetchResult { more: true, order: OrderAnswer::Open });
        assert_eq!(result(true, None), FetchResult { more: false, order: OrderAnswer::Open });
        let blocked = OrderAnswer::BlockedBy("dlv_3".into());
        assert_eq!(result(true, Some("dlv_3")), FetchResult { more: false, order: blocked });
    }

    #[test]
    fn order_is_unknown_until_nothing_older_than_memory_is_left() {
        let result = |nothing| fetch_result(&fetch(BacklogKind::Ordered, Some("dlv_9")), nothing, None);
        assert_eq!(result(false), FetchResult { more: true, order: OrderAnswer::NotAsked });
        assert_eq!(result(true), FetchResult { more: true, order: OrderAnswer::Open }, "younger ones may follow");
    }

    #[test]
    fn claimed_delivery_keeps_its_lease_and_its_attempts() {
        let event = Event {
            id: "evt_1".into(),
            event_type: "t".into(),
            company: "acme".into(),
            occurred_at: 0,
            headers: Vec::new(),
            data: bytes::Bytes::new(),
        };
        let queued = QueuedDelivery::from(ClaimedDelivery {
            id: "dlv_1".into(),
            webhook: "wh_1".into(),
            lease: Some("run_1".into()),
            attempt_count: 3,
            attempt_base: 2,
            event: Arc::new(event),
        });
        assert_eq!((queued.id.as_str(), queued.webhook_id.as_str()), ("dlv_1", "wh_1"));
        assert_eq!((queued.lease.as_deref(), queued.attempt_count, queued.attempt_base), (Some("run_1"), 3, 2));
    }
}
