//! The `health` of a webhook.

use posthaste_tests::{Client, Host, Receiver, until};
use serde_json::{Value, json};

async fn health(client: &Client, id: &str) -> Value {
    client.get(&format!("/webhooks/{id}")).await.expect(200)["health"].clone()
}

#[tokio::test]
async fn health_follows_what_the_receiver_answers() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let nothing = json!({"state": "unknown", "failing_since": null, "last_error": null, "last_success_at": null,
        "waiting": 0, "oldest_waiting_at": null});
    assert_eq!(health(&host, &id).await, nothing);
    let delivered = host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    let healthy = health(&host, &id).await;
    assert_eq!((&healthy["state"], &healthy["last_error"]), (&json!("healthy"), &json!(null)));
    assert_eq!(healthy["last_success_at"], delivered["finished_at"]);
    receiver.answer_status(500);
    let failed = host.publish("t", &json!(2)).await;
    let failed = host.delivery_when(&failed, "it has failed", |delivery| delivery["next_attempt_at"].is_string()).await;
    let failing = health(&host, &id).await;
    assert_eq!(failing["state"], "failing");
    assert!(failing["failing_since"].is_string() && failing["last_success_at"] == healthy["last_success_at"]);
    assert_eq!(failing["last_error"], failed["attempts"][0]["error"]);
    assert_eq!((&failing["waiting"], &failing["oldest_waiting_at"]), (&json!(1), &failed["created_at"]));
    let list = host.get("/webhooks").await.expect(200);
    assert_eq!(list[0]["health"], failing);
    receiver.answer_status(200);
    host.post(&format!("/deliveries/{}/retry", failed["id"].as_str().unwrap()), &json!(null)).await.expect(202);
    until("it is healthy again", || async {
        let health = health(&host, &id).await;
        (health["state"] == "healthy" && health["waiting"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn waiting_deliveries_show_wherever_they_wait() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    receiver.hold();
    let slow = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1});
    let disabled = json!({"type": "u", "target_url": receiver.url("/"), "enabled": false});
    let (slow, disabled) = (host.subscribe(&slow).await, host.subscribe(&disabled).await);
    let mut oldest = Vec::new();
    for event_type in ["t", "u"] {
        let first = host.publish(event_type, &json!(1)).await;
        for number in 2..4 {
            host.publish(event_type, &json!(number)).await;
        }
        oldest.push(host.get(&format!("/deliveries/{first}")).await.expect(200)["created_at"].clone());
    }
    for (id, oldest) in [slow, disabled].iter().zip(oldest) {
        let health = health(&host, id).await;
        assert_eq!((&health["waiting"], &health["oldest_waiting_at"]), (&json!(3), &oldest), "{health}");
    }
    receiver.open();
}
