//! Receivers on raw TCP or TLS, for behaviour that no HTTP library offers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthaste_tests::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A listener on loopback that passes each connection, with its number, to a script.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Raw {
    pub(super) async fn start<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub(super) fn on<F>(listener: TcpListener, script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(script(counter.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Self { address, connections, task }
    }

    /// Runs `bad` on the first connection and answers properly on all later ones.
    pub(super) async fn first<F>(bad: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let bad = Arc::new(bad);
        Self::start(move |number, stream| {
            let bad = bad.clone();
            async move {
                match number {
                    0 => bad(stream).await,
                    _ => answer(stream).await,
                }
            }
        })
        .await
    }

    /// Returns the number of connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?k=s3cret", self.address)
    }
}

/// Reads one whole request; returns false at the end of the connection.
pub(super) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut seen = Vec::new();
    loop {
        if let Some(head) = seen.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&seen[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if seen.len() >= head + 4 + length.unwrap_or(0) {
                return true;
            }
        }
        if !matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
            return false;
        }
    }
}

/// Answers every request of a connection.
pub(super) async fn answer(mut stream: impl AsyncRead + AsyncWriteExt + Unpin) {
    while request(&mut stream).await {
        let _ = stream.write_all(OK).await;
    }
}

/// Reads a request, answers `text` and returns the connection.
pub(super) async fn say(mut stream: TcpStream, text: &[u8]) -> TcpStream {
    assert!(request(&mut stream).await);
    stream.write_all(text).await.unwrap();
    stream
}

/// Publishes an event for this URL and returns the attempts until it was delivered.
pub(super) async fn attempts(client: &Client, url: &str, data: &Value) -> Vec<Value> {
    let event_type = url.split('/').nth(2).unwrap();
    // Subscribing again would close the idle connections to the receiver.
    let webhooks = client.get("/webhooks").await.expect(200);
    if !webhooks.as_array().unwrap().iter().any(|webhook| webhook["target_url"] == url) {
        let subscribed = client.post("/webhooks", &json!({"type": event_type, "target_url": url})).await;
        assert!(matches!(subscribed.status, 200 | 201), "{}", subscribed.json());
    }
    let id = client.publish(event_type, data).await;
    let delivery = client.delivery(&id, "delivered").await;
    let attempts = delivery["attempts"].as_array().unwrap().clone();
    assert!(!delivery["attempts"].to_string().contains("s3cret"), "{attempts:?}");
    let last = attempts.last().unwrap();
    assert!(last["error"].is_null() && last["status_code"].as_u64().is_some_and(|code| code / 100 == 2), "{last}");
    attempts
}

/// Returns the error of the first attempt of a delivery that succeeded later.
pub(super) async fn first_error(client: &Client, url: &str) -> String {
    let attempts = attempts(client, url, &json!({"a": 1})).await;
    attempts[0]["error"].as_str().unwrap_or_else(|| panic!("{url}: {attempts:?}")).to_owned()
}
