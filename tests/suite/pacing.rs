//! `max_in_flight` and `rate_limit`, as the receiver sees them.

use std::time::{Duration, Instant};

use posthaste_tests::{Arrival, Host, Receiver};
use serde_json::{Value, json};

/// What a loaded machine is late by between sending and receiving.
const LATE: Duration = Duration::from_millis(150);

/// No more than `rate` in any second.
fn assert_rate(arrivals: &[Arrival], rate: usize) {
    // A lane may make up for timers that were late by two attempts of a high rate.
    let most = if rate > 100 { rate + rate / 50 } else { rate };
    for window in arrivals.windows(most + 1) {
        let span = window[most].at - window[0].at;
        assert!(span >= Duration::from_secs(1).saturating_sub(LATE), "{} in {span:?}", most + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_holds_in_every_second_and_leaves_others_alone() {
    let host = Host::start().await;
    let mut paced = Vec::new();
    for (rate, events) in [(1, 4), (5, 18), (200, 500)] {
        let (receiver, kind) = (Receiver::start().await, format!("rate-{rate}"));
        host.subscribe(&json!({"type": kind, "target_url": receiver.url("/"), "rate_limit": rate})).await;
        paced.push((receiver, kind, rate, events));
    }
    let free = Receiver::start().await;
    host.subscribe(&json!({"type": "free", "target_url": free.url("/")})).await;
    let begun = Instant::now();
    let publishing = paced.iter().map(|(_, kind, _, events)| async {
        for number in 0..*events {
            host.publish(kind, &json!(number)).await;
        }
    });
    futures_util::future::join_all(publishing).await;
    for number in 0..20 {
        host.delivery(&host.publish("free", &json!(number)).await, "delivered").await;
    }
    for (receiver, kind, rate, events) in &paced {
        let arrivals = receiver.wait_for(*events).await;
        assert_rate(&arrivals, *rate);
        assert_eq!(arrivals.len(), *events, "{kind}");
    }
    // It is a limit, not a brake: what may be sent is.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_rate_limit_holds_for_what_is_asked_for_and_for_retries_too() {
    let (host, receiver) = (Host::with(&["--retry-schedule=1ms"]).await, Receiver::start().await);
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
    for id in &ids {
        host.post(&format!("/deliveries/{id}/retry"), &Value::Null).await.expect(202);
    }
    // Each was retried once, the schedule being one wait long.
    let arrivals = receiver.wait_for(12).await;
    assert_rate(&arrivals[6..], 4);
}

#[tokio::test]
async fn a_changed_rate_is_in_force_at_once() {
    let (host, receiver) = (Host::start().await, Receiver::start().await);
    let id = host.subscribe(&json!({"type": "t", "target_url": receiver.url("/"), "rate_limit": 1})).await;
    for number in 0..40 {
        host.publish("t", &json!(number)).await;
    }
    let begun = Instant::now();
    host.patch(&format!("/webhooks/{id}"), &json!({"rate_limit": null})).await.expect(200);
    receiver.wait_for(40).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn max_in_flight_is_reached_and_never_passed_and_a_change_is_in_force_at_once() {
    let (host, receiver) = (Host::with(&["--attempt-timeout=25s"]).await, Receiver::start().await);
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
