//! One delivery is sent again on request, many times.

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Host, Receiver};
use serde_json::{Value, json};

/// What the receiver answers each attempt: as much as an attempt keeps.
const ANSWER: usize = 16 * 1024;

#[tokio::test]
async fn retries_of_one_delivery_are_bounded_and_so_is_its_answer() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    receiver.answer(|_, _| (StatusCode::OK, "x".repeat(ANSWER)).into_response());
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let id = host.publish("t", &json!(1)).await;
    host.delivery(&id, "delivered").await;
    let path = format!("/deliveries/{id}/retry");
    for attempts in 2..=101 {
        host.post(&path, &Value::Null).await.expect(202);
        let sent = |one: &Value| one["attempt_count"] == attempts && one["status"] == "delivered";
        host.delivery_when(&id, "sent again", sent).await;
    }
    let refused = host.post(&path, &Value::Null).await;
    assert!(refused.problem(429).contains("publish the event again"));
    assert_eq!((&refused.json()["limit"], refused.header("retry-after")), (&json!("manual-retries"), "60"));
    let shown = host.get(&format!("/deliveries/{id}")).await;
    assert!(shown.bytes.len() < 5 << 18, "{}", shown.bytes.len());
    let shown = shown.json();
    let attempts = shown["attempts"].as_array().unwrap();
    assert!(attempts.len() > 50 && attempts.len() < 65, "{}", attempts.len());
    assert_eq!(shown["attempts_omitted"], 101 - attempts.len());
    assert_eq!((&attempts.last().unwrap()["number"], &shown["last_status_code"]), (&json!(101), &json!(200)));
    // Other deliveries, of this company too, are sent again as before.
    let other = host.publish("t", &json!(2)).await;
    host.delivery(&other, "delivered").await;
    host.post(&format!("/deliveries/{other}/retry"), &Value::Null).await.expect(202);
}
