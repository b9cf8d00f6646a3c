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

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// A request's head that has not arrived by then ends the connection; so does an idle connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
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
    /// Serves `router` on `listener`.
    pub(crate) fn start(listener: TcpListener, router: Router, metrics: Arc<Metrics>) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(accept(listener, router, metrics, stop.clone())), stop }
    }

    /// Stops accepting and waits for the requests in flight.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, router: Router, metrics: Arc<Metrics>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
                tracing::warn!(%error, "accepting a connection failed");
                sleep(REST).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
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
