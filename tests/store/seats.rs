//! Nodes, and what each of them may take. One process serves an SQLite database, but the statements are the same.

use std::sync::Arc;

use posthaste::domain::delivery::Status;
use posthaste::domain::webhook::Webhook;
use posthaste::store::{Completion, NewDelivery, Node};

use crate::case::{Case, LEASED, NOW, attempt, id, ids, parked, retry, row, webhook};

/// When all happens, and the last instant at which a lease can end.
const ENDS: (i64, i64) = (NOW + 3, LEASED);

fn lease(node: &str) -> (i64, Arc<str>) {
    (LEASED, node.into())
}

fn node(id: &str, beat: i64) -> Node {
    Node { id: id.into(), beat }
}

/// In the memory of this node.
fn of(node: &str, row: NewDelivery) -> NewDelivery {
    NewDelivery { lease: Some(lease(node)), ..row }
}

impl Case {
    async fn joined(&self, nodes: &[&str]) {
        for node in nodes {
            self.join((*node).into(), NOW).await.unwrap();
        }
    }

    async fn sits(&self, webhook: &str, node: &str) -> bool {
        self.take_seat(webhook, ("acme", "t"), node.into()).await.unwrap()
    }
}

pub(crate) async fn a_node_that_beats_is_seen_and_one_that_does_not_is_removed_once(case: Case) {
    assert_eq!(case.beat("me".into()).await.unwrap(), None, "it has not joined");
    case.joined(&["me", "it"]).await;
    let (held, mine) = (id(NOW, 1), id(NOW, 2));
    case.stored(of("it", row(&held))).await;
    case.stored(of("me", row(&mine))).await;
    assert_eq!(case.beat("me".into()).await.unwrap().unwrap(), [node("it", 0), node("me", 1)]);
    assert_eq!(case.beat("it".into()).await.unwrap().unwrap(), [node("it", 1), node("me", 1)]);
    assert_eq!(case.bury(node("it", 0), ENDS).await.unwrap(), None, "it has beaten since");
    assert_eq!(case.next_due("me").await.unwrap(), Some(LEASED));
    assert_eq!(case.bury(node("it", 1), ENDS).await.unwrap(), Some(1));
    assert_eq!(case.bury(node("it", 1), ENDS).await.unwrap(), None);
    assert_eq!(case.beat("it".into()).await.unwrap(), None);
    assert_eq!(ids(&case.claim_due(NOW + 3, lease("me"), 10).await.unwrap()), [&*held]);
}

pub(crate) async fn a_node_that_leaves_leaves_what_it_has_to_others(case: Case) {
    case.put_webhook(Webhook { ordered: true, ..webhook("wh_2", "o") }).await.unwrap();
    case.joined(&["me", "it"]).await;
    let (held, ordered) = (id(NOW, 1), id(NOW, 2));
    case.stored(of("it", row(&held))).await;
    case.stored(NewDelivery { webhook: Some("wh_2".into()), ..of("it", row(&ordered)) }).await;
    assert!(case.sits("wh_2", "it").await && !case.sits("wh_2", "me").await);
    assert_eq!(case.leave("it".into(), ENDS).await.unwrap(), 2);
    assert_eq!(case.one(&held).await.next_attempt_at, Some(NOW + 3));
    // What is ordered waits for its turn, whoever has the seat now.
    assert_eq!((case.one(&ordered).await.next_attempt_at, case.waiting(NOW).await.unwrap().parked), (None, 1));
    assert!(case.sits("wh_2", "me").await);
    assert_eq!(case.beat("me".into()).await.unwrap().unwrap(), [node("me", 1)]);
}

pub(crate) async fn a_seat_is_its_nodes_until_that_is_gone(case: Case) {
    case.joined(&["me", "it"]).await;
    assert!(!case.sits("wh_1", "nobody").await, "it is no node");
    assert!(case.sits("wh_1", "me").await && case.sits("wh_1", "me").await);
    assert!(!case.sits("wh_1", "it").await && case.sits("wh_2", "it").await);
    assert_eq!(case.bury(node("me", 0), ENDS).await.unwrap(), Some(0));
    assert!(case.sits("wh_1", "it").await);
}

pub(crate) async fn what_another_node_answers_for_is_left_to_it(case: Case) {
    case.put_webhook(Webhook { rate_limit: None, max_in_flight: 15, ..webhook("wh_1", "t") }).await.unwrap();
    case.joined(&["me", "it"]).await;
    let (due, waits, held) = (id(NOW, 1), id(NOW, 2), id(NOW, 3));
    case.finished(parked(&due), retry(NOW)).await;
    case.stored(parked(&waits)).await;
    assert_eq!((case.next_due("me").await.unwrap(), case.waiting_lanes("me").await.unwrap().len()), (Some(NOW), 1));
    assert!(case.sits("wh_1", "it").await);
    assert_eq!((case.next_due("me").await.unwrap(), case.waiting_lanes("me").await.unwrap().len()), (None, 0));
    assert_eq!((case.next_due("it").await.unwrap(), case.waiting_lanes("it").await.unwrap().len()), (Some(NOW), 1));
    assert!(case.claim_due(NOW, lease("me"), 10).await.unwrap().is_empty());
    // A webhook of many slots has no owner, whoever had the seat before.
    let many = |webhook: &mut Webhook| {
        webhook.max_in_flight = 16;
        Ok(())
    };
    case.change_webhook(("acme", "wh_1"), many).await.unwrap();
    assert_eq!(case.waiting_lanes("me").await.unwrap().len(), 1);
    assert_eq!(ids(&case.claim_due(NOW, lease("me"), 10).await.unwrap()), [&*due]);
    // What another has in memory is that one's, however late it is; what one has that is no more is not.
    case.stored(of("it", row(&held))).await;
    assert!(case.claim_due(NOW + 1, lease("me"), 10).await.unwrap().is_empty());
    let lapsed = case.claim_due(LEASED, lease("me"), 10).await.unwrap();
    assert_eq!(ids(&lapsed), [&*due], "its own, after so long");
    case.home.sql("DELETE FROM nodes WHERE id = 'it'").await;
    assert_eq!(ids(&case.claim_due(LEASED, (LEASED + 9, "me".into()), 10).await.unwrap()), [&*due, &*held]);
    // With the webhook goes the seat.
    let stored = case.webhook("acme", "wh_1").await.unwrap().unwrap();
    case.joined(&["it"]).await;
    assert!(case.sits("wh_1", "it").await && case.delete_webhook(&stored).await.unwrap());
    assert!(case.sits("wh_1", "me").await);
}

pub(crate) async fn under_another_lease_nothing_of_a_delivery_changes(case: Case) {
    let [taken, again, waits, mine] = [1, 2, 3, 4].map(|number| id(NOW, number));
    for id in [&taken, &again] {
        case.stored(of("it", row(id))).await;
    }
    case.stored(parked(&waits)).await;
    case.stored(of("me", row(&mine))).await;
    let completion = |id: &str| Completion {
        company: "acme".into(),
        id: id.into(),
        lease: Some("me".into()),
        status: Status::Delivered,
        attempt_count: 1,
        due: None,
        finished_at: Some(NOW + 5),
        attempt: Some(attempt(1)),
    };
    // In one group with one that may.
    for id in [&taken, &again, &waits] {
        case.finish(completion(id)).await;
    }
    case.ended(completion(&mine)).await;
    for id in [&taken, &again, &waits] {
        let (delivery, _, attempts) = case.delivery("acme", id).await.unwrap().unwrap();
        assert_eq!((delivery.status, delivery.attempt_count, attempts.len()), (Status::Pending, 0, 0), "{id}");
    }
    assert_eq!(case.delivery("acme", &mine).await.unwrap().unwrap().2.len(), 1);
    // Nor for one that was taken, tried in vain and let go meanwhile.
    case.ended(Completion { lease: Some("it".into()), ..retry(NOW + 9)(completion(&again)) }).await;
    case.finish(Completion { attempt: Some(attempt(2)), attempt_count: 2, ..completion(&again) }).await;
    case.written().await.unwrap();
    let (delivery, _, attempts) = case.delivery("acme", &again).await.unwrap().unwrap();
    assert_eq!((delivery.next_attempt_at, attempts.len()), (Some(NOW + 9), 1));
}
