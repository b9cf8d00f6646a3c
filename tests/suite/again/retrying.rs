//! `POST /deliveries/{id}/retry`.

use posthaste_tests::{Answer, Client, Host, Receiver, guest};
use serde_json::{Value, json};

async fn retry(client: &Client, id: &str) -> Answer {
    client.post(&format!("/deliveries/{id}/retry"), &Value::Null).await
}

fn hook(receiver: &Receiver, path: &str) -> Value {
    json!({"type": "t", "target_url": receiver.url(path)})
}

/// Checks that all arrivals have the same id.
fn assert_one_id(receiver: &Receiver) {
    let arrivals = receiver.arrivals();
    assert!(arrivals.iter().all(|arrival| arrival.header("webhook-id") == arrivals[0].header("webhook-id")));
}

#[tokio::test]
async fn retry_by_hand_attempts_at_once_and_counts_on() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    receiver.answer_status(500);
    host.subscribe(&hook(&receiver, "/")).await;
    let id = host.publish("t", &json!(1)).await;
    for attempts in 1..3 {
        host.delivery_when(&id, "tried", |one| one["attempt_count"] == attempts).await;
        let waiting = host.delivery_when(&id, "waits", |one| one["next_attempt_at"].is_string()).await;
        assert_eq!(waiting["status"], "pending");
        let asked = retry(&host, &id).await.expect(202);
        assert_eq!((&asked["id"], &asked["status"]), (&json!(id), &json!("pending")));
    }
    // The schedule has two waits, so three attempts.
    assert_eq!(host.delivery(&id, "failed").await["attempt_count"], 3);
    receiver.answer_status(200);
    retry(&host, &id).await.expect(202);
    let delivered = host.delivery(&id, "delivered").await;
    assert_eq!((&delivered["attempt_count"], delivered["attempts"].as_array().unwrap().len()), (&json!(4), 4));
    assert_eq!(delivered["attempts"][3]["number"], 4);
    retry(&host, &id).await.expect(202);
    host.delivery_when(&id, "sent once more", |one| one["attempt_count"] == 5 && one["status"] == "delivered").await;
    assert_eq!(receiver.arrivals().len(), 5);
    assert_one_id(&receiver);
}

#[tokio::test]
async fn retry_uses_the_current_webhook() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.upload("drop", &guest("drop")).await.expect(201);
    host.upload("replace", &guest("replace")).await.expect(201);
    let with = |plugin: &str| json!({"type": "t", "target_url": receiver.url("/old"), "plugin": plugin});
    host.subscribe(&with("drop")).await;
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "filtered").await;
    host.subscribe(&with("replace")).await;
    retry(&host, &id).await.expect(202);
    host.delivery(&id, "delivered").await;
    host.subscribe(&hook(&receiver, "/new")).await;
    retry(&host, &id).await.expect(202);
    let arrivals = receiver.wait_for(2).await;
    let seen: Vec<_> = arrivals.iter().map(|arrival| (arrival.path.as_str(), arrival.text())).collect();
    assert_eq!(seen, [("/old", "hello".into()), ("/new", "1".into())]);
    assert_one_id(&receiver);
    let whole = host.delivery_when(&id, "three attempts", |one| one["attempt_count"] == 3).await;
    let outcomes: Vec<_> = whole["attempts"].as_array().unwrap().iter().map(|one| &one["plugin"]["outcome"]).collect();
    assert_eq!(outcomes, [&json!("drop"), &json!("replace"), &Value::Null]);
}

#[tokio::test]
async fn delivery_of_a_removed_webhook_is_sent_only_to_its_successor() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer_status(500);
    let webhook = host.subscribe(&hook(&receiver, "/")).await;
    let id = host.publish("t", &json!(1)).await;
    host.delivery_when(&id, "tried", |one| one["attempt_count"] == 1).await;
    host.delete(&format!("/webhooks/{webhook}"), &Value::Null).await.expect(200);
    host.delivery(&id, "cancelled").await;
    let text = retry(&host, &id).await.problem(409);
    assert!(text.contains("nobody subscribes to `t`"), "{text}");
    receiver.answer_status(200);
    let successor = host.subscribe(&hook(&receiver, "/successor")).await;
    retry(&host, &id).await.expect(202);
    let delivered = host.delivery(&id, "delivered").await;
    assert_eq!((&delivered["webhook"], &delivered["attempt_count"]), (&json!(successor), &json!(2)));
    assert_ne!(webhook, successor);
}

#[tokio::test]
async fn retry_for_a_disabled_webhook_waits() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let webhook = host.subscribe(&hook(&receiver, "/")).await;
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "delivered").await;
    host.patch(&format!("/webhooks/{webhook}"), &json!({"enabled": false})).await.expect(200);
    let asked = retry(&host, &id).await.expect(202);
    assert_eq!(
        (&asked["status"], &asked["next_attempt_at"], &asked["finished_at"]),
        (&json!("pending"), &Value::Null, &Value::Null)
    );
    assert_eq!(retry(&host, &id).await.expect(202)["status"], "pending");
    host.patch(&format!("/webhooks/{webhook}"), &json!({"enabled": true})).await.expect(200);
    assert_eq!(host.delivery(&id, "delivered").await["attempt_count"], 2);
    assert_eq!(receiver.arrivals().len(), 2);
}

#[tokio::test]
async fn retry_finds_only_deliveries_of_the_own_company() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let other = host.company("other").await;
    for client in [&host.client, &other] {
        client.subscribe(&hook(&receiver, "/")).await;
    }
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "delivered").await;
    retry(&other, &id).await.problem(404);
    for unknown in ["dlv_nobody", "%00", "dlv_0", &"x".repeat(5000)] {
        retry(&host, unknown).await.problem(404);
    }
    // Nobody subscribed when it was published: there is no delivery.
    assert_eq!(host.publish("unheard", &json!(1)).await, "");
    assert_eq!(receiver.arrivals().len(), 1);
}

#[tokio::test]
async fn concurrent_retries_make_one_attempt() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    host.subscribe(&hook(&receiver, "/")).await;
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "delivered").await;
    receiver.hold();
    let asked = futures_util::future::join_all((0..8).map(|_| retry(&host, &id))).await;
    assert!(asked.iter().all(|answer| answer.status == 202));
    receiver.wait_for(2).await;
    retry(&host, &id).await.expect(202);
    receiver.open();
    assert_eq!(host.delivery(&id, "delivered").await["attempt_count"], 2);
    assert_eq!((receiver.arrivals().len(), receiver.most_unanswered()), (2, 1));
}

#[tokio::test]
async fn retry_moves_a_queued_delivery_to_the_front() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1});
    host.subscribe(&hook).await;
    receiver.hold();
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(host.publish("t", &json!(number)).await);
    }
    receiver.first().await;
    retry(&host, &ids[20]).await.expect(202);
    receiver.open();
    let arrivals = receiver.wait_for(30).await;
    assert_eq!(arrivals[1].json(), json!(20));
    host.delivery(&ids[29], "delivered").await;
    assert_eq!(receiver.arrivals().len(), 30);
}
