//! The test harness: a host on its own port, a receiver whose answers the test sets, and a database on SQLite or
//! PostgreSQL. Tests observe everything through the public contract.

// A harness may panic: that is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bombs;
mod clock;
mod frame;
mod home;
mod host;
mod plugins;
mod postgres;
mod process;
mod receiver;
mod sqlite_only;

pub use bombs::{BOMBS, bomb};
pub use clock::{MovedClock, StoppedClock};
pub use home::{Database, Home, Kind, Value};
pub use host::{Answer, Client, Host};
pub use plugins::{guest, shipped};
pub use postgres::PostgresServer;
pub use process::{Process, binary};
pub use receiver::{Arrival, Receiver};
pub use sqlite_only::sqlite_only;

use std::future::Future;

use posthaste::outbound::sign;
use std::time::Duration;

/// A safety net: the longest that a test waits for one thing. It turns a hang into a failure and decides nothing else: no test
/// passes or fails by how fast the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Verifies `(webhook-id, webhook-timestamp, webhook-signature)` of a POST that has just arrived.
pub fn verify(secret: &[u8], signed: (&str, &str, &str), body: &[u8], now_s: i64) -> Result<(), String> {
    let (id, timestamp, signature) = signed;
    let received = sign::Received { id, timestamp_s: timestamp.parse().unwrap(), body };
    sign::verify(signature, secret, &received, now_s)
}

/// Polls `ask` until it returns a value; fails the test after [`PATIENCE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            // The pause between two polls, not a guess of how long the condition takes.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}
