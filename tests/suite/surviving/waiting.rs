//! Much waits: memory and files stay bounded.

use posthaste_tests::{Client, Home, Host, Process, Receiver, sqlite_only, until};
use reqwest::Method;
use serde_json::json;

use super::subscribe;

/// Rows that wait, of a KiB each: 150 MiB together.
const ROWS: usize = 150_000;
/// What the process may grow by for them, in KiB: what it holds of them in memory, the database's pages, and some 460
/// attempts in flight, of some 35 KiB each. All of them in memory would be 250 MiB.
const GROWTH: u64 = 56 << 10;
/// What the write-ahead log may come to, in bytes: 32 MiB make a commit fold it back, and the next few commits come
/// before it is full anew.
const LOG: u64 = 64 << 20;

/// Stores rows that wait, half of them parked and half for a retry that is due, for each of the `dead-…` webhooks in turn.
async fn fill(home: &Home, rows: usize, webhooks: usize) {
    let (id, data) = (home.kind().hex("1780000000000 + i", 12), "0".repeat(1000));
    let fill = format!(
        "WITH RECURSIVE w AS (SELECT id, event_type, ROW_NUMBER() OVER (ORDER BY id) AS place FROM webhooks \
         WHERE event_type LIKE 'dead-%'), n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
         INSERT INTO deliveries (company, id, event_id, event_type, webhook_id, status, attempt_count, attempt_base, due, \
         parked, created_at, occurred_at, headers, data) SELECT 'acme', 'dlv_' || {id}, 'e' || i, w.event_type, w.id, 'pending', 0, 0, CASE WHEN i % 2 = 1 THEN i END, 1 - i % 2, 0, 0, '[]', \
         '\"{data}\"' FROM n JOIN w ON w.place = 1 + (n.i / 2) % {webhooks}"
    );
    home.sql(&fill).await;
}

/// A webhook for each of `count` types, whose receiver takes connections and says nothing.
async fn subscribe_many(client: &Client, receiver: &Receiver, count: usize) {
    for number in 0..count {
        let hook = json!({"type": format!("dead-{number}"), "target_url": receiver.url("/dead")});
        client.post("/webhooks", &hook).await.expect(201);
    }
}

/// So many rows wait for so many webhooks: memory stays flat, and a fresh event of another webhook is delivered.
async fn waits(webhooks: usize) {
    let (folder, dead, live) = (Home::new().await, Receiver::start().await, Receiver::start().await);
    dead.hold();
    let process = Process::serve(&folder, &[]).await;
    let key = process.client.key.clone();
    subscribe_many(&process.client, &dead, webhooks).await;
    subscribe(&process.client, &live).await;
    let warm = process.client.publish("t", &json!("warm")).await;
    process.client.delivery(&warm, "delivered").await;
    let before = process.resident_kib();
    process.kill().await;
    fill(&folder, ROWS, webhooks).await;
    let process = Process::start(&folder, key, |_| ()).await.unwrap_or_else(|said| panic!("{said}"));
    for number in 0..100 {
        let waits = process.client.publish(&format!("dead-{}", number % webhooks), &json!("x".repeat(1000))).await;
        let goes = process.client.publish("t", &json!(number)).await;
        process.client.delivery(&goes, "delivered").await;
        assert_eq!(process.client.get(&format!("/deliveries/{waits}")).await.expect(200)["status"], "pending");
    }
    // What was due has been looked at and parked, for want of room.
    until("the service is ready", || async { (process.client.get("!/readyz").await.status == 200).then_some(()) })
        .await;
    let after = process.peak_kib();
    println!("{webhooks} webhooks: {before} KiB before, at most {after} KiB with {ROWS} rows");
    assert!(after < before + GROWTH, "from {before} KiB to {after} KiB");
}

#[tokio::test]
async fn backlog_of_one_webhook_is_not_held_in_memory() {
    waits(1).await;
}

#[tokio::test]
async fn backlog_of_many_webhooks_is_not_held_in_memory() {
    waits(200).await;
}

#[tokio::test]
async fn write_ahead_log_stays_bounded_under_load() {
    if sqlite_only("the write-ahead log") {
        return;
    }
    let host = Host::start().await;
    let log = host.folder().join("posthaste.db-wal");
    let (event, mut written, mut most) = (json!({"type": "t", "data": "x".repeat(200_000)}).to_string(), 0, 0);
    let batch = vec![event; 20].join("\n");
    while written < 4 * LOG {
        let (kind, client) = ([("content-type", "application/x-ndjson")], &host.client);
        let call = || client.call(Method::POST, "/events/batch", &kind, batch.clone());
        let (one, other) = tokio::join!(call(), call());
        assert_eq!((&one.expect(202)["accepted"], &other.expect(202)["accepted"]), (&json!(20), &json!(20)));
        written += 2 * batch.len() as u64;
        most = most.max(std::fs::metadata(&log).unwrap().len());
    }
    println!("{written} bytes written, at most {most} in the log");
    assert!(most < LOG, "{most} of {written} bytes are in the log");
}
