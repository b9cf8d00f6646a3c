//! Erases what transient deliveries hold of the data of their events once they have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::delivery_clock::DeliveryClock;
use crate::store::Store;
use crate::telemetry::ThrottledLog;

/// Pause between two steps, so that other operations of the writer come first.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// How often to look: what is to be erased is soon gone, and the index to look in is empty otherwise.
const POLL: Duration = Duration::from_secs(1);

/// Looks for transient deliveries that have ended.
pub(super) struct TransientEraser {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl TransientEraser {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() {
            let pause = match self.store.erase_transient(self.clock.wall_ms()).await {
                Ok(true) => STEP_PAUSE,
                Ok(false) => POLL,
                Err(error) => {
                    self.log.warn("erasing payloads that are not kept failed; trying again", &error);
                    POLL
                }
            };
            let _ = timeout(pause, self.stop.cancelled()).await;
        }
    }
}
