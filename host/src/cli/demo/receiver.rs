//! The receiver of the demo: passes requests on to the story, and fails on request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cli::Failure;

/// Bounds the wait of a step for a request.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// One received POST.
pub(super) struct Arrival {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

struct SharedReceiver {
    arrivals: mpsc::Sender<Arrival>,
    /// Number of the next POSTs that are answered 503.
    failing: AtomicUsize,
}

/// A receiver on loopback.
pub(super) struct Receiver {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    shared: Arc<SharedReceiver>,
}

impl Receiver {
    pub(super) async fn start() -> Result<Self, Failure> {
        let (sender, arrivals) = mpsc::channel(16);
        let shared = Arc::new(SharedReceiver { arrivals: sender, failing: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, arrivals, shared })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn fail_next(&self, posts: usize) {
        self.shared.failing.store(posts, Ordering::SeqCst);
    }

    /// Waits for the next POST that is answered 204.
    pub(super) async fn next(&mut self) -> Result<Arrival, Failure> {
        let arrived = timeout(MAX_WAIT, self.arrivals.recv()).await.map_err(|_| "no request arrived within 10 s")?;
        arrived.ok_or_else(|| "the receiver has stopped".into())
    }
}

async fn receive(State(shared): State<Arc<SharedReceiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let failing = shared.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if failing.is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let _ = shared.arrivals.send(Arrival { headers, body }).await;
    StatusCode::NO_CONTENT
}
