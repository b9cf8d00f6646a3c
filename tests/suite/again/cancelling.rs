//! `POST /deliveries/{id}/cancel`, `POST /deliveries/cancel`, and stopping a replay.

use posthaste_tests::{Host, Receiver, until};
use serde_json::{Value, json};

const EVER: &str = "2020-01-01T00:00:00Z";

async fn count(host: &Host, status: &str) -> usize {
    let page = host.get(&format!("/deliveries?status={status}&limit=100")).await.expect(200);
    page["data"].as_array().unwrap().len()
}

async fn until_count(host: &Host, status: &str, expected: usize) {
    until("the deliveries have the status", || async { (count(host, status).await == expected).then_some(()) }).await;
}

async fn publish(host: &Host, event_type: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(host.publish(event_type, &json!(number)).await);
    }
    ids
}

async fn cancel(host: &Host, id: &str, status: u16) -> Value {
    host.post(&format!("/deliveries/{id}/cancel"), &json!(null)).await.expect(status)
}

#[tokio::test]
async fn one_delivery_is_cancelled_wherever_it_waits() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1});
    host.subscribe(&hook).await;
    // One in flight, and others behind it in memory.
    receiver.hold();
    let ids = publish(&host, "t", 3).await;
    receiver.wait_for(1).await;
    let cancelled = cancel(&host, &ids[1], 200).await;
    assert_eq!((&cancelled["status"], cancelled["finished_at"].is_string()), (&json!("cancelled"), true));
    assert_eq!(cancel(&host, &ids[1], 200).await["status"], "cancelled", "a second time, too");
    receiver.open();
    for id in [&ids[0], &ids[2]] {
        host.delivery(id, "delivered").await;
    }
    assert_eq!(receiver.arrivals().len(), 2);
    let why = host.post(&format!("/deliveries/{}/cancel", ids[0]), &json!(null)).await.problem(409);
    assert!(why.contains("delivered already"), "{why}");
    // One that waits for its retry.
    receiver.answer_status(500);
    let failed = host.publish("t", &json!("retry")).await;
    host.delivery_when(&failed, "it has failed once", |delivery| delivery["next_attempt_at"].is_string()).await;
    assert_eq!(cancel(&host, &failed, 200).await["attempt_count"], 1);
    // One of a disabled webhook.
    let id = host.subscribe(&json!({"type": "u", "target_url": receiver.url("/"), "enabled": false})).await;
    let waits = host.publish("u", &json!(1)).await;
    cancel(&host, &waits, 200).await;
    host.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).await.expect(200);
    receiver.answer_status(200);
    let later = host.publish("u", &json!("later")).await;
    host.delivery(&later, "delivered").await;
    assert!(receiver.arrivals().iter().all(|arrival| arrival.text() != "1"));
    host.company("other").await.post(&format!("/deliveries/{waits}/cancel"), &json!(null)).await.problem(404);
}

#[tokio::test]
async fn delivery_in_flight_is_cancelled_if_its_attempt_fails() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1ms,1h"]).await, Receiver::start().await);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    receiver.hold();
    receiver.answer_status(500);
    let fails = host.publish("t", &json!(1)).await;
    receiver.wait_for(1).await;
    assert_eq!(cancel(&host, &fails, 202).await["status"], "pending");
    receiver.open();
    let ended = host.delivery(&fails, "cancelled").await;
    assert_eq!((&ended["attempt_count"], &ended["attempts"][0]["status_code"]), (&json!(1), &json!(500)));
    receiver.answer_status(200);
    receiver.hold();
    let succeeds = host.publish("t", &json!(2)).await;
    receiver.wait_for(2).await;
    cancel(&host, &succeeds, 202).await;
    receiver.open();
    host.delivery(&succeeds, "delivered").await;
    // A retry by hand is a new attempt, which the earlier cancellation does not concern.
    host.post(&format!("/deliveries/{fails}/retry"), &json!(null)).await.expect(202);
    host.delivery(&fails, "delivered").await;
}

#[tokio::test]
async fn cancelled_head_of_an_ordered_webhook_lets_the_next_go() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| {
        use axum::response::IntoResponse;
        let status = if arrival.text() == "0" { http::StatusCode::BAD_REQUEST } else { http::StatusCode::OK };
        status.into_response()
    });
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "ordered": true})).await;
    let ids = publish(&host, "t", 3).await;
    host.delivery_when(&ids[0], "it has failed once", |delivery| delivery["next_attempt_at"].is_string()).await;
    cancel(&host, &ids[0], 200).await;
    for id in &ids[1..] {
        host.delivery(id, "delivered").await;
    }
}

#[tokio::test]
async fn many_are_cancelled_by_type_state_and_time() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    for (event_type, enabled) in [("failing", true), ("disabled", false), ("other", false)] {
        let hook = json!({"type": event_type, "target_url": receiver.url("/"), "enabled": enabled});
        host.subscribe(&hook).await;
    }
    receiver.answer_status(500);
    let mut ids = publish(&host, "failing", 3).await;
    until_count(&host, "retrying", 3).await;
    ids.extend(publish(&host, "disabled", 4).await);
    ids.extend(publish(&host, "other", 2).await);
    let ask = async |body: &Value| host.post("/deliveries/cancel", body).await.expect(202)["count"].as_u64().unwrap();
    assert_eq!(ask(&json!({"since": EVER, "type": "nobody"})).await, 0);
    assert_eq!(ask(&json!({"since": EVER, "until": EVER})).await, 0);
    assert_eq!(ask(&json!({"since": EVER, "status": "retrying"})).await, 3);
    until_count(&host, "cancelled", 3).await;
    assert_eq!(ask(&json!({"since": EVER, "type": "disabled"})).await, 4);
    until_count(&host, "cancelled", 7).await;
    assert_eq!(count(&host, "pending").await, 2);
    assert_eq!(ask(&json!({"since": EVER})).await, 2);
    until_count(&host, "cancelled", 9).await;
    for (body, pointer) in [
        (json!({"since": EVER, "status": "delivered"}), "/status"),
        (json!({"since": "x"}), "/since"),
        (json!({"since": EVER, "until": "2019-01-01T00:00:00Z"}), "/until"),
    ] {
        let answer = host.post("/deliveries/cancel", &body).await.expect(422);
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer}");
    }
}

#[tokio::test]
async fn stopped_replay_sends_nothing_more() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h"]).await, Receiver::start().await);
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 1});
    host.subscribe(&hook).await;
    let ids = publish(&host, "t", 5).await;
    for id in &ids {
        host.delivery(id, "delivered").await;
    }
    receiver.hold();
    let ordered = host.post("/deliveries/replay", &json!({"since": EVER, "type": "t"})).await.expect(202);
    let replay = ordered["id"].as_str().unwrap();
    receiver.wait_for(6).await;
    let page = until("all are marked", || async {
        let page = host.get("/deliveries/replays").await.expect(200);
        (page["data"][0]["state"] == "sending").then_some(page)
    })
    .await;
    let shown = &page["data"][0];
    assert_eq!((&shown["id"], &shown["type"], &shown["status"]), (&ordered["id"], &json!("t"), &json!(null)));
    assert!(shown["since"].as_str().unwrap().starts_with("2020-01-01T00:00:00") && shown["until"].is_string());
    host.company("other").await.delete(&format!("/deliveries/replays/{replay}"), &json!(null)).await.problem(404);
    let stopped = host.delete(&format!("/deliveries/replays/{replay}"), &json!(null)).await.expect(200);
    assert_eq!(stopped["id"], ordered["id"]);
    until_count(&host, "cancelled", 4).await;
    receiver.open();
    until_count(&host, "delivered", 1).await;
    assert_eq!(receiver.arrivals().len(), 6, "the one in flight was the last");
    assert_eq!(host.get("/deliveries/replays").await.expect(200)["data"], json!([]));
    host.delete(&format!("/deliveries/replays/{replay}"), &json!(null)).await.problem(404);
}
