//! Removes expired events, deliveries, plugin versions and configs, and encrypts headers that an earlier version stored in clear.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::attempt::whole_ms;
use super::delivery_clock::DeliveryClock;
use crate::domain::clock_doubt::ClockDoubt;
use crate::store::{Store, StoreError};
use crate::telemetry::ThrottledLog;

/// How often to look for expired rows.
const EVERY: Duration = Duration::from_secs(60);
/// Pause between two steps, so that removals never hold up deliveries.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// Removes expired rows.
pub(super) struct Retention {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<DeliveryClock>,
    /// How long finished deliveries are kept.
    pub(super) keep: Duration,
    /// What is kept for the next process, if this one has kept any.
    pub(super) clock_doubt: Option<ClockDoubt>,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl Retention {
    /// Runs until the engine stops.
    pub(super) async fn run(mut self) {
        while !self.stop.is_cancelled() {
            self.keep_doubt().await;
            if let Err(error) = self.remove_expired().await {
                self.log.warn("removing expired events failed", &error);
            }
            let _ = timeout(EVERY, self.stop.cancelled()).await;
        }
        self.keep_doubt().await;
    }

    /// Keeps the doubt in the clock for the next process. One that has none leaves that of other nodes.
    async fn keep_doubt(&mut self) {
        let doubt = self.clock.doubt();
        if doubt == self.clock_doubt {
            return;
        }
        match self.store.keep_clock_doubt(doubt).await {
            Ok(()) => self.clock_doubt = doubt,
            Err(error) => self.log.warn("noting that the clock may be wrong failed", &error),
        }
    }

    async fn remove_expired(&self) -> Result<(), StoreError> {
        let before = self.clock.retention_ms().saturating_sub(whole_ms(self.keep));
        let mut last = String::new();
        while let Some(company) = self.store.company_after(&last).await? {
            while self.store.expire(company.clone(), before).await? {
                if self.stops_during_pause().await {
                    return Ok(());
                }
            }
            last = company;
        }
        // While nodes are upgraded one after the other, those of the version before read the headers in clear.
        while self.store.seal_plain_headers().await? {
            if self.stops_during_pause().await {
                return Ok(());
            }
        }
        // After the attempts that may name them.
        while self.store.delete_removed_versions(before).await? {
            if self.stops_during_pause().await {
                return Ok(());
            }
        }
        while self.store.release_configs(self.clock.wall_ms()).await? {
            if self.stops_during_pause().await {
                return Ok(());
            }
        }
        while self.store.remove_released_configs(before).await? {
            if self.stops_during_pause().await {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn stops_during_pause(&self) -> bool {
        timeout(STEP_PAUSE, self.stop.cancelled()).await.is_ok()
    }
}
