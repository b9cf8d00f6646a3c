//! Open files: the connections to the receivers of one company take neither those of another company nor the files of the
//! database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::serve::ListenerExt as _;
use posthaste_tests::{Client, Home, Process, Receiver, until};
use serde_json::json;
use tokio::net::TcpListener;

/// The limit on open files: of these, 16 are for idle connections and 32 for attempts.
const FILES: usize = 256;
/// Receivers of the company that takes all it can.
const RECEIVERS: usize = 60;

/// A receiver that counts the connections to it.
async fn counting_receiver() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let connections = Arc::<AtomicUsize>::default();
    let counted = connections.clone();
    let listener = listener.tap_io(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let answering = Router::new().fallback(|| async { "ok" });
    tokio::spawn(async move { axum::serve(listener, answering).await.unwrap() });
    (url, connections)
}

/// Returns the value of a metric without labels, or with those given.
pub(super) async fn metric(client: &Client, name: &str) -> u64 {
    let answer = client.get("!/metrics").await;
    let text = String::from_utf8(answer.bytes).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Publishes an event of each type and waits until all are delivered.
async fn deliver(client: &Client, types: usize) {
    for number in 0..types {
        client.publish(&format!("t{number}"), &json!(number)).await;
    }
    let delivered = || async {
        let page = client.get(&format!("/deliveries?status=pending&limit={RECEIVERS}")).await.expect(200);
        page["data"].as_array().unwrap().is_empty().then_some(())
    };
    until("all are delivered", delivered).await;
}

#[tokio::test]
async fn idle_connections_of_one_company_leave_the_open_files_and_connections_of_others() {
    let home = Home::new().await;
    let process = Process::serve_with_files(&home, FILES, &["--connection-max-age", "1h"]).await;
    let (url, connections) = counting_receiver().await;
    let neighbour = process.company("neighbour").await;
    neighbour.subscribe(&json!({"type": "t0", "target_url": url})).await;
    deliver(&neighbour, 1).await;
    let mut receivers = Vec::new();
    for number in 0..RECEIVERS {
        let receiver = Receiver::start().await;
        let webhook = json!({"type": format!("t{number}"), "target_url": receiver.url("/")});
        process.client.subscribe(&webhook).await;
        receivers.push(receiver);
    }
    for _ in 0..2 {
        deliver(&process.client, RECEIVERS).await;
        deliver(&neighbour, 1).await;
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the neighbour's connection was never closed");
    let idle = metric(&neighbour, "posthaste_share_used{resource=\"idle-connections\"}").await;
    assert!((2..=9).contains(&idle), "{idle} of 16 idle connections are open; the company may have half of them");
    assert_eq!(neighbour.get("!/healthz").await.status, 200);
    if cfg!(target_os = "linux") {
        assert_eq!(metric(&neighbour, "process_max_fds").await, FILES as u64);
    }
}

#[tokio::test]
async fn attempts_and_tests_that_hang_leave_the_open_files_of_others() {
    let home = Home::new().await;
    let process = Process::serve_with_files(&home, FILES, &[]).await;
    let (url, _) = counting_receiver().await;
    let neighbour = process.company("neighbour").await;
    neighbour.subscribe(&json!({"type": "t0", "target_url": url})).await;
    let silent = Receiver::start().await;
    silent.hold();
    let mut tests = Vec::new();
    for number in 0..RECEIVERS {
        let webhook = json!({"type": format!("t{number}"), "target_url": silent.url(&format!("/{number}"))});
        let id = process.client.subscribe(&webhook).await;
        process.client.publish(&format!("t{number}"), &json!(number)).await;
        // Each holds a connection of a caller as well.
        if number < 20 {
            let client = process.client.clone();
            tests.push(tokio::spawn(async move { client.post(&format!("/webhooks/{id}/test"), &json!({})).await }));
        }
    }
    // A company has half of the attempts that may be made to receivers that have not answered yet, and half of the tests.
    silent.wait_for(10).await;
    for _ in 0..3 {
        deliver(&neighbour, 1).await;
    }
    assert_eq!(neighbour.get("!/healthz").await.status, 200);
    assert!(silent.most_unanswered() <= 18, "{} requests hang at once", silent.most_unanswered());
    silent.open();
    for test in tests {
        assert!([200, 429].contains(&test.await.unwrap().status));
    }
}
