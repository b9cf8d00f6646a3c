//! Automatic disabling of webhooks: by a 410 at once, by failures alone after 48 hours; and enabling them again.

use std::fs;
use std::sync::Arc;

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste_tests::{Arrival, Client, Host, MovedClock, Receiver, binary, guest, until};
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;
const DISABLED_EVENT: &str = "posthaste.webhook.disabled";

/// Answers with the status that is the event's data.
fn as_asked(_: usize, arrival: &Arrival) -> axum::response::Response {
    let status = arrival.json().as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    StatusCode::from_u16(status).unwrap().into_response()
}

async fn disabled(client: &Client, id: &str) -> Value {
    until("the webhook is disabled", || async {
        Some(client.get(&format!("/webhooks/{id}")).await.expect(200)).filter(|webhook| webhook["enabled"] == false)
    })
    .await
}

async fn waits(client: &Client, delivery: &str) {
    let waits = |one: &Value| one["status"] == "pending" && one["next_attempt_at"].is_null();
    client.delivery_when(delivery, "waits for its webhook", waits).await;
}

#[tokio::test]
async fn status_410_fails_its_delivery_and_disables_the_webhook() {
    let (mut host, receiver) = (Host::with(&["--retry-schedule=10h,10h"]).await, Receiver::start().await);
    receiver.answer(as_asked);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "name": "Payroll"});
    let id = host.subscribe(&hook).await;
    let earlier = host.publish("t", &json!(500)).await;
    host.delivery_when(&earlier, "tried", |one| one["attempt_count"] == 1).await;
    let gone = host.delivery(&host.publish("t", &json!(410)).await, "failed").await;
    assert_eq!((&gone["attempt_count"], gone["finished_at"].is_string()), (&json!(1), true));
    let mut webhook = disabled(&host, &id).await;
    assert!(webhook["disabled_reason"].as_str().unwrap().contains("410"), "{webhook}");
    let later = host.publish("t", &json!(200)).await;
    waits(&host, &earlier).await;
    waits(&host, &later).await;
    host.restart().await;
    let mut found = host.get(&format!("/webhooks/{id}")).await.expect(200);
    // More deliveries wait than before.
    for shown in [&mut webhook, &mut found] {
        shown.as_object_mut().unwrap().remove("health");
    }
    assert_eq!(found, webhook);
    waits(&host, &earlier).await;
    receiver.answer_status(200);
    assert_eq!(host.subscribe(&hook).await, id);
    let earlier = host.delivery(&earlier, "delivered").await;
    host.delivery(&later, "delivered").await;
    assert_eq!(earlier["attempt_count"], 2);
    let webhook = host.get(&format!("/webhooks/{id}")).await.expect(200);
    assert_eq!((&webhook["enabled"], &webhook["disabled_reason"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn attempt_in_flight_at_a_410_waits_until_the_webhook_is_enabled() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer(as_asked);
    receiver.hold();
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    host.publish("t", &json!(410)).await;
    receiver.wait_for(1).await;
    let in_flight = host.publish("t", &json!(500)).await;
    receiver.wait_for(2).await;
    receiver.release(1);
    disabled(&host, &id).await;
    receiver.release(1);
    host.delivery_when(&in_flight, "tried", |one| one["attempt_count"] == 1).await;
    waits(&host, &in_flight).await;
    receiver.answer_status(200);
    receiver.open();
    host.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).await.expect(200);
    host.delivery(&in_flight, "delivered").await;
}

#[tokio::test]
async fn attempt_in_flight_is_cancelled_when_its_webhook_is_removed() {
    let (host, receiver) = (Host::with(&["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer_status(500);
    receiver.hold();
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    let in_flight = host.publish("t", &json!(1)).await;
    receiver.first().await;
    host.delete(&format!("/webhooks/{id}"), &Value::Null).await.expect(200);
    receiver.open();
    let cancelled = host.delivery(&in_flight, "cancelled").await;
    assert_eq!((&cancelled["attempt_count"], cancelled["finished_at"].is_string()), (&json!(1), true));
}

#[tokio::test]
async fn disabling_publishes_an_operational_event_to_its_company_only() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let (subscriber, foreign) = (Receiver::start().await, Receiver::start().await);
    let other = host.company("other").await;
    receiver.answer_status(410);
    let body = json!({"type": "t", "target_url": receiver.url("/t"), "name": "Payroll"});
    let id = host.subscribe(&body).await;
    let first =
        host.post("/webhooks", &json!({"type": DISABLED_EVENT, "target_url": subscriber.url("/")})).await.expect(201);
    other.subscribe(&json!({"type": DISABLED_EVENT, "target_url": foreign.url("/")})).await;
    host.publish("t", &json!(1)).await;
    let arrival = subscriber.first().await;
    let notice = arrival.json();
    assert_eq!((arrival.header("webhook-event-type"), &notice["webhook"]["id"]), (DISABLED_EVENT, &json!(id)));
    assert_eq!(notice["webhook"]["target_url"], receiver.url("/t"));
    assert_eq!((&notice["webhook"]["type"], &notice["webhook"]["name"]), (&json!("t"), &json!("Payroll")));
    assert_eq!(notice["reason"], disabled(&host, &id).await["disabled_reason"]);
    let secret = posthaste::outbound::sign::parse_secret(first["signing_secret"].as_str().unwrap()).unwrap();
    let signed =
        (arrival.header("webhook-id"), arrival.header("webhook-timestamp"), arrival.header("webhook-signature"));
    posthaste_tests::verify(&secret, signed, &arrival.body, signed.1.parse().unwrap()).unwrap();
    assert_eq!(other.get("/deliveries").await.expect(200)["data"], json!([]));
    // A disabled subscriber of the operational event gets no event about itself.
    subscriber.answer_status(410);
    host.subscribe(&body).await;
    host.publish("t", &json!(2)).await;
    disabled(&host, first["id"].as_str().unwrap()).await;
    let notices = host.get(&format!("/deliveries?type={DISABLED_EVENT}")).await.expect(200);
    assert_eq!(notices["data"].as_array().unwrap().len(), 2);
}

/// Publishes one event that fails twice, ten hours apart.
async fn fails(host: &Host, clock: &MovedClock, event_type: &str) {
    let id = host.publish(event_type, &json!(500)).await;
    host.delivery_when(&id, "tried", |one| one["attempt_count"] == 1).await;
    clock.pass(11 * HOUR_MS);
    host.look().await;
    host.delivery_when(&id, "tried again", |one| one["attempt_count"] == 2).await;
}

async fn enabled(host: &Host, id: &str) -> bool {
    host.get(&format!("/webhooks/{id}")).await.expect(200)["enabled"] == true
}

#[tokio::test]
async fn webhook_failing_for_48_hours_is_disabled_across_restarts() {
    let clock = Arc::new(MovedClock::default());
    let (mut host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer(as_asked);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    for _ in 0..4 {
        fails(&host, &clock, "t").await;
        host.restart().await;
        assert!(enabled(&host, &id).await, "44 hours at most");
    }
    host.publish("t", &json!(500)).await;
    clock.pass(5 * HOUR_MS);
    host.publish("t", &json!(500)).await;
    let reason = disabled(&host, &id).await["disabled_reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("48 hours") && reason.contains("500"), "{reason}");
    // Enabling restarts the 48 hours.
    host.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).await.expect(200);
    fails(&host, &clock, "t").await;
    assert!(enabled(&host, &id).await);
}

#[tokio::test]
async fn failing_webhook_with_rare_events_is_disabled_too() {
    let clock = Arc::new(MovedClock::default());
    let (mut host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=20h"]).await, Receiver::start().await);
    receiver.answer(as_asked);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    for _ in 0..2 {
        assert!(enabled(&host, &id).await);
        let delivery = host.publish("t", &json!(500)).await;
        host.delivery_when(&delivery, "tried", |one| one["attempt_count"] == 1).await;
        // Each process sees one failure.
        host.restart().await;
        clock.pass(24 * HOUR_MS);
        host.look().await;
        host.delivery(&delivery, "failed").await;
        host.restart().await;
    }
    disabled(&host, &id).await;
}

#[tokio::test]
async fn single_success_in_48_hours_keeps_a_webhook_enabled() {
    let clock = Arc::new(MovedClock::default());
    let (mut host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer(as_asked);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    for round in 0..6 {
        if round == 2 {
            host.delivery(&host.publish("t", &json!(200)).await, "delivered").await;
            host.restart().await;
        }
        fails(&host, &clock, "t").await;
        assert!(enabled(&host, &id).await, "round {round}");
    }
    clock.pass(5 * HOUR_MS);
    host.publish("t", &json!(500)).await;
    disabled(&host, &id).await;
}

#[tokio::test]
async fn clock_jump_disables_no_webhook() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h"]).await, Receiver::start().await);
    receiver.answer(as_asked);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    fails(&host, &clock, "t").await;
    clock.set(1000 * HOUR_MS);
    fails(&host, &clock, "t").await;
    assert!(enabled(&host, &id).await);
}

#[tokio::test]
async fn failing_plugin_disables_its_webhook_and_filtered_events_do_not_count() {
    let clock = Arc::new(MovedClock::default());
    let (host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h"]).await, Receiver::start().await);
    host.upload("error", &guest("error")).await.expect(201);
    host.upload("drop", &guest("drop")).await.expect(201);
    let hook = |kind: &str, plugin: &str| json!({"type": kind, "target_url": receiver.url("/"), "plugin": plugin});
    let broken = host.subscribe(&hook("broken", "error")).await;
    let filtering = host.subscribe(&hook("filtering", "drop")).await;
    // Fails at first and then filters: a filtered event is neither a success nor a failure.
    let mixed = host
        .subscribe(&json!({"type": "mixed", "target_url": receiver.url("/"), "plugin": "std-filter",
        "config": {"drop": [{"field": "/n", "is": 1}]}}))
        .await;
    receiver.answer_status(500);
    for _ in 0..5 {
        host.delivery(&host.publish("filtering", &json!(1)).await, "filtered").await;
        host.delivery(&host.publish("mixed", &json!({"n": 1})).await, "filtered").await;
        let ids = [host.publish("broken", &json!(1)).await, host.publish("mixed", &json!({"n": 2})).await];
        for id in ids {
            host.delivery_when(&id, "tried", |one| one["attempt_count"] == 1).await;
        }
        clock.pass(11 * HOUR_MS);
        host.look().await;
    }
    let reason = disabled(&host, &broken).await["disabled_reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("no such employee"), "{reason}");
    disabled(&host, &mixed).await;
    assert!(enabled(&host, &filtering).await && receiver.arrivals().len() >= 5);
}

#[tokio::test]
async fn host_errors_disable_no_webhook() {
    let clock = Arc::new(MovedClock::default());
    let (mut host, receiver) = (Host::at(clock.clone(), &["--retry-schedule=10h"]).await, Receiver::start().await);
    host.upload("pass", &guest("pass")).await.expect(201);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "plugin": "pass"})).await;
    host.stop().await;
    for file in fs::read_dir(host.folder().join("compiled")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    host.compile_with("/bin/false");
    host.restart().await;
    for _ in 0..6 {
        fails(&host, &clock, "t").await;
    }
    assert!(enabled(&host, &id).await && receiver.arrivals().is_empty());
    host.compile_with(binary());
    host.restart().await;
    host.delivery(&host.publish("t", &json!(1)).await, "delivered").await;
}
