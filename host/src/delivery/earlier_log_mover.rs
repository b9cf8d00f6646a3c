//! Moves the log of the version before into the tables of this one: what waits before anything is delivered, the rest in the
//! background.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fetch_signal::FetchSignal;
use crate::store::{EarlierRows, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Pause between two steps, so that other operations of the writer come first.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// How often to look for what nodes of the version before have stored, or let go of.
const POLL: Duration = Duration::from_secs(2);

/// Moves the log.
pub(super) struct EarlierLogMover {
    pub(super) store: Arc<Store>,
    pub(super) fetch: Arc<FetchSignal>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl EarlierLogMover {
    /// Moves the deliveries that wait. Returns how many there were.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn move_waiting(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for rows in [EarlierRows::Abandoned, EarlierRows::Waiting] {
            loop {
                let moved = self.store.move_earlier_log(rows).await?;
                count += moved;
                if moved == 0 {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Moves everything; with several nodes, also what those of the version before store from now on. Runs until the engine
    /// stops or nothing can be left.
    pub(super) async fn run(self) {
        let mut total = 0;
        while !self.stop.is_cancelled() {
            let moved = self.step().await;
            let pause = match moved {
                Ok(0) if total > 0 => {
                    tracing::info!(rows = std::mem::take(&mut total), "moved the log of the version before");
                    POLL
                }
                Ok(0) => POLL,
                Ok(moved) => {
                    total += moved;
                    STEP_PAUSE
                }
                Err(ref error) => {
                    self.log.warn("moving the log of the version before failed; trying again", error);
                    POLL
                }
            };
            if matches!(moved, Ok(0)) && !self.store.is_shared() {
                return;
            }
            let _ = timeout(pause, self.stop.cancelled()).await;
        }
    }

    async fn step(&self) -> Result<u64, StoreError> {
        // Of a database of its own, this node moved them before it began to deliver.
        let waiting = if self.store.is_shared() { self.move_waiting().await? } else { 0 };
        if waiting > 0 {
            self.fetch.reconcile_now();
        }
        Ok(waiting + self.store.move_earlier_log(EarlierRows::All).await?)
    }
}
