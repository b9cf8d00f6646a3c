//! Deliveries whose schedule is used up.

use axum::response::IntoResponse;
use http::StatusCode;

use super::*;

const EXHAUSTED: &str = "posthaste.delivery.exhausted";

#[tokio::test]
async fn exhausted_delivery_is_told_with_its_attempts_and_its_last_error() {
    let host = Host::with(&["--retry-schedule=1ms,1ms"]).await;
    let (receiver, subscriber) = (Receiver::start().await, Receiver::start().await);
    receiver.answer_status(503);
    let id =
        host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t?key=s3cret"), "name": "Payroll"})).await;
    subscribe(&host, &subscriber, EXHAUSTED).await;
    let delivery = host.publish("t", &json!({"iban": "DE89"})).await;
    let event_id = host.delivery(&delivery, "failed").await["event_id"].clone();
    let data = told(&subscriber, EXHAUSTED, &id).await;
    let error = "the receiver answered 503";
    let expected = json!({"id": delivery, "event_id": event_id, "type": "t", "attempt_count": 3, "last_error": error,
        "last_status_code": 503});
    assert_eq!((&data["delivery"], &data["omitted"]), (&expected, &json!(0)));
    let shown = json!({"id": id, "type": "t", "label": null, "target_url": receiver.url("/t?***"), "name": "Payroll"});
    assert_eq!(data["webhook"], shown);
    assert!(!data.to_string().contains("DE89"), "{data}");
}

#[tokio::test]
async fn delivery_that_the_answer_ends_is_not_told_as_exhausted() {
    let mut host = Host::with(&["--retry-schedule=1ms"]).await;
    let (receiver, subscriber) = (Receiver::start().await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.json().as_str() {
        Some("abort") => (StatusCode::BAD_REQUEST, [("webhook-delivery", "abort")]).into_response(),
        _ => StatusCode::GONE.into_response(),
    });
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    subscribe(&host, &subscriber, EXHAUSTED).await;
    for data in ["abort", "gone"] {
        host.delivery(&host.publish("t", &json!(data)).await, "failed").await;
    }
    host.restart().await;
    assert_eq!(stored(&host, EXHAUSTED).await, 0);
}

#[tokio::test]
async fn exhausted_operational_event_is_not_told() {
    let mut host = Host::with(&["--retry-schedule=1ms"]).await;
    let failing = Receiver::start().await;
    failing.answer_status(500);
    subscribe(&host, &failing, "posthaste.webhook.created").await;
    // It fails on each event about an exhausted delivery.
    subscribe(&host, &failing, EXHAUSTED).await;
    host.subscribe(&json!({"type": "t", "target_url": failing.url("/t")})).await;
    host.delivery(&host.publish("t", &json!(1)).await, "failed").await;
    // Two POSTs of the event, and two about each of: the two webhooks that were made, and the exhausted delivery.
    failing.wait_for(8).await;
    host.restart().await;
    assert_eq!((failing.arrivals().len(), stored(&host, EXHAUSTED).await), (8, 1));
}
