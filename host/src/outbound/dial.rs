//! How far a request has come with its connection: for the words of a time-out, and to know a pooled connection from
//! a new one. The client tells neither, but it resolves and connects inside of the task that asks it, so a value of
//! that task is marked on the way.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

tokio::task_local! {
    static DIAL: Arc<Dial>;
}

/// What a request is doing about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not asked for a new connection: it goes by one from the pool.
    Pooled,
    /// It looks up the target's name.
    Resolving,
    /// It connects, TLS included.
    Connecting,
    /// It has a connection of its own.
    Connected,
}

/// One request's way to its connection.
#[derive(Debug)]
pub(super) struct Dial {
    port: u16,
    phase: AtomicU8,
}

impl Dial {
    /// Of a request to this port.
    pub(super) fn new(port: u16) -> Arc<Self> {
        Arc::new(Self { port, phase: AtomicU8::new(Phase::Pooled as u8) })
    }

    /// Runs a client's request; only inside of it anything is marked.
    pub(super) async fn watch<T>(self: &Arc<Self>, request: impl Future<Output = T>) -> T {
        DIAL.scope(Arc::clone(self), request).await
    }

    /// How far it is.
    pub(super) fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed);
        let known = [Phase::Resolving, Phase::Connecting, Phase::Connected];
        known.into_iter().find(|known| *known as u8 == phase).unwrap_or(Phase::Pooled)
    }

    fn mark(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// Marks how far the request is that runs in this task, if one does.
pub(super) fn mark(phase: Phase) {
    let _ = DIAL.try_with(|dial| dial.mark(phase));
}

/// The port of the request that runs in this task, if one does.
pub(super) fn port() -> Option<u16> {
    DIAL.try_with(|dial| dial.port).ok()
}

/// Wraps the client's connecting. While it is under way a pooled connection may fall free, and the request goes by
/// that one; the client then finishes connecting in a task of its own.
pub(super) async fn connecting<T, E>(connect: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut connect = pin!(connect);
    let dial = DIAL.try_with(Arc::clone).ok();
    mark(Phase::Connecting);
    let connected = poll_fn(|cx| {
        let left_behind = DIAL.try_with(|_| ()).is_err();
        if let (true, Some(dial)) = (left_behind, &dial) {
            dial.mark(Phase::Pooled);
        }
        connect.as_mut().poll(cx)
    })
    .await;
    if connected.is_ok() {
        mark(Phase::Connected);
    }
    connected
}
