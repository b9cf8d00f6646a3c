//! Erases the data of events because a user asks for it: in the database, and in memory on every node.

use std::sync::Arc;
use std::time::Duration;

use super::background_steps::BackgroundSteps;
use super::canceller::Canceller;
use super::delivery_clock::DeliveryClock;
use crate::store::{CancelSelection, ErasedEvent, Erasure, ErasureStep, FinishedErasure, Store, StoreError};

/// Pause between two steps of an erasure.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// Erases the data of events.
pub struct Eraser {
    pub(super) store: Arc<Store>,
    pub(super) canceller: Arc<Canceller>,
    pub(super) clock: Arc<DeliveryClock>,
    pub(super) steps: BackgroundSteps,
}

impl Eraser {
    /// Erases the data of one event at once; `by` names who asks for it. Its deliveries that wait are cancelled, on other nodes too;
    /// an attempt in flight ends, and nothing of the data is recorded of it. `None`: the company has no such event.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase_one(&self, company: &str, event: &str, by: &str) -> Result<Option<ErasedEvent>, StoreError> {
        let Some(place) = self.store.place_of_event(company, event).await? else { return Ok(None) };
        let selection = CancelSelection::of_event(company, &place);
        // So that no further attempt begins while the writer is busy.
        self.canceller.cancel_in_memory(&selection).await;
        let erased = self.store.erase_event(company, event.to_owned(), self.clock.wall_ms()).await?;
        // What the fetcher has brought meanwhile.
        self.canceller.cancel_in_memory(&selection).await;
        if let Some(ErasedEvent { erased: Some(amount), .. }) = &erased {
            record(&FinishedErasure {
                company: company.to_owned(),
                by: by.to_owned(),
                events: 1,
                bytes: amount.bytes,
                cancelled: amount.cancelled,
            });
        }
        Ok(erased)
    }

    /// Orders the erasure of many events.
    ///
    /// # Errors
    /// [`StoreError::Limit`] if the company has too many erasures under way. The store's.
    pub async fn erase_many(&self, erasure: Erasure) -> Result<(), StoreError> {
        self.store.start_erasure(erasure).await?;
        self.steps.wake();
        Ok(())
    }

    /// Carries erasures out, a few events at a time, until the engine stops.
    pub(super) async fn run(self: Arc<Self>) {
        self.steps.run(STEP_PAUSE, "looking for erasures failed; trying again", || self.step()).await;
    }

    /// Makes one step of each erasure. Returns whether there may be more.
    async fn step(&self) -> Result<bool, StoreError> {
        let mut more = false;
        for id in self.store.erasures_in_progress().await? {
            let ErasureStep { cancelled, finished } = match self.store.erasure_step(id, self.clock.wall_ms()).await {
                Ok(Some(done)) => done,
                Ok(None) => continue,
                // The others go on.
                Err(error) => {
                    self.steps.log.warn("a step of an erasure failed; trying again", &error);
                    continue;
                }
            };
            for selection in &cancelled {
                self.canceller.cancel_in_memory(selection).await;
            }
            match finished {
                Some(erasure) => record(&erasure),
                None => more = true,
            }
        }
        Ok(more)
    }
}

/// Records an erasure. Every erasure passes here, so that a trail of what was done needs this one place.
fn record(erasure: &FinishedErasure) {
    let FinishedErasure { company, by, events, bytes, cancelled } = erasure;
    tracing::info!(company, by, events, bytes, cancelled, "the data of events was erased");
}
