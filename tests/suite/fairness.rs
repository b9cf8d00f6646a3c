//! What hangs at one receiver holds up nobody else.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use http::Method;
use posthaste_tests::{Client, Host, Receiver};
use serde_json::json;

/// Generous: these run beside all other tests. `bench/` measures.
const QUICK: Duration = Duration::from_millis(300);

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

/// The median time from publishing to arrival, of events sent one by one.
async fn median(client: &Client, receiver: &Receiver, kind: &str) -> Duration {
    let mut times = Vec::new();
    for number in receiver.arrivals().len()..receiver.arrivals().len() + 25 {
        let begun = Instant::now();
        client.publish(kind, &json!(number)).await;
        let arrivals = receiver.wait_for(number + 1).await;
        times.push(arrivals[number].at.duration_since(begun));
    }
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_events_for_a_receiver_that_does_not_answer_hold_up_no_neighbour() {
    let (host, hanging) = (Host::with(&["--attempt-timeout=25s"]).await, Receiver::start().await);
    hanging.hold();
    host.subscribe(&json!({"type": "hanging", "target_url": hanging.url("/")})).await;
    publish_all(&host, |_| "hanging".into(), 2000).await;
    hanging.wait_for(32).await;
    let (near, far) = (Receiver::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "near", "target_url": near.url("/")})).await;
    let other = host.company("other").await;
    other.subscribe(&json!({"type": "far", "target_url": far.url("/")})).await;
    let (same, another) = (median(&host, &near, "near").await, median(&other, &far, "far").await);
    assert!(same < QUICK && another < QUICK, "{same:?} in the same company, {another:?} in another");
    assert_eq!(hanging.arrivals().len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_dead_receivers_with_waiting_events_hold_up_no_live_one() {
    let (host, hanging) =
        (Host::with(&["--attempt-timeout=25s", "--retry-schedule=1s,1s,1s,1s,1s,1s"]).await, Receiver::start().await);
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
    let took = median(&host, &live, "live").await;
    assert!(took < QUICK, "{took:?}");
}
