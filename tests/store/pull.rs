//! Entries that wait for the consumers of webhooks.

use std::sync::Arc;

use posthaste::domain::delivery::Status;
use posthaste::domain::waiting::{Waiting, WaitingCount};
use posthaste::domain::webhook::{Recipient, Webhook};
use posthaste::store::{
    DeliveryKey, Lease, NewDeliveryWaits, NewEventRow, PullAck, PullPage, PullRead, PullRequest, PulledDelivery,
    RetryMode, WebhookKey,
};

use crate::case::{Case, LEASED, NOW, id, row, spilled, webhook};

const KEY: WebhookKey<'_> = WebhookKey { company: "acme", id: "wh_1" };

fn pulled() -> Webhook {
    Webhook { recipient: Recipient::Consumer, ..webhook("wh_1", "t") }
}

fn waiting(id: &str) -> NewEventRow {
    let mut row = row(id);
    row.deliveries[0].waits = NewDeliveryWaits::ForConsumer;
    row
}

async fn page(case: &Case, after: Option<i64>, limit: usize) -> PullPage {
    match case.pull_page(KEY, PullRequest { after, limit, bytes: 1 << 20 }).await.unwrap() {
        PullRead::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

fn deliveries(page: &PullPage) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.delivery.as_str()).collect()
}

async fn number_waiting(case: &Case) -> u64 {
    let webhook = case.webhook("acme", "wh_1").await.unwrap().unwrap();
    case.webhook_health(&webhook).await.unwrap().waiting
}

async fn status(case: &Case, id: &str) -> Status {
    case.one(id).await.status
}

pub(crate) async fn entries_are_read_in_order_acknowledged_and_taken_back(case: Case) {
    case.put_webhook(pulled()).await.unwrap();
    let ids: Vec<_> = (1..=3).map(|number| id(NOW, number)).collect();
    // Committed in another order than that of their ids.
    for number in [2, 0, 1] {
        case.stored(waiting(&ids[number])).await;
    }
    let pulled = WaitingCount { count: 3, oldest: Some(NOW) };
    assert_eq!(case.waiting().await, Waiting { pulled, ..Waiting::default() });
    assert_eq!(case.oldest_due(LEASED).await.unwrap(), None);
    let order = [&*ids[2], &ids[0], &ids[1]];
    let first = page(&case, None, 2).await;
    assert_eq!((deliveries(&first), first.next, first.examined), (order[..2].to_vec(), 2, true));
    assert_eq!(first.entries[0].event.data, row(&ids[2]).event.data);
    let rest = page(&case, Some(first.next), 2).await;
    assert_eq!((deliveries(&rest), rest.next), (vec![order[2]], 3));
    let none = page(&case, Some(3), 2).await;
    assert_eq!((deliveries(&none), none.next, none.examined), (vec![], 3, false));

    assert_eq!(case.move_pull_place("acme", "wh_1", 2, NOW + 9).await.unwrap(), PullAck::Moved);
    let delivered = case.one(order[0]).await;
    assert_eq!((delivered.status, delivered.finished_at), (Status::Delivered, Some(NOW + 9)));
    assert_eq!(case.waiting().await.pulled.count, 1);
    assert_eq!(status(&case, order[2]).await, Status::Pending);
    assert_eq!(deliveries(&page(&case, None, 9).await), order[2..]);
    assert_eq!(deliveries(&page(&case, Some(0), 9).await), order);

    assert_eq!(case.move_pull_place("acme", "wh_1", 1, NOW).await.unwrap(), PullAck::Moved);
    let again = case.one(order[1]).await;
    assert_eq!((again.status, again.finished_at), (Status::Pending, None));
    assert_eq!(status(&case, order[0]).await, Status::Delivered);
    assert_eq!(deliveries(&page(&case, None, 9).await), order[1..]);

    assert_eq!(case.move_pull_place("acme", "wh_1", 4, NOW).await.unwrap(), PullAck::Beyond);
    assert_eq!(case.move_pull_place("other", "wh_1", 1, NOW).await.unwrap(), PullAck::NoConsumer);
    let beyond = case.pull_page(KEY, PullRequest { after: Some(4), limit: 1, bytes: 1 }).await.unwrap();
    assert!(matches!(beyond, PullRead::Beyond), "{beyond:?}");
}

pub(crate) async fn a_long_move_takes_several_steps(case: Case) {
    case.put_webhook(pulled()).await.unwrap();
    let ids: Vec<_> = (0..1_203).map(|number| id(NOW, number)).collect();
    for chunk in ids.chunks(200) {
        futures_util::future::join_all(chunk.iter().map(|id| case.stored(waiting(id)))).await;
    }
    assert_eq!(case.move_pull_place("acme", "wh_1", 1_203, NOW).await.unwrap(), PullAck::Moved);
    assert!(!page(&case, None, 9).await.examined);
    assert_eq!(number_waiting(&case).await, 0);
    assert_eq!(case.move_pull_place("acme", "wh_1", 1, NOW).await.unwrap(), PullAck::Moved);
    assert_eq!(number_waiting(&case).await, 1_202);
    assert_eq!(page(&case, None, 9).await.next, 10);
}

pub(crate) async fn a_delivery_that_is_sent_again_waits_behind_all_others(case: Case) {
    case.put_webhook(pulled()).await.unwrap();
    let (first, second) = (id(NOW, 1), id(NOW, 2));
    case.stored(waiting(&first)).await;
    case.stored(waiting(&second)).await;
    case.move_pull_place("acme", "wh_1", 1, NOW).await.unwrap();
    let lease = Lease { until_ms: LEASED, node: "me".into() };
    let key = DeliveryKey { company: "acme".into(), id: first.clone() };
    case.request_retry(key, "wh_1".into(), RetryMode::Claim(lease)).await.unwrap();
    let of = |lease: &str| PulledDelivery {
        company: "acme".into(),
        id: first.clone(),
        webhook: "wh_1".into(),
        lease: Some(Arc::from(lease)),
    };
    // Another node's lease.
    case.wait_for_consumer(of("other")).await.unwrap();
    assert_eq!(deliveries(&page(&case, None, 9).await), [&*second]);
    case.wait_for_consumer(of("me")).await.unwrap();
    let both = page(&case, None, 9).await;
    assert_eq!((deliveries(&both), both.next), (vec![&*second, &*first], 3));
    assert_eq!(deliveries(&page(&case, Some(0), 9).await), [&*second, &*first], "its first entry is gone");
}

pub(crate) async fn a_filtered_delivery_is_left_out_and_retention_removes_entries(case: Case) {
    case.put_webhook(pulled()).await.unwrap();
    let (old, filtered, new) = (id(NOW, 1), id(NOW, 2), id(NOW + 10, 1));
    for id in [&old, &filtered, &new] {
        case.stored(waiting(id)).await;
    }
    case.filter_pulled("acme", vec![filtered.clone()], NOW + 3).await.unwrap();
    assert_eq!(status(&case, &filtered).await, Status::Filtered);
    assert_eq!(deliveries(&page(&case, None, 9).await), [&*old, &*new]);
    while case.expire("acme".into(), NOW + 5).await.unwrap() {}
    let left = page(&case, None, 9).await;
    assert_eq!((deliveries(&left), left.next), (vec![&*new], 3));
}

pub(crate) async fn events_are_posted_once_a_webhook_has_no_consumer_any_more(case: Case) {
    case.put_webhook(pulled()).await.unwrap();
    let (first, late) = (id(NOW, 1), id(NOW, 2));
    case.stored(waiting(&first)).await;
    assert!(case.webhooks_without_consumer().await.unwrap().is_empty());
    assert_eq!(case.release_entries("wh_1".into()).await.unwrap(), None, "it has one");
    case.put_webhook(webhook("wh_1", "t")).await.unwrap();
    assert_eq!(case.webhooks_without_consumer().await.unwrap(), ["wh_1"]);
    assert_eq!(case.release_entries("wh_1".into()).await.unwrap().as_deref(), Some("acme"));
    assert_eq!(case.release_entries("wh_1".into()).await.unwrap(), None);
    assert_eq!(case.waiting().await.backlog.count, 1);
    // Its publisher did not know yet.
    case.stored(waiting(&late)).await;
    assert_eq!(case.waiting().await.scheduled.count, 1);
    let none = case.pull_page(KEY, PullRequest { after: None, limit: 1, bytes: 1 }).await.unwrap();
    assert!(matches!(none, PullRead::NoConsumer));
    case.stored(spilled(&id(NOW, 3))).await;
}
