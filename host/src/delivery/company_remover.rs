//! Removes companies with everything that they have: in the database, and in memory and compiled code on every node.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::canceller::Canceller;
use super::compiled_plugins::CompiledPlugins;
use super::delivery_clock::DeliveryClock;
use crate::domain::id::Ids;
use crate::store::{CompanyRemoval, FinishedRemoval, RemovalRecord, RemovalStep, Store, StoreError};
use crate::telemetry::ThrottledLog;

/// Pause between two steps of a removal.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// Pause while nothing is left, or other nodes hold what is.
const LATE_PAUSE: Duration = Duration::from_millis(250);
/// How often to look for removals that another node ordered, or that an earlier process began.
const POLL: Duration = Duration::from_secs(15);

/// Removes companies.
pub struct CompanyRemover {
    pub(super) store: Arc<Store>,
    pub(super) canceller: Arc<Canceller>,
    pub(super) plugins: Arc<CompiledPlugins>,
    pub(super) ids: Arc<Ids>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) wake: Notify,
    pub(super) stop: CancellationToken,
    pub(super) log: ThrottledLog,
}

impl CompanyRemover {
    /// Removes at once with what a company acts, and orders the removal of the rest; `by` names who asks for it. Attempts in
    /// flight end, and nothing is recorded of them. Returns the removal in progress, also if it was before. `None`: the company
    /// has nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, company: &str, by: &str) -> Result<Option<RemovalRecord>, StoreError> {
        let now = self.clock.wall_ms();
        let place = self.ids.next("dlv", now);
        let removal = CompanyRemoval { company: company.to_owned(), place, by: by.to_owned(), now };
        let Some(started) = self.store.start_removal(removal).await? else { return Ok(None) };
        self.canceller.cancel_in_memory(&started.deliveries()).await;
        self.wake.notify_one();
        Ok(Some(started))
    }

    /// Carries removals out, a few rows at a time, until the engine stops.
    pub(super) async fn run(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let rest = match self.step().await {
                Ok(rest) => rest,
                Err(error) => {
                    self.log.warn("looking for companies to remove failed; trying again", &error);
                    POLL
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = timeout(rest, self.wake.notified()) => (),
            }
        }
    }

    /// Makes one step of each removal. Returns when to look again.
    async fn step(&self) -> Result<Duration, StoreError> {
        let mut rest = POLL;
        for removal in self.store.removals_in_progress().await? {
            match self.step_of(&removal).await {
                Ok(pause) => rest = rest.min(pause),
                // The others go on.
                Err(error) => self.log.warn("a step of the removal of a company failed; trying again", &error),
            }
        }
        Ok(rest)
    }

    async fn step_of(&self, removal: &RemovalRecord) -> Result<Duration, StoreError> {
        // What the fetcher has brought meanwhile, and what an earlier process had in memory.
        self.canceller.cancel_in_memory(&removal.deliveries()).await;
        self.store.written().await?;
        match self.store.removal_step(removal.company.clone(), self.clock.wall_ms()).await? {
            Some(RemovalStep::Removed(versions)) => {
                self.plugins.forget(versions).await;
                Ok(STEP_PAUSE)
            }
            Some(RemovalStep::Waits) => {
                // So that the count of its bytes is complete before it is removed.
                self.store.update_event_usage().await?;
                Ok(LATE_PAUSE)
            }
            Some(RemovalStep::Finished(finished)) => {
                record(&finished);
                Ok(POLL)
            }
            None => Ok(POLL),
        }
    }
}

/// Records a removal.
fn record(removal: &FinishedRemoval) {
    let FinishedRemoval { company, by, events, deliveries, cancelled, bytes } = removal;
    tracing::info!(company, by, events, deliveries, cancelled, bytes, "a company was removed with all that it had");
}
