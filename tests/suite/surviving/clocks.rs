//! The machine's clock is set while the service runs or is stopped.

use std::sync::Arc;

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste::clock::Clock;
use posthaste_tests::{Host, MovedClock, Receiver, StoppedClock, until};
use serde_json::{Value, json};

use super::subscribe;

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;
/// A delivery of 1970.
const ANCIENT: &str = "dlv_000000000001";

async fn at(flags: &[&str]) -> (Arc<MovedClock>, Host, Receiver) {
    let clock = Arc::new(MovedClock::default());
    (clock.clone(), Host::at(clock, flags).await, Receiver::start().await)
}

fn fails(receiver: &Receiver) {
    receiver.answer(|_, _| StatusCode::SERVICE_UNAVAILABLE.into_response());
}

fn takes(receiver: &Receiver) {
    receiver.answer(|_, _| StatusCode::OK.into_response());
}

fn attempted(delivery: &Value) -> bool {
    delivery["attempt_count"] != 0
}

/// Converts a timestamp of the API to milliseconds since 1970.
fn ms(shown: &Value) -> i64 {
    posthaste::domain::time::parse_rfc3339(shown.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn retry_is_not_delayed_by_a_clock_set_back_and_is_shown_in_present_time() {
    const WAIT: std::ops::RangeInclusive<i64> = 108_000..=132_000;
    let (clock, receiver) = (StoppedClock::now(), Receiver::start().await);
    let mut host = Host::at(clock.clone(), &["--retry-schedule=2m,2m,2m"]).await;
    subscribe(&host, &receiver).await;
    fails(&receiver);
    let id = host.publish("t", &json!(1)).await;
    host.delivery_when(&id, "an attempt", attempted).await;
    clock.set(-HOUR);
    let shown = host.get(&format!("/deliveries/{id}")).await.expect(200);
    let wait = ms(&shown["next_attempt_at"]) - clock.now_ms();
    assert!(WAIT.contains(&wait), "in {wait} ms");
    clock.pass(wait);
    host.look().await;
    receiver.wait_for(2).await;
    host.delivery_when(&id, "two attempts", |delivery| delivery["attempt_count"] == 2).await;
    host.restart().await;
    takes(&receiver);
    // The next process has not seen the jump and takes the time of the newest event for the present. The retry may be late by
    // the time between that event and the last attempt, but not by the hour.
    clock.pass(wait + WAIT.end());
    host.look().await;
    host.delivery(&id, "delivered").await;
    assert_eq!(receiver.arrivals().len(), 3);
}

#[tokio::test]
async fn retry_does_not_wait_when_the_clock_is_set_forward() {
    let (clock, host, receiver) = at(&["--retry-schedule=1h"]).await;
    subscribe(&host, &receiver).await;
    fails(&receiver);
    let id = host.publish("t", &json!(1)).await;
    host.delivery_when(&id, "an attempt", attempted).await;
    takes(&receiver);
    clock.set(2 * HOUR);
    host.delivery(&id, "delivered").await;
}

#[tokio::test]
async fn order_and_ids_survive_a_restart_with_the_clock_set_back() {
    let (clock, mut host, receiver) = at(&["--retry-schedule=1s,1s,1s,1s,1s,1s,1s,1s"]).await;
    let hook = json!({"type": "t", "target_url": receiver.url("/"), "ordered": true});
    host.post("/webhooks", &hook).await.expect(201);
    fails(&receiver);
    let mut ids = vec![host.publish("t", &json!(0)).await, host.publish("t", &json!(1)).await];
    host.delivery_when(&ids[0], "an attempt", attempted).await;
    host.stop().await;
    clock.set(-HOUR);
    host.restart().await;
    ids.extend([host.publish("t", &json!(2)).await, host.publish("t", &json!(3)).await]);
    takes(&receiver);
    host.delivery(&ids[3], "delivered").await;
    assert!(ids.is_sorted(), "{ids:?}");
    let arrived: Vec<_> = receiver.arrivals().iter().map(posthaste_tests::Arrival::text).collect();
    assert!(arrived.is_sorted(), "{arrived:?}");
    let listed = host.get("/deliveries").await.expect(200);
    let listed: Vec<_> = listed["data"].as_array().unwrap().iter().rev().map(|one| one["id"].clone()).collect();
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn clock_jump_of_a_year_disables_no_webhook_but_two_days_of_failures_do() {
    let (clock, host, receiver) = at(&[&format!("--retry-schedule={}", ["200ms"; 100].join(","))]).await;
    subscribe(&host, &receiver).await;
    fails(&receiver);
    let id = host.publish("t", &json!(1)).await;
    receiver.wait_for(2).await;
    clock.set(YEAR);
    // Several more, because the first attempts to end may have begun before the jump.
    receiver.wait_for(receiver.arrivals().len() + 5).await;
    let enabled = async || host.get("/webhooks").await.expect(200)[0]["enabled"] == true;
    assert!(enabled().await);
    clock.pass(49 * HOUR);
    // By now the webhook is only probed; a retry by hand does not wait for a probe.
    until("it is disabled", async || {
        host.post(&format!("/deliveries/{id}/retry"), &json!({})).await.expect(202);
        (!enabled().await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn start_with_a_clock_a_year_ahead_removes_only_old_deliveries() {
    let (clock, mut host, receiver) = at(&["--retention=30d"]).await;
    subscribe(&host, &receiver).await;
    let recent = host.publish("t", &json!(1)).await;
    host.delivery(&recent, "delivered").await;
    host.stop().await;
    clock.set(YEAR);
    add_ancient(&host).await;
    host.restart().await;
    ancient_is_removed(&host).await;
    assert_eq!(host.get(&format!("/deliveries/{recent}")).await.status, 200);
}

/// Stores a delivery of 1970.
async fn add_ancient(host: &Host) {
    let row = format!(
        "SELECT '{ANCIENT}' AS id, 'e' AS event_id, event_type, webhook_id, 'delivered' AS status, 1 AS attempt_count, \
         CAST(NULL AS BIGINT) AS due, 0 AS parked, 1 AS created_at, 1 AS finished_at, '1' AS data FROM event_deliveries LIMIT 1"
    );
    host.home().fill_log(&row).await;
}

/// Waits until retention has looked for expired deliveries.
async fn ancient_is_removed(host: &Host) {
    let path = format!("/deliveries/{ANCIENT}");
    until("older deliveries are removed", async || (host.get(&path).await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn later_starts_with_a_clock_a_year_ahead_remove_only_old_deliveries() {
    let (clock, mut host, receiver) = at(&["--retention=30d"]).await;
    let webhook = json!({"type": "t", "target_url": receiver.url("/"), "enabled": false});
    host.post("/webhooks", &webhook).await.expect(201);
    let recent = host.publish("t", &json!(1)).await;
    host.stop().await;
    clock.set(YEAR);
    host.restart().await;
    for round in 0..2 {
        // The newest event is of today by this clock.
        host.post("/events", &json!({"type": "u", "data": round})).await.expect(202);
        host.stop().await;
        add_ancient(&host).await;
        host.restart().await;
        ancient_is_removed(&host).await;
        assert_eq!(host.get(&format!("/deliveries/{recent}")).await.expect(200)["status"], "pending");
    }
    // The clock is set while the service runs.
    clock.set(2 * YEAR);
    host.post("/events", &json!({"type": "u", "data": 2})).await.expect(202);
    host.stop().await;
    add_ancient(&host).await;
    host.restart().await;
    ancient_is_removed(&host).await;
    assert_eq!(host.get(&format!("/deliveries/{recent}")).await.expect(200)["status"], "pending");
}

#[tokio::test]
async fn overdue_delivery_makes_the_service_unready_until_it_is_fetched() {
    let (clock, host, receiver) = at(&["--retry-schedule=10m"]).await;
    subscribe(&host, &receiver).await;
    fails(&receiver);
    // The fetcher polls once a second and rarely runs at this moment.
    let late = until("it is noticed before it is fetched", || async {
        let id = host.publish("t", &json!(1)).await;
        host.delivery_when(&id, "an attempt", attempted).await;
        clock.pass(HOUR / 4);
        let ready = host.get("!/readyz").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    let text = late.problem(503);
    assert!(text.starts_with("a delivery has been due for ") && text.ends_with(" and was not claimed"), "{text}");
    until("it is fetched", || async { (host.get("!/readyz").await.status == 200).then_some(()) }).await;
}
