//! Memory of waiting deliveries: large events for receivers that never answer.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use posthaste_tests::{Host, Receiver};
use serde_json::json;

use crate::metrics::Scrape;

const MIB: f64 = 1_048_576.0;
/// Webhooks whose receiver does not answer, each with [`EVENTS`] events.
const WEBHOOKS: usize = 60;
const EVENTS: usize = 4;
/// The data of an event: with its quotes below the default `--max-event-bytes`.
const BYTES: usize = 250_000;

#[tokio::test(flavor = "multi_thread")]
async fn large_events_for_hanging_receivers_take_bounded_memory_and_all_arrive() {
    let (host, hanging) = (Host::with(&["--attempt-timeout=60s"]).await, Receiver::start().await);
    hanging.hold();
    for number in 0..WEBHOOKS {
        host.subscribe(&json!({"type": format!("hanging/{number}"), "target_url": hanging.url("/")})).await;
    }
    let publishing = stream::iter(0..WEBHOOKS * EVENTS).map(|number| {
        let data = json!(format!("{number:05}{}", "x".repeat(BYTES - 5)));
        let host = &host;
        async move { host.publish(&format!("hanging/{}", number % WEBHOOKS), &data).await }
    });
    publishing.buffer_unordered(8).for_each(|_| async {}).await;
    let used = Scrape::of(&host).await.get("posthaste_share_used{resource=\"queue-bytes\"}");
    assert!((8.0 * MIB..13.0 * MIB).contains(&used), "half of the memory, and names: {used}");

    // Its other webhooks, and those of other companies, are delivered all the same.
    let (near, far) = (Receiver::start().await, Receiver::start().await);
    host.subscribe(&json!({"type": "near", "target_url": near.url("/")})).await;
    let other = host.company("other").await;
    other.subscribe(&json!({"type": "far", "target_url": far.url("/")})).await;
    let large = json!("y".repeat(BYTES));
    for number in 1..=10 {
        for data in [json!(number), large.clone()] {
            host.publish("near", &data).await;
            other.publish("far", &data).await;
        }
        near.wait_for(2 * number).await;
        far.wait_for(2 * number).await;
    }
    let in_flight = hanging.arrivals().len();
    assert!(in_flight * BYTES < 24 << 20, "{in_flight} attempts hold their events");

    hanging.open();
    let arrivals = hanging.wait_for(WEBHOOKS * EVENTS).await;
    let distinct: BTreeSet<_> = arrivals.iter().map(|arrival| arrival.text()[1..6].to_owned()).collect();
    assert_eq!(distinct.len(), WEBHOOKS * EVENTS);
}
