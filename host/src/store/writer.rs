//! The one writer of this process: every change to the database passes through it and is committed in groups.
//!
//! A group is what waits when the writer is free, and of many companies a part (`line.rs`). It costs one transaction and one
//! fsync; then all callers are answered. Nobody waits for the completions of attempts, so they linger up to 20 ms for others to share their commit. A
//! crash before that commit costs a second POST, never a loss.

mod commit;
mod group;
mod line;
mod operation;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::backend::Backend;
use super::damage::Damage;
use super::db::DatabaseConnection;
use super::delivery_rows::DeliveryUpdate;
use super::error::StoreError;
use super::event_usage::EventUsage;
use crate::metrics::Metrics;
use crate::shares::{Part, Share};
use operation::{CommitCallback, CompanyOperation, CompanyWork, TransactionWork, WriteOperation, savepoint};
use task::WriterTask;

pub use operation::Publish;
pub(super) use operation::transaction;

/// Most completions that wait to be written, and most other operations; a further caller waits until one of them is written.
const QUEUE_CAPACITY: usize = 4096;

/// What a delivery takes besides its event's headers and data: its indexes, and the request that waits for it. In bytes.
const ROW_BYTES: u64 = 2 << 10;
/// As much as the transaction of a company counts, in bytes.
const TRANSACTION_BYTES: u64 = 64 << 10;

/// Hands operations to the writer's task.
#[derive(Clone)]
pub(super) struct Writer {
    operations: mpsc::Sender<WriteOperation>,
    /// Operations that have left the channel and wait for their turn.
    waiting: Arc<AtomicUsize>,
    /// What the operations of companies take of it bounds how many of them wait: a company waits at its own door.
    bytes: Arc<Share>,
    /// One permit for each completion that is not written yet. So the completions of a database that takes no writes fill
    /// neither the memory nor the channel, and callers who wait for an answer still get an error.
    completion_permits: Arc<Semaphore>,
    damage: Damage,
}

impl Writer {
    /// Starts the writer's task on a connection of its own. It ends when the last [`Writer`] is dropped and everything is
    /// written. `bytes` is [`Resource::WriterBytes`](crate::shares::Resource::WriterBytes).
    pub(super) async fn start(
        backend: &Backend,
        metrics: Arc<Metrics>,
        bytes: Arc<Share>,
        usage: Arc<EventUsage>,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), StoreError> {
        let (operations, receiver) = mpsc::channel(2 * QUEUE_CAPACITY);
        let task = WriterTask::new(backend, metrics, usage).await?;
        let completion_permits = Arc::new(Semaphore::new(QUEUE_CAPACITY));
        let (damage, waiting) = (backend.readers.damage().clone(), task.waiting());
        Ok((Self { operations, waiting, bytes, completion_permits, damage }, tokio::spawn(task.run(receiver))))
    }

    /// Returns how many operations wait.
    pub(super) fn queue_length(&self) -> usize {
        self.operations.max_capacity() - self.operations.capacity() + self.waiting.load(Ordering::Relaxed)
    }

    /// Hands in an event. The answer goes to [`Publish::done`].
    pub(super) async fn publish(&self, publish: Publish) {
        if let Err(malformed) = self.damage.check() {
            return (publish.done)(Err(malformed));
        }
        let part = match self.part(&publish.row.event.company, publish_bytes(&publish)).await {
            Ok(part) => part,
            Err(error) => return (publish.done)(Err(error)),
        };
        let operation = WriteOperation::Company(CompanyOperation { work: CompanyWork::Publish(publish), part });
        if let Err(mpsc::error::SendError(WriteOperation::Company(refused))) = self.operations.send(operation).await
            && let CompanyWork::Publish(publish) = refused.work
        {
            (publish.done)(Err(StoreError::Closed));
        }
    }

    /// Hands in a completion.
    pub(super) async fn complete(&self, completion: DeliveryUpdate) {
        // The semaphore is never closed.
        let Ok(permit) = self.completion_permits.clone().acquire_owned().await else {
            return;
        };
        // The writer outlives every caller; if it did not, the delivery would become due again.
        let _ = self.operations.send(WriteOperation::Complete(Box::new(completion), permit)).await;
    }

    /// Runs `work` for the engine in the next group, in a savepoint of its own. After the commit, `then` is called on the
    /// writer's task, whether or not the caller still waits; then the caller is answered.
    ///
    /// # Errors
    /// The error of `work`; [`StoreError::NotCommitted`], [`StoreError::Unanswered`] or [`StoreError::Full`] if the group was not
    /// committed; [`StoreError::Malformed`]; [`StoreError::Closed`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = answered(work, then);
        self.answer(WriteOperation::Transaction(work), answer).await
    }

    /// As [`Writer::run`], on behalf of a company, when it is its turn: after everything that was handed in for it before.
    ///
    /// # Errors
    /// As [`Writer::run`].
    pub(super) async fn run_for<T: Send + 'static>(
        &self,
        company: &str,
        work: impl for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, answer) = answered(work, then);
        let part = self.part(company, TRANSACTION_BYTES).await?;
        let work = CompanyWork::Transaction(company.to_owned(), work);
        self.answer(WriteOperation::Company(CompanyOperation { work, part }), answer).await
    }

    /// Waits until everything that was handed in before is written, for companies and for the engine.
    ///
    /// # Errors
    /// As [`Writer::run`].
    pub(super) async fn all_written(&self) -> Result<(), StoreError> {
        let (work, answer) = answered(|_: &mut DatabaseConnection| Box::pin(async { Ok(()) }), |()| ());
        self.answer(WriteOperation::Barrier(work), answer).await
    }

    /// Waits for a company's part of the memory for operations that wait.
    async fn part(&self, company: &str, bytes: u64) -> Result<Part, StoreError> {
        let part = self.bytes.take_patiently(company, self.bytes.obtainable(bytes)).await;
        part.map_err(|exceeded| StoreError::Limit(exceeded.into()))
    }

    async fn answer<T>(
        &self,
        operation: WriteOperation,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.damage.check()?;
        self.operations.send(operation).await.map_err(|_| StoreError::Closed)?;
        match answer.await {
            Ok(result) => result,
            // It did not run.
            Err(_) => Err(self.damage.check().err().unwrap_or(StoreError::NotCommitted)),
        }
    }
}

/// Returns how much an event takes of its company's turn and of its memory.
fn publish_bytes(Publish { row, .. }: &Publish) -> u64 {
    let headers: usize = row.event.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let rows = row.deliveries.len().max(1) as u64;
    ROW_BYTES * rows + (row.event.data.len() + headers) as u64
}

/// Returns the transaction of `work`, and where its result arrives.
fn answered<T: Send + 'static>(
    work: impl for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    then: impl FnOnce(&T) + Send + 'static,
) -> (TransactionWork, oneshot::Receiver<Result<T, StoreError>>) {
    let (sender, receiver) = oneshot::channel();
    let work: TransactionWork = Box::new(move |connection| {
        Box::pin(async move {
            match savepoint(connection, work).await {
                Ok(value) => Ok(Box::new(move |committed: Result<(), StoreError>| {
                    let _ = sender.send(committed.map(|()| {
                        then(&value);
                        value
                    }));
                }) as CommitCallback),
                Err(error) => Err(Box::new(move |_| drop(sender.send(Err(error)))) as CommitCallback),
            }
        })
    });
    (work, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn caller_learns_why_its_transaction_was_not_committed() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::open(&format!("sqlite://{}/x.db", folder.path().display())).await.unwrap();
        let mut connection = backend.connect().await.unwrap();
        for committed in [Ok(()), Err(StoreError::Unanswered)] {
            let is_committed = committed.is_ok();
            let (then, called) = oneshot::channel();
            let work = transaction(|_| Box::pin(async { Ok(7) }));
            let (work, answer) = answered(work, move |value: &i32| then.send(*value).unwrap_or_default());
            match work(&mut connection).await {
                Ok(callback) | Err(callback) => callback(committed),
            }
            assert_eq!(called.await.ok(), is_committed.then_some(7));
            let answer = answer.await.unwrap();
            assert!(matches!((is_committed, answer), (true, Ok(7)) | (false, Err(StoreError::Unanswered))));
        }
    }
}
