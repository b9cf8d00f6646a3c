//! Cancels the waiting deliveries of webhooks that were removed, a few at a time, however often the process stops meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::delivery_clock::DeliveryClock;
use crate::store::{Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Pause between two steps, so that other operations of the writer come first.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// How often to look for what another node, or an earlier process, left.
const POLL: Duration = Duration::from_secs(15);

/// Looks for waiting deliveries without a webhook.
pub(super) struct OrphanSweeper {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<DeliveryClock>,
    /// Notified when a webhook is removed.
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl OrphanSweeper {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.sweep().await {
                self.log.warn("cancelling the deliveries of removed webhooks failed; trying again", &error);
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = timeout(POLL, self.wake.notified()) => (),
            }
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.store.orphaned_webhooks(&after).await?;
            for webhook in page.webhooks {
                while self.store.cancel_orphans(webhook.clone(), self.clock.wall_ms()).await? {
                    if timeout(STEP_PAUSE, self.stop.cancelled()).await.is_ok() {
                        return Ok(());
                    }
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }
}
