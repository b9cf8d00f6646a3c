//! Hostile plugins against the real binary: each is stopped with a reason that names the limit, the process survives, and
//! other companies are not affected.

mod calls;
mod covered;
mod neighbours;
mod proposals;
mod uploads;
mod wasi;

use posthaste_tests::{Client, Home, Process, Receiver, guest};
use serde_json::{Value, json};

/// A host with a hostile company `acme` and an innocent company, which has a plugin too.
struct Stage {
    process: Process,
    neighbour: Client,
    receiver: Receiver,
    _folder: Home,
}

impl Stage {
    async fn set() -> Self {
        let folder = Home::new().await;
        // The tests examine the one failed attempt.
        let process = Process::serve(&folder, &["--retry-schedule=1h", "--plugin-deadline=2s"]).await;
        let (neighbour, receiver) = (process.company("neighbour").await, Receiver::start().await);
        neighbour.upload("innocent", &guest("pass")).await.expect(201);
        subscribe(&neighbour, &receiver, "innocent", Some("innocent")).await;
        Self { process, neighbour, receiver, _folder: folder }
    }

    /// Uploads a plugin, subscribes with it, publishes one event, and returns its only attempt.
    async fn attempt(&self, name: &str, wasm: &[u8]) -> Value {
        // Plugin names have no underscores.
        let plugin = name.replace('_', "-");
        let answer = self.process.client.upload(&plugin, wasm).await;
        assert_eq!(answer.status, 201, "{name}: {}", String::from_utf8_lossy(&answer.bytes));
        subscribe(&self.process.client, &self.receiver, name, Some(&plugin)).await;
        let id = self.process.client.publish(name, &json!({"name": "Ada"})).await;
        let tried = self.process.client.delivery_when(&id, "attempted", |delivery| delivery["attempt_count"] == 1);
        tried.await["attempts"][0].clone()
    }

    /// Checks that the guest's attempt fails with `part` in its reason.
    async fn stopped(&self, name: &str, wasm: &[u8], part: &str) -> Value {
        let attempt = self.attempt(name, wasm).await;
        assert_eq!(attempt["plugin"]["outcome"], "error", "{name}: {attempt}");
        for reason in [&attempt["error"], &attempt["plugin"]["reason"]] {
            let reason = reason.as_str().unwrap_or_default();
            assert!(reason.contains(part), "{name}: `{reason}` does not say `{part}`");
            assert!(reason.len() < 5000 && !reason.contains(char::is_control), "{name}: {reason:?}");
        }
        self.unharmed(name).await;
        attempt
    }

    /// Checks that the upload is refused with `part` in its reason, and that nothing is stored.
    async fn refused(&self, name: &str, wasm: &[u8], part: &str) {
        let plugin = name.replace('_', "-");
        let reason = self.process.client.upload(&plugin, wasm).await.problem(422);
        assert!(reason.contains(part), "{name}: `{reason}` does not say `{part}`");
        assert!(reason.len() < 5000 && !reason.contains(char::is_control), "{name}: {reason:?}");
        self.process.client.get(&format!("/plugins/{plugin}")).await.problem(404);
        self.unharmed(name).await;
    }

    /// Checks that the neighbour still delivers.
    async fn unharmed(&self, after: &str) {
        let id = self.neighbour.publish("innocent", &json!(after)).await;
        self.neighbour.delivery(&id, "delivered").await;
    }
}

async fn subscribe(client: &Client, receiver: &Receiver, event_type: &str, plugin: Option<&str>) {
    let hook = json!({"type": event_type, "target_url": receiver.url(&format!("/{event_type}")), "plugin": plugin});
    client.post("/webhooks", &hook).await.expect(201);
}
