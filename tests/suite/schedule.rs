//! The retry schedule, from the first attempt to the last, and `Retry-After`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::response::IntoResponse;
use http::StatusCode;
use posthaste::clock::Clock;
use posthaste::domain::time::parse_rfc3339;
use posthaste_tests::{Host, Receiver, StoppedClock};
use serde_json::{Value, json};

/// The waits of the default schedule, in seconds.
const WAITS: [i64; 19] = [
    5, 15, 40, 90, 120, 600, 1200, 2400, 3600, 5400, 7200, 7200, 10_800, 10_800, 14_400, 18_000, 21_600, 28_800, 39_600,
];
const HOUR_MS: i64 = 3_600_000;

fn instant(value: &Value) -> i64 {
    parse_rfc3339(value.as_str().unwrap()).unwrap()
}

/// Waits until `made` attempts were made, then lets the time pass until the next. Returns the wait in milliseconds,
/// counted from the start of the attempt.
async fn next_attempt(host: &Host, clock: &StoppedClock, id: &str, made: usize) -> i64 {
    let delivery = host.delivery_when(id, "tried", |delivery| delivery["attempt_count"] == made).await;
    assert_eq!(delivery["status"], "pending");
    let (attempt, next) = (&delivery["attempts"][made - 1], instant(&delivery["next_attempt_at"]));
    let wait = next - instant(&attempt["started_at"]);
    clock.pass(next - clock.now_ms());
    host.look().await;
    wait
}

async fn failing(schedule: &str) -> (Host, Receiver, Arc<StoppedClock>) {
    // The clock stands still during an attempt, so that each wait is exact.
    let clock = StoppedClock::now();
    let host = Host::at(clock.clone(), &[&format!("--retry-schedule={schedule}")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_status(500);
    host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    (host, receiver, clock)
}

#[tokio::test]
async fn default_schedule_makes_twenty_attempts_in_two_days() {
    let schedule = WAITS.map(|seconds| format!("{seconds}s")).join(",");
    let (host, receiver, clock) = failing(&schedule).await;
    let id = host.publish("t", &json!(1)).await;
    for (made, seconds) in (1..).zip(WAITS) {
        let wait = next_attempt(&host, &clock, &id, made).await;
        assert!((seconds * 900..=seconds * 1100).contains(&wait), "after attempt {made}: {wait} ms");
    }
    let delivery = host.delivery(&id, "failed").await;
    let attempts = delivery["attempts"].as_array().unwrap();
    let at: Vec<_> =
        attempts.iter().map(|one| instant(&one["started_at"]) - instant(&delivery["created_at"])).collect();
    assert_eq!((at.len(), receiver.arrivals().len()), (20, 20));
    assert_eq!(at.iter().filter(|at| **at < 300_000).count(), 6, "{at:?}");
    assert!((43 * HOUR_MS..53 * HOUR_MS).contains(&at[19]), "{at:?}");
    assert_eq!((&delivery["next_attempt_at"], delivery["finished_at"].is_string()), (&Value::Null, true));
    let ids: std::collections::HashSet<_> =
        receiver.arrivals().iter().map(|arrival| arrival.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn retry_after_is_a_minimum_that_jitter_only_extends() {
    let (host, receiver, clock) = failing("100s,100s,100s,100s,100s,100s").await;
    // `Retry-After`, in seconds or as a date, with the shortest and the longest permitted wait in seconds.
    let cases =
        [("300", 300, 330), ("date", 600, 662), ("7200", 3600, 3960), ("10", 90, 110), ("0", 90, 110), ("x", 90, 110)];
    for _ in 0..3 {
        let time = clock.clone();
        receiver.answer(move |before, _| {
            let asked = cases.get(before % 7).map_or("3600", |case| case.0);
            let date = UNIX_EPOCH + Duration::from_millis(time.now_ms().unsigned_abs()) + Duration::from_secs(601);
            let asked = if asked == "date" { httpdate::fmt_http_date(date) } else { asked.into() };
            // 429 and 503 would pause the whole webhook as well.
            (StatusCode::INTERNAL_SERVER_ERROR, [("retry-after", asked)]).into_response()
        });
        let id = host.publish("t", &json!(1)).await;
        for (made, (asked, least, most)) in (1..).zip(cases) {
            let wait = next_attempt(&host, &clock, &id, made).await;
            assert!((least * 1000..=most * 1000).contains(&wait), "{asked}: {wait} ms");
        }
        // The last attempt has no next one.
        let failed = host.delivery(&id, "failed").await;
        assert_eq!((&failed["attempt_count"], &failed["next_attempt_at"]), (&json!(7), &Value::Null));
    }
}

#[tokio::test]
async fn corrected_webhook_attempts_at_once_what_waits_for_a_retry() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1h,1h,1h"]).await, Receiver::start().await);
    receiver.answer(|_, arrival| match arrival.path.as_str() {
        "/right" => StatusCode::OK.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    });
    let hook = |path: &str| json!({"type": "t", "target_url": receiver.url(path), "max_in_flight": 2});
    let id = host.subscribe(&hook("/wrong")).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let delivery = host.publish("t", &json!(number)).await;
        host.delivery_when(&delivery, "tried once", |one| one["attempt_count"] == 1).await;
        ids.push(delivery);
    }
    // What is neither sent nor decides where does not use up an attempt, and neither does the same subscription again.
    host.patch(&format!("/webhooks/{id}"), &json!({"name": "renamed"})).await.expect(200);
    host.post("/webhooks", &hook("/wrong")).await.expect(200);
    let marker = host.publish("t", &json!("marker")).await;
    host.delivery_when(&marker, "tried once", |one| one["attempt_count"] == 1).await;
    assert_eq!(receiver.arrivals().len(), 21);
    host.patch(&format!("/webhooks/{id}"), &json!({"target_url": receiver.url("/right")})).await.expect(200);
    for delivery in ids.iter().chain([&marker]) {
        assert_eq!(host.delivery(delivery, "delivered").await["attempt_count"], 2);
    }
    assert!(receiver.most_unanswered() <= 2);
}
