//! Webhooks that fail, and recover.

use std::sync::Arc;

use posthaste_tests::MovedClock;

use super::*;

const MINUTE_MS: i64 = 60_000;
const FAILING: &str = "posthaste.webhook.failing";
const RECOVERED: &str = "posthaste.webhook.recovered";

/// Publishes an event that fails once.
async fn fails(host: &Host, event_type: &str) {
    let id = host.publish(event_type, &json!(1)).await;
    host.delivery_when(&id, "tried", |one| one["attempt_count"].as_u64() >= Some(1)).await;
}

#[tokio::test]
async fn failing_webhook_is_told_at_each_threshold_and_once_when_it_recovers_across_restarts() {
    let clock = Arc::new(MovedClock::default());
    let mut host = Host::at(clock.clone(), &["--retry-schedule=40h"]).await;
    let (receiver, subscriber) = (Receiver::start().await, Receiver::start().await);
    receiver.answer_status(500);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    subscribe(&host, &subscriber, FAILING).await;
    subscribe(&host, &subscriber, RECOVERED).await;
    fails(&host, "t").await;
    fails(&host, "t").await;
    assert_eq!(stored(&host, FAILING).await, 0, "it has not failed for long");
    let mut since = Value::Null;
    // After 1 minute, 61 minutes and 25 hours.
    for (number, minutes) in [(1, 1), (2, 60), (3, 24 * 60)] {
        clock.pass(minutes * MINUTE_MS);
        fails(&host, "t").await;
        let failing = subscriber.wait_for(number).await.remove(number - 1).json();
        assert_eq!((&failing["type"], &failing["webhook"]["id"]), (&json!(FAILING), &json!(id)));
        assert!(failing["last_error"].as_str().unwrap().contains("500"), "{failing}");
        if number > 1 {
            assert_eq!(failing["failing_since"], since);
        }
        since = failing["failing_since"].clone();
        fails(&host, "t").await;
        host.restart().await;
        fails(&host, "t").await;
        assert_eq!(stored(&host, FAILING).await, number);
    }
    receiver.answer_status(200);
    for _ in 0..2 {
        host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    }
    assert_eq!(told(&subscriber, RECOVERED, &id).await["failing_since"], since);
    host.restart().await;
    host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    assert_eq!((stored(&host, FAILING).await, stored(&host, RECOVERED).await), (3, 1));
}

#[tokio::test]
async fn webhook_that_fails_now_and_then_is_not_told() {
    let clock = Arc::new(MovedClock::default());
    let host = Host::at(clock.clone(), &["--retry-schedule=40h"]).await;
    let (receiver, subscriber) = (Receiver::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/t")})).await;
    subscribe(&host, &subscriber, FAILING).await;
    subscribe(&host, &subscriber, RECOVERED).await;
    for _ in 0..3 {
        receiver.answer_status(500);
        fails(&host, "t").await;
        clock.pass(2 * MINUTE_MS);
        receiver.answer_status(200);
        host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
    }
    assert_eq!((stored(&host, FAILING).await, stored(&host, RECOVERED).await), (0, 0));
}

#[tokio::test]
async fn failures_of_a_webhook_for_operational_events_are_not_told() {
    let clock = Arc::new(MovedClock::default());
    let mut host = Host::at(clock.clone(), &["--retry-schedule=40h"]).await;
    let (failing, subscriber) = (Receiver::start().await, Receiver::start().await);
    failing.answer_status(500);
    subscribe(&host, &failing, "posthaste.webhook.updated").await;
    subscribe(&host, &subscriber, FAILING).await;
    let hook = json!({"type": "t", "target_url": failing.url("/t")});
    let id = host.subscribe(&hook).await;
    for number in 1..=3 {
        host.patch(&format!("/webhooks/{id}"), &json!({"name": "n"})).await.expect(200);
        failing.wait_for(number).await;
        clock.pass(2 * MINUTE_MS);
    }
    // What the attempts led to is stored before the host has stopped.
    host.restart().await;
    assert_eq!((failing.arrivals().len(), stored(&host, FAILING).await), (3, 0));
}
