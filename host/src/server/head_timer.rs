//! The time limits of a request's head: how long a connection may be idle before it, and how long it may take to arrive.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long the head of a request may take from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes that a connection has received.
#[derive(Debug, Clone, Default)]
pub(super) struct Received(Arc<AtomicU64>);

impl Received {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that counts what it receives.
#[derive(Debug)]
pub(super) struct CountedStream<S> {
    pub(super) stream: S,
    pub(super) received: Received,
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        this.received.0.fetch_add(bytes as u64, Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The timer of one connection. hyper has one limit for the time before a head and for the head, which begins when the
/// request before it ends; this timer shortens it once the first byte has arrived.
#[derive(Debug)]
pub(super) struct HeadTimer(pub(super) Received);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        let before = self.0.bytes();
        let sleep = Box::pin(tokio::time::sleep_until(deadline.into()));
        Box::pin(HeadDeadline { sleep, received: self.0.clone(), before: Some(before) })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

/// The deadline of one head. hyper polls it whenever a part of the head has arrived.
struct HeadDeadline {
    sleep: Pin<Box<tokio::time::Sleep>>,
    received: Received,
    /// What the connection had received before the head; `None` once the head arrives.
    before: Option<u64>,
}

impl Sleep for HeadDeadline {}

impl Future for HeadDeadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.before.is_some_and(|before| this.received.bytes() > before) {
            this.before = None;
            let deadline = this.sleep.deadline().min(Instant::now() + HEAD_TIMEOUT);
            this.sleep.as_mut().reset(deadline);
        }
        this.sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Returns what is left of the deadline after a poll.
    fn left(deadline: &mut Pin<Box<dyn Sleep>>) -> Duration {
        assert!(deadline.as_mut().now_or_never().is_none());
        let head: Pin<&mut HeadDeadline> = deadline.as_mut().downcast_mut_pin().unwrap();
        head.sleep.deadline() - Instant::now()
    }

    #[tokio::test]
    async fn deadline_becomes_that_of_a_head_with_its_first_byte_only() {
        let timer = HeadTimer(Received::default());
        timer.0.0.store(7, Ordering::Relaxed);
        let mut deadline = timer.sleep(Duration::from_secs(60));
        assert!(left(&mut deadline) > HEAD_TIMEOUT, "nothing has arrived since the request before");
        timer.0.0.store(8, Ordering::Relaxed);
        let begun = left(&mut deadline);
        assert!(begun <= HEAD_TIMEOUT);
        timer.0.0.store(9, Ordering::Relaxed);
        assert!(left(&mut deadline) <= begun, "further bytes do not extend it");
        let mut soon = timer.sleep(Duration::from_secs(5));
        timer.0.0.store(10, Ordering::Relaxed);
        assert!(left(&mut soon) <= Duration::from_secs(5), "nor does the first byte");
    }

    #[tokio::test]
    async fn stream_counts_what_it_receives() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = CountedStream { stream: server, received: Received::default() };
        client.write_all(b"GET").await.unwrap();
        server.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(server.received.bytes(), 2);
        server.write_all(b"HTTP").await.unwrap();
        server.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(server.received.bytes(), 3);
    }
}
