//! A large backlog: memory and files stay bounded.

use posthaste_tests::{Client, Home, Host, Process, Receiver, sqlite_only, until};
use reqwest::Method;
use serde_json::json;

use super::subscribe;

/// Waiting rows of one KiB each: 150 MiB together.
const ROWS: usize = 150_000;
/// The permitted growth of the process in KiB: the rows that it holds in memory, the database's pages, and about 460
/// attempts in flight of about 35 KiB each. All rows in memory would be 250 MiB.
const GROWTH: u64 = 56 << 10;
/// The permitted size of the write-ahead log in bytes: beyond 32 MiB a commit checkpoints it, and a few more commits
/// precede the next checkpoint.
const LOG: u64 = 64 << 20;

/// Stores waiting rows for the `dead-…` webhooks in turn, half of them in the backlog and half with a retry that is due.
async fn fill(home: &Home, rows: usize, webhooks: usize) {
    let (id, data) = (home.kind().hex("1780000000000 + i", 12), "0".repeat(1000));
    let fill = format!(
        "WITH RECURSIVE w AS (SELECT id, event_type, ROW_NUMBER() OVER (ORDER BY id) AS place FROM webhooks \
         WHERE event_type LIKE 'dead-%'), n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
         SELECT 'dlv_' || {id} AS id, 'e' || i AS event_id, w.event_type, w.id AS webhook_id, 'pending' AS status, \
         0 AS attempt_count, CASE WHEN i % 2 = 1 THEN i END AS due, 1 - i % 2 AS parked, 0 AS created_at, \
         CAST(NULL AS BIGINT) AS finished_at, '\"{data}\"' AS data FROM n JOIN w ON w.place = 1 + (n.i / 2) % {webhooks}"
    );
    home.fill_log(&fill).await;
}

/// Subscribes to `count` types with a receiver that accepts connections and does not answer.
async fn subscribe_many(client: &Client, receiver: &Receiver, count: usize) {
    for number in 0..count {
        let hook = json!({"type": format!("dead-{number}"), "target_url": receiver.url("/dead")});
        client.post("/webhooks", &hook).await.expect(201);
    }
}

/// Checks, with a backlog for this many webhooks, that memory stays flat and that a new event of another webhook is delivered.
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
    // Due rows have been fetched, and spilled to the backlog because the queues are full.
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
