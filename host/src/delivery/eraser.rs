//! Erases the data of events because a user asks for it: in the database, and in memory on every node.

use std::sync::Arc;

use super::canceller::Canceller;
use super::delivery_clock::DeliveryClock;
use crate::store::{CancelSelection, ErasedEvent, Store, StoreError};

/// Erases the data of events.
pub struct Eraser {
    pub(super) store: Arc<Store>,
    pub(super) canceller: Arc<Canceller>,
    pub(super) clock: Arc<DeliveryClock>,
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
            record(company, by, &ErasureRecord { events: 1, bytes: amount.bytes, cancelled: amount.cancelled });
        }
        Ok(erased)
    }
}

/// What an erasure has removed, in numbers.
struct ErasureRecord {
    events: u64,
    bytes: i64,
    cancelled: u64,
}

/// Records an erasure. Every erasure passes here, so that a trail of what was done needs this one place.
fn record(company: &str, by: &str, record: &ErasureRecord) {
    let ErasureRecord { events, bytes, cancelled } = record;
    tracing::info!(company, by, events, bytes, cancelled, "the data of events was erased");
}
