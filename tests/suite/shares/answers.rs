//! Large answers that nobody reads, and calls that run plugins.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Method;
use posthaste_tests::{Client, Home, Host, Process, guest, shipped, until};
use serde_json::json;

use super::send;

/// A custom section that makes a plugin large (WebAssembly Core Specification 2.0, §5.5.3).
fn padding(bytes: usize) -> Vec<u8> {
    let mut size = bytes + 1;
    let mut section = vec![0];
    while size > 127 {
        section.push((size % 128) as u8 | 128);
        size /= 128;
    }
    section.extend([size as u8, 0]);
    section.resize(section.len() + bytes, b'x');
    section
}

async fn download(client: &Client, digest: &str) -> posthaste_tests::Answer {
    client.call(Method::GET, &format!("/plugins/p/versions/{digest}"), &[("accept", "application/wasm")], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_that_nobody_reads_take_one_companys_share() {
    const LARGE: usize = 20 << 20;
    /// Three of them have their bytes, 64 wait.
    const UNREAD: usize = 70;
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let (attacker, neighbour) = (process.client.clone(), process.company("neighbour").await);
    let own = neighbour.upload("p", &shipped("mask")).await.expect(201)["digest"].as_str().unwrap().to_owned();
    let large = [shipped("mask"), padding(LARGE)].concat();
    let digest = attacker.upload("p", &large).await.expect(201)["digest"].as_str().unwrap().to_owned();
    assert_eq!(download(&attacker, &digest).await.bytes, large);
    let request = format!(
        "GET /api/v1/plugins/p/versions/{digest} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\naccept: application/wasm\r\n\r\n",
        attacker.key
    );
    // On a slow machine the first ones may have been cut off, or have waited for too long, before the last is here.
    let (mut unread, mut further) = (Vec::new(), None);
    for _ in 0..5 {
        for _ in 0..UNREAD {
            unread.push(send(&process, request.as_bytes()).await);
        }
        let answer = download(&attacker, &digest).await;
        if answer.status != 200 {
            further = Some(answer);
            break;
        }
    }
    assert_eq!(further.expect("it found room").expect(429)["limit"], "answer-bytes");
    assert_eq!(download(&neighbour, &own).await.bytes, shipped("mask"));
    neighbour.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    // The attacker may still do what answers little.
    attacker.post("/events", &json!({"type": "t", "data": 1})).await.expect(202);
    let peak = process.peak_kib() / 1024;
    assert!(peak < ((UNREAD * LARGE / 2) >> 20) as u64, "{peak} MiB");
    drop(unread);
    until("its share is free again", || async { (download(&attacker, &digest).await.status == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn dry_runs_wait_for_their_companys_turn_and_a_neighbour_is_served() {
    let host = Host::with(&["--plugin-deadline=3s"]).await;
    let neighbour = host.company("neighbour").await;
    host.upload("p", &guest("loop")).await.expect(201);
    neighbour.upload("p", &guest("pass")).await.expect(201);
    let run = json!({"event": {"type": "t", "data": 1}});
    // Eight have their turn, 64 wait.
    let mut runs: FuturesUnordered<_> = (0..90).map(|_| host.post("/plugins/p/dry-run", &run)).collect();
    let mut refused = 0;
    while let Some(answer) = runs.next().await {
        if answer.status == 429 {
            assert_eq!((answer.json()["limit"].as_str(), answer.header("retry-after")), (Some("heavy-calls"), "1"));
            refused += 1;
        }
        if refused == 10 {
            break;
        }
    }
    assert_eq!(refused, 10);
    let answer = neighbour.post("/plugins/p/dry-run", &run).await.expect(200);
    assert_eq!(answer["outcome"], "pass");
    assert!(!runs.is_empty(), "the others still run or wait");
}

#[tokio::test]
async fn no_answer_lets_its_content_type_be_guessed() {
    let host = Host::start().await;
    for path in ["!/healthz", "!/metrics", "/webhooks", "/nowhere", "!/nowhere"] {
        assert_eq!(host.get(path).await.header("x-content-type-options"), "nosniff", "{path}");
    }
    assert_eq!(host.with_key("").get("/webhooks").await.header("x-content-type-options"), "nosniff");
}
