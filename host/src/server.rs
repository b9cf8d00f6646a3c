//! The listener: accepts connections, bounds them, and lets them end in order.

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
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::Peer;
use crate::metrics::Metrics;
use crate::telemetry::Seldom;

/// Connections at once, where the limit on open files leaves room for them; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// Files that are neither connections nor attempts: the database's, and those of a plugin being compiled.
const OTHER_FILES: usize = 128;
/// A request's head that has not arrived by then ends the connection; so does an idle connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// A client that takes nothing of an answer for so long is cut off.
#[cfg(target_os = "linux")]
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// How long requests in flight may take once the service is to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Rest after `accept` failed, for example for want of file descriptors.
const REST: Duration = Duration::from_millis(50);

/// A running listener.
pub(crate) struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `router` on `listener`, holding at most `connections` at once and counting them.
    pub(crate) fn start(listener: TcpListener, router: Router, bounds: (Arc<Metrics>, usize)) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(accept(listener, router, bounds, stop.clone())), stop }
    }

    /// Stops accepting and waits for the requests in flight.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Connections that `files` open files have room for beside `attempts` at once: callers must not take the sockets that
/// deliveries need.
pub(crate) fn max_connections(files: Option<usize>, attempts: usize) -> usize {
    let room = files.map(|files| files.saturating_sub(attempts + OTHER_FILES));
    room.map_or(MAX_CONNECTIONS, |room| room.clamp(OTHER_FILES / 2, MAX_CONNECTIONS))
}

async fn accept(
    listener: TcpListener,
    router: Router,
    (metrics, connections): (Arc<Metrics>, usize),
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let said = Seldom::default();
    let places = Arc::new(Semaphore::new(connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    loop {
        let connection = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = connection => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                said.warn("accepting a connection failed", &error);
                sleep(REST).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // Without it, whoever asks and never reads keeps a connection for ever: hyper waits, and the system goes on asking
        // whether there is room (tcp(7), TCP_USER_TIMEOUT).
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(READ_PATIENCE));
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer.ip()));
            inner.call(request)
        });
        let serving = http.serve_connection(TokioIo::new(stream), service);
        let serving = graceful.watch(serving);
        let open = metrics.connection_opened();
        tokio::spawn(async move {
            let _held = (place, open);
            // A client that goes away is no fault of ours.
            let _ = serving.await;
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still in flight when the service stopped");
    }
}
