//! Tracks the connection phase of a request: for the text of a timeout, and to distinguish a pooled connection from a
//! new one. reqwest exposes neither, but it resolves and connects inside the task that sends the request, so the
//! resolver and the connector mark the phase in a task-local value.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

tokio::task_local! {
    static DIAL_PROGRESS: Arc<DialProgress>;
}

/// The connection phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DialPhase {
    /// The request needed no new connection: it uses one from the pool.
    Pooled,
    /// The name lookup is in progress.
    Resolving,
    /// The TCP connection or the TLS handshake is in progress.
    Connecting,
    /// The request has a new connection.
    Connected,
}

/// The connection phase of one request, and the port that it goes to.
#[derive(Debug)]
pub(super) struct DialProgress {
    port: u16,
    phase: AtomicU8,
}

impl DialProgress {
    /// Starts in [`DialPhase::Pooled`], for a request to `port`.
    pub(super) fn new(port: u16) -> Arc<Self> {
        Arc::new(Self { port, phase: AtomicU8::new(DialPhase::Pooled as u8) })
    }

    /// Runs `request` with `self` as the task-local value that [`mark`] updates.
    pub(super) async fn track<T>(self: &Arc<Self>, request: impl Future<Output = T>) -> T {
        DIAL_PROGRESS.scope(Arc::clone(self), request).await
    }

    /// Returns the current phase.
    pub(super) fn phase(&self) -> DialPhase {
        let phase = self.phase.load(Ordering::Relaxed);
        let known = [DialPhase::Resolving, DialPhase::Connecting, DialPhase::Connected];
        known.into_iter().find(|known| *known as u8 == phase).unwrap_or(DialPhase::Pooled)
    }

    fn mark(&self, phase: DialPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// Sets the phase of the request that runs in this task, if there is one.
pub(super) fn mark(phase: DialPhase) {
    let _ = DIAL_PROGRESS.try_with(|dial| dial.mark(phase));
}

/// Returns the port of the request that runs in this task, if there is one.
pub(super) fn port() -> Option<u16> {
    DIAL_PROGRESS.try_with(|dial| dial.port).ok()
}

/// Wraps the client's connect future. If a pooled connection becomes free meanwhile, the request uses that one, and the
/// client finishes this future in a task of its own: outside the request's task-local scope.
pub(super) async fn track_connect<T, E>(connect: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut connect = pin!(connect);
    let dial = DIAL_PROGRESS.try_with(Arc::clone).ok();
    mark(DialPhase::Connecting);
    let connected = poll_fn(|cx| {
        let abandoned = DIAL_PROGRESS.try_with(|_| ()).is_err();
        if let (true, Some(dial)) = (abandoned, &dial) {
            dial.mark(DialPhase::Pooled);
        }
        connect.as_mut().poll(cx)
    })
    .await;
    if connected.is_ok() {
        mark(DialPhase::Connected);
    }
    connected
}
