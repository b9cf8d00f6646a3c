//! Which operations share a transaction, and how long completions wait for that.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::operation::{CompanyOperation, CompanyWork, Publish, TransactionWork};
use crate::shares::Part;
use crate::store::delivery_rows::DeliveryUpdate;
use crate::store::error::StoreError;

/// Bounds how long a completion waits for others to share its commit.
pub(super) const COMPLETION_LINGER: Duration = Duration::from_millis(20);
/// Most completions in one transaction, and most transactions of the engine.
pub(super) const MAX_OPERATIONS: usize = 512;

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

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.completions.len()
    }

    /// Returns whether there are enough for a group.
    pub(super) fn fill_a_group(&self) -> bool {
        self.completions.len() >= MAX_OPERATIONS
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
    /// What the operations of companies have of the writer's memory.
    pub(super) parts: Vec<Part>,
}

impl WriteGroup {
    /// Adds an operation of a company.
    pub(super) fn push(&mut self, CompanyOperation { work, part }: CompanyOperation) {
        self.parts.push(part);
        match work {
            CompanyWork::Publish(publish) => self.publishes.push(publish),
            CompanyWork::Transaction(_, work) => self.transactions.push(work),
        }
    }

    /// Answers every event of the group with an error and removes it.
    pub(super) fn refuse_publishes(&mut self, error: &dyn Fn() -> StoreError) {
        for publish in self.publishes.drain(..) {
            (publish.done)(Err(error()));
        }
    }

    /// Returns the number of operations.
    pub(super) fn len(&self) -> usize {
        self.publishes.len() + self.completions.len() + self.transactions.len()
    }
}
