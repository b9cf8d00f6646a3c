//! Keeps the count of the bytes of events that companies store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::telemetry::ThrottledLog;

/// How often the count is brought up to date. A company exceeds its quota by what it publishes in this time, on each node.
const EVERY: Duration = Duration::from_secs(5);

/// Brings the count up to date.
pub(super) struct QuotaKeeper {
    pub(super) store: Arc<Store>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl QuotaKeeper {
    /// Runs until the engine stops, and a last time then.
    pub(super) async fn run(self) {
        let mut stops = false;
        loop {
            if let Err(error) = self.store.update_event_usage().await {
                self.log.warn("counting the bytes of events failed; trying again", &error);
            }
            if stops {
                return;
            }
            stops = timeout(EVERY, self.stop.cancelled()).await.is_ok();
        }
    }
}
