//! A full disk: new events are refused, accepted ones are delivered and recorded, and the service recovers once there is room.

use std::path::Path;
use std::process::Command;

use axum::response::IntoResponse;
use futures_util::future::join_all;
use http::StatusCode;
use posthaste::standard_transforms::PLUGINS;
use posthaste_tests::{Client, Home, Process, Receiver, sqlite_only, until};
use serde_json::json;

use super::{bodies, publish, subscribe};

/// MiB of a disk with room for the standard transforms, which take 10 MB in the database and as much in its log.
const DISK_MIB: u32 = 64;

/// A file system of its own; unmounted with the test.
struct Disk(Home);

impl Disk {
    async fn of(mebibytes: u32) -> Self {
        let folder = Home::new().await;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(
            mount.status.success(),
            "this test fills a disk of its own and has to be allowed to mount one (as root, or with CAP_SYS_ADMIN): {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills the disk to its last byte.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.path().join("ballast")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Frees the space that [`Disk::fill`] took.
    fn empty(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because the process that was killed with the test may not have ended yet.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Serves on the disk, with a delivery that waits for its retry: returns its id as well.
async fn with_a_waiting_delivery(disk: &Disk, receiver: &Receiver) -> (Process, String) {
    receiver.answer(|_, _| StatusCode::SERVICE_UNAVAILABLE.into_response());
    let process = Process::serve(&disk.0, &["--retry-schedule=1h"]).await;
    subscribe(&process.client, receiver).await;
    let id = process.client.publish("t", &json!(1)).await;
    process.client.delivery_when(&id, "an attempt", |delivery| delivery["attempt_count"] == 1).await;
    (process, id)
}

/// Starts on the full disk.
async fn started(disk: &Disk, key: String) -> Process {
    let started = Process::start(&disk.0, key, |_| ()).await;
    started.unwrap_or_else(|said| panic!("it did not start: {said}"))
}

/// Frees the disk, and waits until events are accepted again.
async fn recovers(disk: &Disk, process: &Process) {
    disk.empty();
    until("events are accepted again", || async {
        (publish(&process.client, json!(2)).await.status == 202).then_some(())
    })
    .await;
}

/// Checks that an event was refused because the disk is full, with advice.
fn is_refused(answer: &posthaste_tests::Answer) {
    assert_eq!(answer.problem(507), "the disk is full; nothing was stored: make room, or try again later");
    assert_eq!(answer.header("retry-after"), "1");
}

/// Publishes until an event is refused, checks that refusal, and returns the deliveries of the accepted ones.
async fn accepted_until_refused(client: &Client) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        let answer = publish(client, json!("x".repeat(100_000))).await;
        if answer.status != 202 {
            is_refused(&answer);
            return accepted;
        }
        accepted.push(answer.json()["delivery_id"].as_str().unwrap().to_owned());
    }
}

#[tokio::test]
async fn events_accepted_before_the_disk_was_full_are_delivered_and_recorded() {
    if sqlite_only("a full disk") {
        return;
    }
    let (disk, receiver) = (Disk::of(DISK_MIB).await, Receiver::start().await);
    receiver.hold();
    let process = Process::serve(&disk.0, &[]).await;
    let client = &process.client;
    subscribe(client, &receiver).await;
    let mut accepted = Vec::new();
    for number in 0..50 {
        accepted.push(client.publish("t", &json!(number)).await);
    }
    disk.fill();
    // The first events may still fit into the free pages of the existing files.
    accepted.extend(accepted_until_refused(client).await);
    receiver.open();
    for id in &accepted {
        client.delivery(id, "delivered").await;
    }
    is_refused(&publish(client, json!(1)).await);
    disk.empty();
    let after = until("events are accepted again", || async {
        let answer = publish(client, json!("after")).await;
        (answer.status == 202).then(|| answer.json()["delivery_id"].as_str().unwrap().to_owned())
    })
    .await;
    client.delivery(&after, "delivered").await;
    assert_eq!(receiver.arrivals().len(), accepted.len() + 1, "each was sent once");
}

#[tokio::test]
async fn repeatedly_full_disk_loses_no_accepted_event() {
    if sqlite_only("a full disk") {
        return;
    }
    let (disk, receiver) = (Disk::of(DISK_MIB).await, Receiver::start().await);
    let process = Process::serve(&disk.0, &[]).await;
    subscribe(&process.client, &receiver).await;
    let mut accepted = std::collections::HashSet::new();
    for round in 0..3 {
        disk.fill();
        for number in 0.. {
            let data = json!([round, number, "x".repeat(50_000)]);
            if publish(&process.client, data.clone()).await.status != 202 {
                break;
            }
            accepted.insert(data.to_string());
        }
        disk.empty();
        let data = json!([round, "after"]);
        until("events are accepted again", || async {
            (publish(&process.client, data.clone()).await.status == 202).then_some(())
        })
        .await;
        accepted.insert(data.to_string());
    }
    until("all that was accepted arrives", || async { accepted.is_subset(&bodies(&receiver)).then_some(()) }).await;
    assert_eq!(process.client.get("!/readyz").await.status, 200);
}

#[tokio::test]
async fn process_killed_on_a_full_disk_restarts_there() {
    if sqlite_only("a full disk") {
        return;
    }
    let (disk, receiver) = (Disk::of(DISK_MIB).await, Receiver::start().await);
    let (process, id) = with_a_waiting_delivery(&disk, &receiver).await;
    let key = process.client.key.clone();
    disk.fill();
    process.kill().await;
    let process = started(&disk, key).await;
    accepted_until_refused(&process.client).await;
    assert_eq!(process.client.get(&format!("/deliveries/{id}")).await.expect(200)["status"], "pending");
    recovers(&disk, &process).await;
}

#[tokio::test]
async fn service_starts_on_a_full_disk_and_installs_what_is_new() {
    if sqlite_only("a full disk") {
        return;
    }
    let (disk, receiver) = (Disk::of(DISK_MIB).await, Receiver::start().await);
    let (process, id) = with_a_waiting_delivery(&disk, &receiver).await;
    let key = process.client.key.clone();
    assert_eq!(process.terminate().await, 0);
    // As before a version that brought the standard transforms.
    for table in ["plugins", "plugin_versions", "plugin_bytes"] {
        disk.0.sql(&format!("DELETE FROM {table}")).await;
    }
    disk.0.sql("VACUUM").await;
    disk.fill();
    let process = started(&disk, key).await;
    assert!(!process.client.get("/plugins").await.expect(200)["data"].as_array().unwrap().is_empty());
    assert_eq!(process.client.get(&format!("/deliveries/{id}")).await.expect(200)["status"], "pending");
    accepted_until_refused(&process.client).await;
    recovers(&disk, &process).await;
    // Those for which the reserve had no room.
    until("all standard transforms are installed", || async {
        let plugins = process.client.get("/plugins").await.expect(200);
        let installed =
            |(name, _): &(&str, _)| plugins["data"].as_array().unwrap().iter().any(|plugin| plugin["name"] == *name);
        PLUGINS.iter().all(installed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn full_folder_for_temporary_files_stops_nothing() {
    if sqlite_only("a full disk") {
        return;
    }
    let (temporary, receiver) = (Disk::of(1).await, Receiver::start().await);
    temporary.fill();
    let folder = temporary.path().to_str().unwrap();
    let home = Home::new().await;
    let process = Process::serve_in(&[("SQLITE_TMPDIR", folder), ("TMPDIR", folder)], &home, &[]).await;
    subscribe(&process.client, &receiver).await;
    // Several share a transaction, which is changed further after a savepoint.
    let events = (0..40).map(|number| publish(&process.client, json!([number, "x".repeat(50_000)])));
    let webhook = json!({"type": "u", "target_url": receiver.url("/")});
    let webhooks = (0..40).map(|_| process.client.post("/webhooks", &webhook));
    let (events, webhooks) = tokio::join!(join_all(events), join_all(webhooks));
    for answer in events {
        let id = answer.expect(202)["delivery_id"].as_str().unwrap().to_owned();
        process.client.delivery(&id, "delivered").await;
    }
    assert!(webhooks.iter().all(|answer| [200, 201].contains(&answer.status)));
}
