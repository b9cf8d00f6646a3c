//! Bodies that arrive slowly, or not at all.

use futures_util::future::join_all;
use http::Method;
use posthaste_tests::{Home, Process};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::send;

/// The bytes of one upload: three of them leave less than they have, so that their company may have no more.
const UPLOAD: usize = 22 << 20;

/// Begins a request with a body, of which the end never arrives.
async fn begin(process: &Process, line: &str, key: &str, bytes: usize) -> TcpStream {
    let kind = if line.starts_with("PUT") { "application/wasm" } else { "application/x-ndjson" };
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        bytes + 1
    );
    send(process, &[head.as_bytes(), &vec![b' '; bytes]].concat()).await
}

/// Returns the status and the body of an answer.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = vec![0; 4096];
    let count = stream.read(&mut text).await.unwrap();
    String::from_utf8_lossy(&text[..count]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_uploads_take_one_companys_share_and_a_neighbour_publishes() {
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let (attacker, neighbour) = (process.client.clone(), process.company("neighbour").await);
    let event = json!({"type": "t", "data": "x".repeat(20_000)});
    let attack = async {
        let mut stalled = Vec::new();
        for _ in 0..3 {
            stalled.push(begin(&process, "PUT /api/v1/plugins/p", &attacker.key, UPLOAD).await);
        }
        // Of what its company sends besides, 64 requests wait.
        let more = join_all((0..80).map(|_| attacker.post("/events", &event))).await;
        (stalled, more.into_iter().filter(|answer| answer.status != 202).collect::<Vec<_>>())
    };
    // Large events and a batch, while the others hold what they have.
    let served = async {
        let data = "x".repeat(200_000);
        neighbour.post("/events", &json!({"type": "t", "data": data})).await.expect(202);
        let lines = json!({"type": "t", "data": data}).to_string() + "\n";
        let batch = neighbour.call(Method::POST, "/events/batch", &[], lines.repeat(20)).await.expect(202);
        assert_eq!(batch["accepted"], 20);
        // The attacker's own small events arrive as well.
        attacker.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    };
    let ((mut stalled, refused), ()) = tokio::join!(attack, served);
    for stream in &mut stalled {
        let text = answer(stream).await;
        assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    }
    assert!(!refused.is_empty() && refused.iter().all(|answer| answer.expect(429)["limit"] == "request-bytes"));
    assert!(refused.iter().all(|answer| answer.header("retry-after") == "1"));
    attacker.post("/events", &event).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_batches_hold_no_turn() {
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let neighbour = process.company("neighbour").await;
    let mut slow = Vec::new();
    for _ in 0..16 {
        slow.push(begin(&process, "POST /api/v1/events/batch", &process.client.key, 1 << 20).await);
    }
    // All of them have begun before this one.
    process.client.get("!/healthz").await.expect(200);
    let lines = json!({"type": "t", "data": "x".repeat(200_000)}).to_string() + "\n";
    let batch = neighbour.call(Method::POST, "/events/batch", &[], lines.repeat(20)).await.expect(202);
    assert_eq!(batch["accepted"], 20);
    for stream in &mut slow {
        assert!(answer(stream).await.starts_with("HTTP/1.1 408"), "they were cut off only later");
    }
}
