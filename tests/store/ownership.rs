//! Nodes, ownership of webhooks, and the deliveries that a node may claim. SQLite has only one node, but the same statements.

use posthaste::domain::delivery::Status;
use posthaste::domain::webhook::Webhook;
use posthaste::store::{DeliveryUpdate, Lease, LeaseHorizon, Node, OwnershipRequest, WebhookKey};

use crate::case::{Case, LEASED, NOW, attempt, id, ids, leased, retry, row, spilled, to, webhook};

/// The present, and the last instant at which a lease can end.
const ENDS: LeaseHorizon = LeaseHorizon { now_ms: NOW + 3, latest_end_ms: LEASED };

fn lease(node: &str) -> Lease {
    Lease { until_ms: LEASED, node: node.into() }
}

fn node(id: &str, beat: i64) -> Node {
    Node { id: id.into(), beat }
}

impl Case {
    async fn joined(&self, nodes: &[&str]) {
        for node in nodes {
            self.join((*node).into(), NOW).await.unwrap();
        }
    }

    async fn owns(&self, webhook: &str, node: &str) -> bool {
        self.take_ownership(
            OwnershipRequest { webhook: webhook.into(), company: "acme".into(), event_type: "t".into() },
            node.into(),
        )
        .await
        .unwrap()
    }
}

pub(crate) async fn dead_node_is_removed_once_and_a_live_one_is_not(case: Case) {
    assert_eq!(case.beat("me".into()).await.unwrap(), None, "the node has not joined");
    case.joined(&["me", "it"]).await;
    let (held, mine) = (id(NOW, 1), id(NOW, 2));
    case.stored(leased("it", row(&held))).await;
    case.stored(leased("me", row(&mine))).await;
    assert_eq!(case.beat("me".into()).await.unwrap().unwrap(), [node("it", 0), node("me", 1)]);
    assert_eq!(case.beat("it".into()).await.unwrap().unwrap(), [node("it", 1), node("me", 1)]);
    assert_eq!(case.remove_dead_node(node("it", 0), ENDS).await.unwrap(), None, "the node has sent a heartbeat since");
    assert_eq!(case.next_due("me").await.unwrap(), Some(LEASED));
    assert_eq!(case.remove_dead_node(node("it", 1), ENDS).await.unwrap(), Some(1));
    assert_eq!(case.remove_dead_node(node("it", 1), ENDS).await.unwrap(), None);
    assert_eq!(case.beat("it".into()).await.unwrap(), None);
    assert_eq!(ids(&case.claim_due(NOW + 3, lease("me"), 10).await.unwrap()), [&*held]);
}

pub(crate) async fn leaving_node_releases_its_deliveries_and_ownerships(case: Case) {
    case.put_webhook(Webhook { ordered: true, ..webhook("wh_2", "o") }).await.unwrap();
    case.joined(&["me", "it"]).await;
    let (held, ordered) = (id(NOW, 1), id(NOW, 2));
    case.stored(leased("it", row(&held))).await;
    case.stored(to("wh_2", leased("it", row(&ordered)))).await;
    assert!(case.owns("wh_2", "it").await && !case.owns("wh_2", "me").await);
    assert_eq!(case.leave("it".into(), ENDS).await.unwrap(), 2);
    assert_eq!(case.one(&held).await.next_attempt_at, Some(NOW + 3));
    // A delivery of an ordered webhook goes into the backlog, whichever node is the owner now.
    assert_eq!((case.one(&ordered).await.next_attempt_at, case.waiting().await.backlog.count), (None, 1));
    assert!(case.owns("wh_2", "me").await);
    assert_eq!(case.beat("me".into()).await.unwrap().unwrap(), [node("me", 1)]);
}

pub(crate) async fn owner_keeps_a_webhook_until_the_node_is_removed(case: Case) {
    case.joined(&["me", "it"]).await;
    assert!(!case.owns("wh_1", "nobody").await, "it is not a node");
    assert!(case.owns("wh_1", "me").await && case.owns("wh_1", "me").await);
    assert!(!case.owns("wh_1", "it").await && case.owns("wh_2", "it").await);
    assert_eq!(case.remove_dead_node(node("me", 0), ENDS).await.unwrap(), Some(0));
    assert!(case.owns("wh_1", "it").await);
}

pub(crate) async fn deliveries_of_another_owner_are_not_claimed(case: Case) {
    case.put_webhook(Webhook { rate_limit: None, max_in_flight: 15, ..webhook("wh_1", "t") }).await.unwrap();
    case.joined(&["me", "it"]).await;
    let (due, waits, held) = (id(NOW, 1), id(NOW, 2), id(NOW, 3));
    case.finished(spilled(&due), retry(NOW)).await;
    case.stored(spilled(&waits)).await;
    assert_eq!(
        (case.next_due("me").await.unwrap(), case.backlogged_webhooks("me").await.unwrap().len()),
        (Some(NOW), 1)
    );
    assert!(case.owns("wh_1", "it").await);
    assert_eq!((case.next_due("me").await.unwrap(), case.backlogged_webhooks("me").await.unwrap().len()), (None, 0));
    assert_eq!(
        (case.next_due("it").await.unwrap(), case.backlogged_webhooks("it").await.unwrap().len()),
        (Some(NOW), 1)
    );
    assert!(case.claim_due(NOW, lease("me"), 10).await.unwrap().is_empty());
    // A webhook with many slots has no owner, even if it had one before.
    let many = |webhook: &mut Webhook| {
        webhook.max_in_flight = 16;
        Ok(())
    };
    case.change_webhook(WebhookKey { company: "acme", id: "wh_1" }, many).await.unwrap();
    assert_eq!(case.backlogged_webhooks("me").await.unwrap().len(), 1);
    assert_eq!(ids(&case.claim_due(NOW, lease("me"), 10).await.unwrap()), [&*due]);
    // A delivery under the lease of another node is not claimed, however late it is, until that node is removed.
    case.stored(leased("it", row(&held))).await;
    assert!(case.claim_due(NOW + 1, lease("me"), 10).await.unwrap().is_empty());
    let lapsed = case.claim_due(LEASED, lease("me"), 10).await.unwrap();
    assert_eq!(ids(&lapsed), [&*due], "its own lease has run out");
    case.home.sql("DELETE FROM nodes WHERE id = 'it'").await;
    assert_eq!(
        ids(&case.claim_due(LEASED, Lease { until_ms: LEASED + 9, node: "me".into() }, 10).await.unwrap()),
        [&*due, &*held]
    );
    // Removing a webhook ends its ownership.
    let stored = case.webhook("acme", "wh_1").await.unwrap().unwrap();
    case.joined(&["it"]).await;
    assert!(case.owns("wh_1", "it").await && case.delete_webhook(&stored).await.unwrap());
    assert!(case.owns("wh_1", "me").await);
}

pub(crate) async fn completion_under_another_lease_changes_nothing(case: Case) {
    let [taken, again, waits, mine] = [1, 2, 3, 4].map(|number| id(NOW, number));
    for id in [&taken, &again] {
        case.stored(leased("it", row(id))).await;
    }
    case.stored(spilled(&waits)).await;
    case.stored(leased("me", row(&mine))).await;
    let completion = |id: &str| DeliveryUpdate {
        company: "acme".into(),
        id: id.into(),
        lease: Some("me".into()),
        status: Status::Delivered,
        attempt_count: 1,
        attempt_base: 0,
        due: None,
        finished_at: Some(NOW + 5),
        attempt: Some(attempt(1)),
    };
    // In one group with a completion under the right lease.
    for id in [&taken, &again, &waits] {
        case.finish(completion(id)).await;
    }
    case.ended(completion(&mine)).await;
    for id in [&taken, &again, &waits] {
        let (delivery, _, attempts) = case.delivery("acme", id).await.unwrap().unwrap();
        assert_eq!((delivery.status, delivery.attempt_count, attempts.len()), (Status::Pending, 0, 0), "{id}");
    }
    assert_eq!(case.delivery("acme", &mine).await.unwrap().unwrap().2.len(), 1);
    // The same holds for a delivery that was claimed, failed and was scheduled meanwhile.
    case.ended(DeliveryUpdate { lease: Some("it".into()), ..retry(NOW + 9)(completion(&again)) }).await;
    case.finish(DeliveryUpdate { attempt: Some(attempt(2)), attempt_count: 2, ..completion(&again) }).await;
    case.written().await.unwrap();
    let (delivery, _, attempts) = case.delivery("acme", &again).await.unwrap().unwrap();
    assert_eq!((delivery.next_attempt_at, attempts.len()), (Some(NOW + 9), 1));
}
