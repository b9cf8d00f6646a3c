//! Which operations share a transaction, and how long completions wait for that.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::operation::{Publish, TransactionWork, WriteOperation};
use crate::store::delivery_rows::DeliveryUpdate;
use crate::store::error::StoreError;

/// Bounds how long a completion waits for others to share its commit.
pub(super) const COMPLETION_LINGER: Duration = Duration::from_millis(20);
/// Most operations in one transaction.
const MAX_OPERATIONS: usize = 512;

/// Completions that are not written yet, with their permits for the queue.
#[derive(Default)]
pub(super) struct PendingCompletions {
    pub(super) completions: Vec<DeliveryUpdate>,
    permits: Option<OwnedSemaphorePermit>,
}

impl PendingCompletions {
    /// Appends a completion.
    pub(super) fn push(&mut self, completion: DeliveryUpdate, permit: OwnedSemaphorePermit) {
        self.completions.push(completion);
        match &mut self.permits {
            Some(permits) => permits.merge(permit),
            None => self.permits = Some(permit),
        }
    }

    /// Takes the oldest, as many as fit into one group.
    pub(super) fn take_oldest(&mut self) -> Self {
        let count = self.completions.len().min(MAX_OPERATIONS);
        let permits = self.permits.as_mut().and_then(|permits| permits.split(count));
        Self { completions: self.completions.drain(..count).collect(), permits }
    }

    /// Puts back the completions of [`PendingCompletions::take_oldest`], before all others.
    pub(super) fn put_back(&mut self, oldest: Self) {
        let later = std::mem::replace(self, oldest);
        self.completions.extend(later.completions);
        match (&mut self.permits, later.permits) {
            (Some(permits), Some(more)) => permits.merge(more),
            (permits, more) => *permits = permits.take().or(more),
        }
    }
}

/// Operations that share one transaction.
#[derive(Default)]
pub(super) struct WriteGroup {
    pub(super) publishes: Vec<Publish>,
    pub(super) completions: PendingCompletions,
    pub(super) transactions: Vec<TransactionWork>,
}

impl WriteGroup {
    /// Returns a group that so far consists of these completions.
    pub(super) fn of_completions(completions: PendingCompletions) -> Self {
        Self { completions, ..Self::default() }
    }

    /// Adds an operation.
    pub(super) fn push(&mut self, operation: WriteOperation) {
        match operation {
            WriteOperation::Publish(publish) => self.publishes.push(publish),
            WriteOperation::Complete(completion, permit) => self.completions.push(*completion, permit),
            WriteOperation::Transaction(work) => self.transactions.push(work),
        }
    }

    /// Returns the number of operations.
    pub(super) fn len(&self) -> usize {
        self.publishes.len() + self.completions.completions.len() + self.transactions.len()
    }

    /// Returns whether a caller waits for an answer: nobody waits for completions.
    fn has_waiting_caller(&self) -> bool {
        !self.publishes.is_empty() || !self.transactions.is_empty()
    }

    /// Answers every event of the group with an error and removes it.
    pub(super) fn refuse_publishes(&mut self, error: &dyn Fn() -> StoreError) {
        for publish in self.publishes.drain(..) {
            (publish.done)(Err(error()));
        }
    }

    /// Adds the waiting operations, up to the group's size. While the group has only completions, it waits up to `linger`
    /// for more. Returns false if the channel is closed.
    #[must_use]
    pub(super) async fn gather(&mut self, receiver: &mut mpsc::Receiver<WriteOperation>, linger: Duration) -> bool {
        if self.len() == 0 {
            match receiver.recv().await {
                Some(operation) => self.push(operation),
                None => return false,
            }
        }
        let until = Instant::now() + linger;
        while self.len() < MAX_OPERATIONS {
            match receiver.try_recv() {
                Ok(operation) => self.push(operation),
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
                Err(mpsc::error::TryRecvError::Empty) if self.has_waiting_caller() => break,
                Err(mpsc::error::TryRecvError::Empty) => match timeout_at(until, receiver.recv()).await {
                    Ok(Some(operation)) => self.push(operation),
                    Ok(None) => return false,
                    Err(_) => break,
                },
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
