//! Whatever happens to the process, its disk, its database or its clock: what was accepted is delivered, memory and
//! files stay bounded, and all heals by itself.

mod clocks;
mod crowds;
mod full;
mod killed;
mod locked;
mod logs;
mod waiting;

use std::collections::HashSet;

use posthaste_tests::{Client, Receiver};
use serde_json::{Value, json};

/// Has events of type `t` sent to this receiver.
async fn subscribe(client: &Client, receiver: &Receiver) {
    client.post("/webhooks", &json!({"type": "t", "target_url": receiver.url("/")})).await.expect(201);
}

/// The bodies that arrived, each once.
fn bodies(receiver: &Receiver) -> HashSet<String> {
    receiver.arrivals().iter().map(posthaste_tests::Arrival::text).collect()
}

/// What `POST /events` of this data answers.
async fn publish(client: &Client, data: Value) -> posthaste_tests::Answer {
    client.post("/events", &json!({"type": "t", "data": data})).await
}
