//! Operational events: what the service tells a company on its own webhooks.

mod exhausted;
mod failing;
mod plugins;
mod replays;
mod webhooks;

use posthaste_tests::{Arrival, Client, Host, Receiver};
use serde_json::{Value, json};

/// Subscribes to an operational event.
async fn subscribe(client: &Client, receiver: &Receiver, event_type: &str) -> String {
    client.subscribe(&json!({"type": event_type, "target_url": receiver.url("/told")})).await
}

/// Waits for an operational event about this webhook and returns its data.
async fn told(receiver: &Receiver, event_type: &str, webhook: &str) -> Value {
    let is_it = |arrival: &Arrival| arrival.header("webhook-event-type") == event_type && about(arrival, webhook);
    let data = receiver.wait_for_one(is_it).await.json();
    assert_eq!(data["type"], event_type, "{data}");
    assert!(data["occurred_at"].is_string(), "{data}");
    data
}

fn about(arrival: &Arrival, webhook: &str) -> bool {
    arrival.json()["webhook"]["id"] == webhook
}

/// Returns how many operational events of this type are stored.
async fn stored(client: &Client, event_type: &str) -> usize {
    let found = client.get(&format!("/deliveries?type={event_type}")).await.expect(200);
    found["data"].as_array().unwrap().len()
}
