//! Clients without a credential.

use std::net::SocketAddr;

use posthaste_tests::{Home, Process, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::send;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

/// Opens a connection from this address of the loopback network.
async fn connect_from(source: &str, process: &Process) -> TcpStream {
    let address: SocketAddr = process.client.base.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Returns the first bytes of an answer; empty if the connection is closed.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).await.unwrap_or(0);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// Opens connections from one address and returns how many of them the service serves.
async fn served(source: &str, process: &Process, count: usize) -> Vec<TcpStream> {
    let mut served = Vec::new();
    for _ in 0..count {
        let mut stream = connect_from(source, process).await;
        let _ = stream.write_all(HEALTH).await;
        if answer(&mut stream).await.starts_with("HTTP/1.1 200") {
            served.push(stream);
        }
    }
    served
}

#[tokio::test]
async fn one_address_has_its_share_of_the_connections_and_others_are_served() {
    let home = Home::new().await;
    let process = Process::serve_with_files(&home, 256, &[]).await;
    // 60 connections with so few open files.
    let first = served("127.0.0.2", &process, 100).await;
    assert_eq!(first.len(), 30);
    let second = served("127.0.0.3", &process, 100).await;
    assert_eq!(second.len(), 15);
    process.client.get("!/healthz").await.expect(200);
    drop(first);
    until("its places are free again", || async { (!served("127.0.0.2", &process, 1).await.is_empty()).then_some(()) })
        .await;
}

#[tokio::test]
async fn number_of_connections_of_one_address_can_be_set() {
    let home = Home::new().await;
    let process = Process::serve_with_files(&home, 256, &["--max-connections-per-address=50"]).await;
    let proxy = served("127.0.0.2", &process, 100).await;
    assert_eq!(proxy.len(), 50);
    assert_eq!(served("127.0.0.3", &process, 100).await.len(), 10, "and the total holds");
}

#[tokio::test]
async fn head_ends_within_its_time_and_an_idle_connection_waits_longer() {
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let (mut idle, mut silent) = (send(&process, HEALTH).await, send(&process, b"").await);
    assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"));
    let mut again = send(&process, HEALTH).await;
    assert!(answer(&mut again).await.starts_with("HTTP/1.1 200"));
    again.write_all(b"GET /heal").await.unwrap();
    let mut half = send(&process, b"GET /healthz HTTP/1.1\r\nx-a: ").await;
    assert_eq!((answer(&mut half).await, answer(&mut again).await), (String::new(), String::new()));
    // Those that have sent no part of a head are still open.
    for stream in [&mut idle, &mut silent] {
        stream.write_all(HEALTH).await.unwrap();
        assert!(answer(stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn head_has_at_most_64_kib() {
    let home = Home::new().await;
    let process = Process::serve(&home, &[]).await;
    let head = |bytes| format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(bytes));
    assert!(answer(&mut send(&process, head(65_000).as_bytes()).await).await.starts_with("HTTP/1.1 200"));
    // No byte is left unread, for which the kernel would reset the connection.
    let too_large = head(65_536);
    assert!(answer(&mut send(&process, &too_large.as_bytes()[..65_536]).await).await.starts_with("HTTP/1.1 431"));
}
