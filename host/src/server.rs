//! The HTTP server: accepts connections, limits them, and drains them on shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::PeerAddress;
use crate::metrics::Metrics;
use crate::telemetry::ThrottledLog;

/// A connection is closed if the head of its next request does not arrive within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection is closed if the client acknowledges none of an answer's bytes for this time.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after `accept` failed, for example because no file descriptor was free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The options of a server.
pub(crate) struct ServerOptions {
    /// Most connections at once; further ones wait in the kernel's queue.
    pub(crate) max_connections: usize,
    /// How long requests in flight may take once the service stops.
    pub(crate) drain_timeout: Duration,
    /// Counts the open connections.
    pub(crate) metrics: Arc<Metrics>,
}

/// A running HTTP server.
pub(crate) struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `router` on `listener`.
    pub(crate) fn start(listener: TcpListener, router: Router, options: ServerOptions) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(serve(listener, router, options, stop.clone())), stop }
    }

    /// Stops accepting connections and waits for the requests in flight, at most `drain_timeout`; then it closes the
    /// connections that are left.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Accepts connections until `stop`, then drains them.
async fn serve(listener: TcpListener, router: Router, options: ServerOptions, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let failures = ThrottledLog::default();
    let permits = Arc::new(Semaphore::new(options.max_connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                failures.warn("accepting a connection failed", &error);
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = PeerAddress(connection.peer.ip());
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            inner.call(request)
        });
        let serving = http.serve_connection(TokioIo::new(connection.stream), service);
        let serving = graceful.watch(serving);
        let (permit, open, cut) = (connection.permit, options.metrics.connection_opened(), cut.clone());
        connections.spawn(async move {
            let _held = (permit, open);
            // A client that disconnects is not an error of this service.
            let _ = cut.run_until_cancelled(serving).await;
        });
    }
    drop(listener);
    if timeout(options.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still in flight when the service stopped; they are cut off");
    }
    // A connection keeps the database open.
    cut.cancel();
    connections.close();
    connections.wait().await;
}

/// A connection, and its part of the limit on them.
struct AcceptedConnection {
    stream: TcpStream,
    peer: SocketAddr,
    permit: Option<OwnedSemaphorePermit>,
}

/// Waits for a permit first, so that further connections stay in the kernel's queue.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> std::io::Result<AcceptedConnection> {
    // The semaphore is never closed.
    let permit = permits.clone().acquire_owned().await.ok();
    let (stream, peer) = listener.accept().await?;
    let _ = stream.set_nodelay(true);
    // Without it, a client that sends requests and never reads the answers keeps its connection forever: hyper waits,
    // and the kernel keeps probing for a free receive window (tcp(7), TCP_USER_TIMEOUT).
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    Ok(AcceptedConnection { stream, peer, permit })
}
