//! The HTTP server: accepts connections, limits them, and drains them on shutdown.

mod head_timer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::PeerAddress;
use crate::metrics::Metrics;
use crate::shares::{Part, Share, ShareExceeded};
use crate::telemetry::ThrottledLog;
use head_timer::{CountedStream, HeadTimer, Received};

/// A connection is closed if no request begins within this time. How long its head may then take: see [`head_timer`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest head of a request. A larger one is answered 431, with an empty body, by hyper. Also the most that a connection
/// buffers otherwise.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// A connection is closed if the client acknowledges none of an answer's bytes for this time.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after `accept` failed, for example because no file descriptor was free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The options of a server.
pub(crate) struct ServerOptions {
    /// The connections, of which each client address has a share.
    pub(crate) connections: Arc<Share>,
    /// Most connections of one client address in place of its share.
    pub(crate) max_per_address: Option<u64>,
    /// How long requests in flight may take once the service stops.
    pub(crate) drain_timeout: Duration,
    /// Counts the open connections.
    pub(crate) metrics: Arc<Metrics>,
}

impl ServerOptions {
    /// Takes a place for a connection of this client.
    fn place(&self, peer: PeerAddress) -> Result<Part, ShareExceeded> {
        let address = peer.network().to_string();
        match self.max_per_address {
            Some(most) => self.connections.try_take_within(&address, 1, most),
            None => self.connections.try_take(&address, 1),
        }
    }
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
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, PeerAddress(peer.ip())),
            Err(error) => {
                failures.warn("accepting a connection failed", &error);
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A connection that waited in the kernel's queue would keep others waiting behind it.
        let Ok(place) = options.place(peer) else { continue };
        set_options(&stream);
        let held = (place, options.metrics.connection_opened());
        let connection = Connection { stream, peer, router: router.clone() };
        let serving = connection.serve(graceful.watcher(), stop.clone());
        let cut = cut.clone();
        connections.spawn(async move {
            let _held = held;
            cut.run_until_cancelled(serving).await
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

fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    // Without it, a client that sends requests and never reads the answers keeps its connection forever: hyper waits,
    // and the kernel keeps probing for a free receive window (tcp(7), TCP_USER_TIMEOUT).
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
}

/// One connection of a client.
struct Connection {
    stream: TcpStream,
    peer: PeerAddress,
    router: Router,
}

impl Connection {
    /// Answers its requests until it ends, or until `watcher` or `stop` end it between two of them.
    async fn serve(self, watcher: Watcher, stop: CancellationToken) {
        let Self { stream, peer, router } = self;
        // hyper allocates its buffers before the first byte arrives.
        let mut first = [0];
        let began = tokio::select! {
            () = stop.cancelled() => return,
            began = timeout(IDLE_TIMEOUT, stream.peek(&mut first)) => began,
        };
        if !matches!(began, Ok(Ok(1))) {
            return;
        }
        let inner = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            inner.call(request)
        });
        let received = Received::default();
        let mut http = http1::Builder::new();
        http.timer(HeadTimer(received.clone())).header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
        let stream = TokioIo::new(CountedStream { stream, received });
        // A client that disconnects is not an error of this service.
        let _ = watcher.watch(http.serve_connection(stream, service)).await;
    }
}
