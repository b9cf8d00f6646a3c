//! `max_in_flight` and `rate_limit`, as the receiver sees them.
//!
//! An arrival can only be late, so these tests assert the earliest instant of each. The unit tests of the queue, which drive its
//! clock, assert that it also sends all that the rate allows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste_tests::{Arrival, Client, Host, Receiver};
use serde_json::{Value, json};

/// How much of a timer's delay a queue with a high rate may make up for.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Checks that these arrivals, of events that were published after `begun`, keep to `rate` events per second.
fn assert_rate(arrivals: &[Arrival], begun: Instant, rate: u32) {
    for (place, arrival) in (0..).zip(arrivals) {
        let (earliest, at) = ((Duration::from_secs(1) / rate * place).saturating_sub(CATCH_UP), arrival.at - begun);
        assert!(at >= earliest, "number {place} at {rate} a second came after {at:?}");
    }
}

/// Publishes so many events in one request.
async fn publish_all(client: &Client, kind: &str, count: usize) {
    let lines = (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, r#"{{"type":"{kind}","data":{number}}}"#).unwrap();
        text
    });
    let headers = [("content-type", "application/x-ndjson")];
    let answer = client.call(Method::POST, "/events/batch", &headers, lines).await.expect(202);
    assert_eq!(answer["accepted"], count);
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_paces_each_burst_and_leaves_other_webhooks_alone() {
    let host = Host::start().await;
    let mut paced = Vec::new();
    for (rate, events) in [(1, 3), (5, 10), (200, 300)] {
        let (receiver, kind) = (Receiver::start().await, format!("rate-{rate}"));
        host.subscribe(&json!({"type": kind, "target_url": receiver.url("/"), "rate_limit": rate})).await;
        paced.push((receiver, kind, rate, events));
    }
    let free = Receiver::start().await;
    host.subscribe(&json!({"type": "free", "target_url": free.url("/")})).await;
    let two_bursts = paced.iter().map(|(receiver, kind, rate, events)| {
        let host = &host;
        async move {
            // The second burst shows that idle time accumulates no allowance.
            for burst in 0..2 {
                let begun = Instant::now();
                publish_all(host, kind, *events).await;
                let arrivals = receiver.wait_for((burst + 1) * events).await;
                assert_rate(&arrivals[burst * events..], begun, *rate);
                assert_eq!(arrivals.len(), (burst + 1) * events, "{kind}");
            }
        }
    });
    let neighbour = async {
        for number in 0..20 {
            host.delivery(&host.publish("free", &json!(number)).await, "delivered").await;
        }
    };
    tokio::join!(futures_util::future::join_all(two_bursts), neighbour);
}

#[tokio::test]
async fn rate_limit_covers_retries_by_hand_and_by_schedule() {
    let (host, receiver) = (Host::with(&["--retry-schedule=3s,1m"]).await, Receiver::start().await);
    let hook = |rate: Option<u32>| json!({"type": "t", "target_url": receiver.url("/"), "rate_limit": rate});
    host.subscribe(&hook(None)).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(host.publish("t", &json!(number)).await);
    }
    for id in &ids {
        host.delivery(id, "delivered").await;
    }
    receiver.answer_status(500);
    host.subscribe(&hook(Some(4))).await;
    let begun = Instant::now();
    for id in &ids {
        host.post(&format!("/deliveries/{id}/retry"), &Value::Null).await.expect(202);
    }
    // Each was retried once, because the schedule is one wait long.
    let arrivals = receiver.wait_for(12).await;
    assert_rate(&arrivals[6..], begun, 4);
}

#[tokio::test]
async fn slow_rate_sends_one_event_at_once_and_one_after_a_restart() {
    let (mut host, slow, quick) = (Host::start().await, Receiver::start().await, Receiver::start().await);
    let hook = json!({"type": "slow", "target_url": slow.url("/"), "rate_limit": "1/h"});
    let id = host.subscribe(&hook).await;
    host.subscribe(&json!({"type": "quick", "target_url": quick.url("/")})).await;
    for number in 0..4 {
        host.publish("slow", &json!(number)).await;
    }
    for sent in 1..=2 {
        slow.wait_for(sent).await;
        for number in 0..20 {
            host.delivery(&host.publish("quick", &json!(number)).await, "delivered").await;
        }
        let page = host.get("/deliveries?type=slow").await.expect(200);
        let untried = |one: &&Value| one["status"] == "pending" && one["attempt_count"] == 0;
        assert_eq!(page["data"].as_array().unwrap().iter().filter(untried).count(), 4 - sent, "{page}");
        assert_eq!(slow.arrivals().len(), sent);
        if sent == 1 {
            host.restart().await;
        }
    }
    host.patch(&format!("/webhooks/{id}"), &json!({"rate_limit": "100/s"})).await.expect(200);
    slow.wait_for(4).await;
}

#[tokio::test]
async fn changed_rate_applies_to_the_events_that_wait() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "rate_limit": 1})).await;
    // At the old rate these take a quarter of an hour, which exceeds the safety net.
    publish_all(&host, "t", 900).await;
    host.patch(&format!("/webhooks/{id}"), &json!({"rate_limit": null})).await.expect(200);
    receiver.wait_for(900).await;
}

#[tokio::test]
async fn max_in_flight_is_reached_never_passed_and_a_change_takes_effect_at_once() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let neighbour = Receiver::start().await;
    host.subscribe(&json!({"type": "n", "target_url": neighbour.url("/")})).await;
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "max_in_flight": 7})).await;
    receiver.hold();
    for number in 0..40 {
        host.publish("t", &json!(number)).await;
    }
    // No further event arrives while a neighbour's events take their whole way.
    let settled = async |count: usize| {
        receiver.wait_for(count).await;
        for _ in 0..5 {
            host.delivery(&host.publish("n", &json!(1)).await, "delivered").await;
        }
        assert_eq!(receiver.arrivals().len(), count);
    };
    settled(7).await;
    let limit = async |most: u32| {
        host.patch(&format!("/webhooks/{id}"), &json!({"max_in_flight": most})).await.expect(200);
    };
    limit(12).await;
    settled(12).await;
    limit(3).await;
    // Nine of twelve attempts end and no new one begins.
    receiver.release(9);
    settled(12).await;
    receiver.release(1);
    settled(13).await;
    assert_eq!(receiver.most_unanswered(), 12);
    receiver.open();
    receiver.wait_for(40).await;
}

#[tokio::test]
async fn receiver_that_asks_for_a_pause_gets_no_event_before_its_end() {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        let (host, receiver) = (Host::with(&["--retry-schedule=3s,1m"]).await, Receiver::start().await);
        receiver.answer(move |before, _| match before {
            0 | 1 => (status, [("retry-after", "2")]).into_response(),
            _ => StatusCode::OK.into_response(),
        });
        host.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
        let first = host.publish("t", &json!("first")).await;
        host.delivery_when(&first, "tried once", |delivery| delivery["attempt_count"] == 1).await;
        publish_all(&host, "t", 5).await;
        let arrivals = receiver.wait_for(8).await;
        let pauses = arrivals.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
        let pauses: Vec<_> = pauses.map(|pause| pause >= Duration::from_millis(1_990)).collect();
        assert_eq!(pauses[..2], [true, true], "one attempt after each pause: {pauses:?}");
        host.delivery(&first, "delivered").await;
        assert_eq!(arrivals.len(), 8);
    }
}
