//! What a receiver asks for with `webhook-delivery` in its answer.

use std::sync::Arc;

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Arrival, Client, Host, MovedClock, Receiver, until};
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;
const DISABLED_EVENT: &str = "posthaste.webhook.disabled";

/// Answers with the status and the `webhook-delivery` that are the event's data.
fn as_asked(_: usize, arrival: &Arrival) -> axum::response::Response {
    let data = arrival.json();
    let status = data[0].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    match data[1].as_str() {
        Some(control) => (status, [("webhook-delivery", control.to_owned())]).into_response(),
        None => status.into_response(),
    }
}

async fn start(host: &Host) -> (Receiver, String) {
    let receiver = Receiver::start().await;
    receiver.answer(as_asked);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    (receiver, id)
}

async fn disabled(client: &Client, id: &str) -> Value {
    until("the webhook is disabled", || async {
        Some(client.get(&format!("/webhooks/{id}")).await.expect(200)).filter(|webhook| webhook["enabled"] == false)
    })
    .await
}

#[tokio::test]
async fn disable_fails_its_delivery_disables_the_webhook_and_lets_the_others_wait() {
    let host = Host::with(&["--retry-schedule=10h,10h"]).await;
    let (receiver, id) = start(&host).await;
    let subscriber = Receiver::start().await;
    host.subscribe(&json!({"type": DISABLED_EVENT, "target_url": subscriber.url("/")})).await;
    let earlier = host.publish("t", &json!([500])).await;
    host.delivery_when(&earlier, "tried", |one| one["attempt_count"] == 1).await;
    let last = host.delivery(&host.publish("t", &json!([503, " Disable "])).await, "failed").await;
    let error = last["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("503") && error.contains("webhook-delivery: disable"), "{error}");
    let reason = disabled(&host, &id).await["disabled_reason"].clone();
    assert!(reason.as_str().unwrap().contains("webhook-delivery: disable"), "{reason}");
    assert_eq!(subscriber.first().await.json()["reason"], reason);
    let waits = |one: &Value| one["status"] == "pending" && one["next_attempt_at"].is_null();
    host.delivery_when(&earlier, "waits for its webhook", waits).await;
    let later = host.publish("t", &json!([200])).await;
    host.delivery_when(&later, "waits for its webhook", waits).await;
    assert_eq!(receiver.arrivals().len(), 2);
    host.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).await.expect(200);
    host.delivery(&later, "delivered").await;
}

#[tokio::test]
async fn disable_with_a_2xx_delivers_and_disables_the_webhook() {
    let host = Host::start().await;
    let (_receiver, id) = start(&host).await;
    let last = host.publish("t", &json!([204, "disable"])).await;
    let webhook = disabled(&host, &id).await;
    assert!(webhook["disabled_reason"].as_str().unwrap().contains("webhook-delivery: disable"), "{webhook}");
    let attempt = host.delivery(&last, "delivered").await["attempts"][0].clone();
    assert_eq!(
        (&attempt["error"], &attempt["response_headers"]["webhook-delivery"]),
        (&Value::Null, &json!("disable"))
    );
}

#[tokio::test]
async fn abort_fails_its_delivery_at_once_and_the_webhook_stays_enabled() {
    let host = Host::with(&["--retry-schedule=10h,10h"]).await;
    let (receiver, id) = start(&host).await;
    for control in ["abort", "ABORT", "abort-message"] {
        let aborted = host.delivery(&host.publish("t", &json!([500, control])).await, "failed").await;
        assert_eq!((&aborted["attempt_count"], aborted["finished_at"].is_string()), (&json!(1), true));
        let error = aborted["attempts"][0]["error"].as_str().unwrap();
        assert!(error.contains("500") && error.contains("webhook-delivery: abort"), "{error}");
    }
    host.delivery(&host.publish("t", &json!([200, "abort"])).await, "delivered").await;
    let retried = host.publish("t", &json!([500, "retry"])).await;
    host.delivery_when(&retried, "is retried", |one| one["next_attempt_at"].is_string()).await;
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200)["enabled"], true);
    assert_eq!(receiver.arrivals().len(), 5);
}

#[tokio::test]
async fn aborts_for_48_hours_do_not_disable_the_webhook() {
    let clock = Arc::new(MovedClock::default());
    let host = Host::at(clock.clone(), &["--retry-schedule=10h"]).await;
    let (_receiver, id) = start(&host).await;
    for _ in 0..6 {
        host.delivery(&host.publish("t", &json!([500, "abort"])).await, "failed").await;
        clock.pass(11 * HOUR_MS);
    }
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200)["enabled"], true);
    // Failures of the same length do.
    for _ in 0..5 {
        let failed = host.publish("t", &json!([500])).await;
        host.delivery_when(&failed, "tried", |one| one["attempt_count"].as_u64() >= Some(1)).await;
        clock.pass(11 * HOUR_MS);
    }
    host.publish("t", &json!([500])).await;
    disabled(&host, &id).await;
}

#[tokio::test]
async fn header_of_the_answer_to_a_test_changes_nothing() {
    let host = Host::start().await;
    let (_receiver, id) = start(&host).await;
    let test = json!({"event": {"data": [500, "disable"]}});
    let attempt = host.post(&format!("/webhooks/{id}/test"), &test).await.expect(200);
    assert!(attempt["error"].as_str().unwrap().contains("webhook-delivery: disable"), "{attempt}");
    assert_eq!(host.get(&format!("/webhooks/{id}")).await.expect(200)["enabled"], true);
}
