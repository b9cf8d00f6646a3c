//! A receiver that hangs or is dead holds up no other webhook.
//!
//! Attempts without a response never end here, because their time-out is longer than the test waits. If a neighbour's event
//! needed a slot of theirs, it would never arrive. `bench/neighbours` measures the latency.

use std::fmt::Write as _;

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use posthaste_tests::{Client, Host, Receiver, until};
use serde_json::json;

/// Events that each neighbour publishes, one after the other.
const EVENTS: usize = 25;

async fn publish_all(client: &Client, kind: impl Fn(usize) -> String, count: usize) {
    for from in (0..count).step_by(1000) {
        let lines = (from..count.min(from + 1000)).fold(String::new(), |mut text, number| {
            writeln!(text, r#"{{"type":"{}","data":{number}}}"#, kind(number)).unwrap();
            text
        });
        let headers = [("content-type", "application/x-ndjson")];
        let answer = client.call(Method::POST, "/events/batch", &headers, lines).await.expect(202);
        assert_eq!(answer["accepted"], count.min(from + 1000) - from);
    }
}

/// Publishes events one by one, each after the arrival of the one before it.
async fn all_arrive(client: &Client, receiver: &Receiver, kind: &str) {
    for number in 0..EVENTS {
        client.publish(kind, &json!(number)).await;
        assert_eq!(receiver.wait_for(number + 1).await[number].json(), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_receiver_with_two_thousand_events_holds_up_no_neighbour() {
    let (host, hanging) = (Host::start().await, Receiver::start().await);
    hanging.hold();
    host.subscribe(&json!({"type": "hanging", "target_url": hanging.url("/")})).await;
    publish_all(&host, |_| "hanging".into(), 2000).await;
    hanging.wait_for(32).await;
    let (near, far) = (Receiver::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "near", "target_url": near.url("/")})).await;
    let other = host.company("other").await;
    other.subscribe(&json!({"type": "far", "target_url": far.url("/")})).await;
    all_arrive(&host, &near, "near").await;
    all_arrive(&other, &far, "far").await;
    assert_eq!(hanging.arrivals().len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_dead_receivers_hold_up_no_live_one() {
    let (host, hanging) = (Host::with(&["--retry-schedule=1s,1s,1s,1s,1s,1s"]).await, Receiver::start().await);
    hanging.hold();
    let refusing = Receiver::start().await;
    let refused = refusing.url("/");
    drop(refusing);
    // A hundred companies with ten webhooks each; half of the receivers refuse connections, half never answer.
    let mut companies = Vec::new();
    for number in 0..100 {
        companies.push(host.company(&format!("dead-{number}")).await);
    }
    let filling = companies.iter().map(|client| async {
        for number in 0..10 {
            let url = if number % 2 == 0 { hanging.url("/") } else { refused.clone() };
            client.subscribe(&json!({"type": format!("t{number}"), "target_url": url})).await;
        }
        publish_all(client, |number| format!("t{}", number % 10), 50).await;
    });
    futures_util::future::join_all(filling).await;
    hanging.wait_for(500).await;
    let live = Receiver::start().await;
    host.subscribe(&json!({"type": "live", "target_url": live.url("/")})).await;
    all_arrive(&host, &live, "live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_receiver_does_not_accept_hold_up_no_first_attempt() {
    // Retries come often, so that they would take the attempts from new events.
    let host = Host::with(&[&format!("--retry-schedule={}", ["1s"; 100].join(","))]).await;
    for status in [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::SERVICE_UNAVAILABLE] {
        let (receiver, kind) = (Receiver::start().await, status.as_str());
        receiver.answer(move |_, arrival| match arrival.json().as_u64() {
            Some(number) if number % 50 == 0 => StatusCode::OK.into_response(),
            _ => status.into_response(),
        });
        host.subscribe(&json!({"type": kind, "target_url": receiver.url("/")})).await;
        // Long enough that the failures in a row lead to probing.
        until("failures over six seconds", async || {
            host.publish(kind, &json!(1)).await;
            let arrivals = receiver.arrivals();
            let span = arrivals.last()?.at.duration_since(arrivals.first()?.at);
            (span.as_secs() >= 6).then_some(())
        })
        .await;
        publish_all(&host, |_| kind.into(), 400).await;
        for number in 2..400_u64 {
            receiver.wait_for_one(|arrival| arrival.json() == number).await;
        }
    }
}
