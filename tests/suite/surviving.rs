//! Failures of the process, its disk, its database or its clock: accepted events are delivered, memory and files stay
//! bounded, and the service recovers by itself.

mod clocks;
pub(crate) mod crowds;
mod full;
mod killed;
mod locked;
mod logs;
mod waiting;

use std::collections::HashSet;

use posthaste_tests::{Client, Receiver};
use serde_json::{Value, json};

/// Subscribes this receiver to events of type `t`.
async fn subscribe(client: &Client, receiver: &Receiver) {
    client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
}

/// Returns the distinct bodies that arrived.
fn bodies(receiver: &Receiver) -> HashSet<String> {
    receiver.arrivals().iter().map(posthaste_tests::Arrival::text).collect()
}

/// Publishes this data and returns the answer.
async fn publish(client: &Client, data: Value) -> posthaste_tests::Answer {
    client.post("/events", &json!({"type": "t", "data": data})).await
}
