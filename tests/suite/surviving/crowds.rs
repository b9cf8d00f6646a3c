//! Thousands of concurrent clients.

use axum::response::IntoResponse;
use futures_util::{StreamExt, stream};
use posthaste_tests::{Home, Process, Receiver, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::subscribe;

/// Concurrent connections.
const CROWD: usize = 10_000;
/// The permitted memory of one idle connection in KiB.
const EACH: u64 = 16;

/// Raises the limit on open files, of this process and of those that it starts, as far as the system allows, and checks that
/// it is enough.
pub(crate) fn open_files(needed: usize) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let enough = limit.maximum.is_none_or(|maximum| maximum >= needed as u64);
    assert!(enough, "this test needs {needed} open files (the hard limit of `ulimit -n`), not {:?}", limit.maximum);
}

async fn connect(process: &Process) -> TcpStream {
    let address = process.client.base.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Opens `count` connections, 64 at a time.
async fn crowd(process: &Process, count: usize) -> Vec<TcpStream> {
    stream::iter(0..count).map(|_| connect(process)).buffered(64).collect().await
}

/// Publishes one event over this connection and returns the status line.
async fn publish(process: &Process, stream: &mut TcpStream, number: usize) -> String {
    let body = json!({"type": "t", "data": number}).to_string();
    let request = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n{body}",
        process.client.key,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_cost_little_and_those_that_publish_are_served() {
    open_files(CROWD + 8_000);
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    let process = Process::serve(&folder, &["--max-connections-per-address=16384"]).await;
    subscribe(&process.client, &receiver).await;
    publish(&process, &mut connect(&process).await, 0).await;
    let before = process.resident_kib();
    let mut streams = crowd(&process, CROWD).await;
    // Every tenth connection publishes, from the last to the first: if the last is served, all were accepted.
    let publishing = streams.iter_mut().rev().step_by(10).enumerate();
    let published: Vec<_> =
        stream::iter(publishing).map(|(number, stream)| publish(&process, stream, number)).buffered(64).collect().await;
    assert_eq!(published.len(), CROWD / 10);
    assert!(published.iter().all(|line| line == "HTTP/1.1 202 Accepted"), "{published:?}");
    receiver.wait_for(1 + CROWD / 10).await;
    let after = process.resident_kib();
    println!("{before} KiB before, {after} KiB with {CROWD} connections");
    assert!(after < before + EACH * CROWD as u64, "from {before} KiB to {after} KiB");
    // Connections that were idle all the time are still open.
    assert_eq!(publish(&process, &mut streams[0], 1).await, "HTTP/1.1 202 Accepted");
}

#[tokio::test]
async fn clients_cannot_exhaust_the_open_files_that_deliveries_need() {
    const FILES: usize = 200;
    let (folder, receiver) = (Home::new().await, Receiver::start().await);
    let process = Process::serve_with_files(&folder, FILES, &[]).await;
    subscribe(&process.client, &receiver).await;
    // Each delivery needs a new socket.
    receiver.answer(|_, _| ([("connection", "close")], "").into_response());
    let mut first = connect(&process).await;
    assert_eq!(publish(&process, &mut first, 0).await, "HTTP/1.1 202 Accepted");
    // Together with its other open files, these reach the limit of the process.
    let _crowd = crowd(&process, FILES - 20).await;
    let mut rest = [0; 512];
    let _ = first.try_read(&mut rest);
    assert_eq!(publish(&process, &mut first, 1).await, "HTTP/1.1 202 Accepted");
    until("both arrive", || async { (receiver.arrivals().len() == 2).then_some(()) }).await;
}
