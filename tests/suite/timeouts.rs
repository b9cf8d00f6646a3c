//! The `timeout` of a webhook.

use posthaste_tests::{Host, Receiver};
use serde_json::{Value, json};

/// Waits for the first attempt of a delivery to fail, and returns it.
async fn failed_attempt(host: &Host, delivery: &str) -> Value {
    let tried = host.delivery_when(delivery, "one attempt", |delivery| delivery["attempt_count"] == 1).await;
    tried["attempts"][0].clone()
}

#[tokio::test]
async fn attempts_and_tests_end_at_the_timeout_of_their_webhook() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    let webhook = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "timeout": "1s"})).await;
    receiver.hold();
    let delivery = host.publish("t", &json!(1)).await;
    let attempt = failed_attempt(&host, &delivery).await;
    assert_eq!((&attempt["error"], &attempt["status_code"]), (&json!("no answer within 1 s"), &Value::Null));
    assert!(attempt["duration_ms"].as_i64().unwrap() >= 1000, "{attempt}");
    let test = host.post(&format!("/webhooks/{webhook}/test"), &Value::Null).await.expect(200);
    assert_eq!(test["error"], "no answer within 1 s");
    // A longer timeout may be what the delivery needs: it does not wait for its retry.
    host.patch(&format!("/webhooks/{webhook}"), &json!({"timeout": "1m"})).await.expect(200);
    receiver.wait_for(3).await;
    receiver.open();
    host.delivery(&delivery, "delivered").await;
}

#[tokio::test]
async fn longer_timeout_outlasts_that_of_the_service() {
    let flags = ["--attempt-timeout=300ms", "--retry-schedule=1h"];
    let (host, receiver) = (Host::with(&flags).await, Receiver::start().await);
    host.subscribe(&json!({"type": "patient", "target_url": receiver.url("/"), "timeout": "60s"})).await;
    host.subscribe(&json!({"type": "default", "target_url": receiver.url("/")})).await;
    receiver.hold();
    let patient = host.publish("patient", &json!(1)).await;
    receiver.wait_for(1).await;
    let hasty = host.publish("default", &json!(1)).await;
    assert_eq!(failed_attempt(&host, &hasty).await["error"], "no answer within 300 ms");
    receiver.open();
    assert_eq!(host.delivery(&patient, "delivered").await["attempt_count"], 1);
}
