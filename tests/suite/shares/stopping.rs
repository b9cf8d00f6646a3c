//! SIGTERM: the service ends, whatever clients and receivers do.

use std::cell::Cell;
use std::time::{Duration, Instant};

use posthaste_tests::{Home, Process, Receiver, until};
use serde_json::json;
use tokio::net::TcpStream;

use super::send;
use crate::metrics::Scrape;

/// The service promises 15 s, and the unit for systemd kills it after 30.
const KILLED_AFTER: Duration = Duration::from_secs(30);

/// Requests whose answers are more than the buffers of two sockets hold.
const UNREAD: usize = 2_000;

async fn end(process: Process) {
    let begun = Instant::now();
    assert_eq!(process.terminate().await, 0);
    assert!(begun.elapsed() < KILLED_AFTER, "{:?}", begun.elapsed());
}

/// A client that asks again and again, and reads nothing.
async fn unread(process: &Process) -> TcpStream {
    let stream = send(process, &b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(UNREAD)).await;
    let before = Cell::new(0.0);
    until("the service answers it no more", || async {
        let answered = Scrape::of(&process.client).await.sum("posthaste_http_requests_total");
        // The difference is the scrape before.
        (answered - before.replace(answered) == 1.0).then_some(())
    })
    .await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn service_ends_before_slow_clients_do() {
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let key = &process.client.key;
    let head = format!("POST /api/v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 100\r\n\r\n{{");
    let _clients = [
        send(&process, b"").await,
        send(&process, b"GET /healthz HTT").await,
        send(&process, head.as_bytes()).await,
        unread(&process).await,
    ];
    // All of them were accepted before this one.
    process.client.get("!/healthz").await.expect(200);
    end(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_ends_before_a_hanging_receiver_and_the_next_one_makes_the_attempt_again() {
    let (home, receiver) = (Home::new().await, Receiver::start().await);
    let process = Process::serve(&home, &["--attempt-timeout=10m"]).await;
    let webhook = process.client.subscribe(&json!({"type": "t", "target_url": receiver.url("/")})).await;
    receiver.hold();
    let id = process.client.publish("t", &json!(1)).await;
    receiver.wait_for(1).await;
    let key = process.client.key.clone();
    let test = format!(
        "POST /api/v1/webhooks/{webhook}/test HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 0\r\n\r\n"
    );
    let _testing = send(&process, test.as_bytes()).await;
    receiver.wait_for(2).await;
    end(process).await;
    let next = Process::start(&home, key, |_| ()).await.unwrap_or_else(|said| panic!("{said}"));
    receiver.wait_for(3).await;
    receiver.open();
    let delivery = next.client.delivery(&id, "delivered").await;
    assert_eq!(delivery["attempt_count"], 1, "what was cut off does not count");
    let arrivals = receiver.arrivals();
    assert_eq!(arrivals[0].header("webhook-id"), arrivals[2].header("webhook-id"));
}
