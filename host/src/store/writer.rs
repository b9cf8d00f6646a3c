//! The one writer of this process: every change to the database passes through it and is committed in groups.
//!
//! A group is everything that waits when the writer is free. It costs one transaction and one fsync; then all callers are
//! answered. Nobody waits for the completions of attempts, so they linger up to 20 ms for others to share their commit. A
//! crash before that commit costs a second POST, never a loss.

mod commit;
mod group;
mod operation;
mod task;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::backend::Backend;
use super::damage::Damage;
use super::db::DatabaseConnection;
use super::delivery_rows::DeliveryUpdate;
use super::error::StoreError;
use crate::metrics::Metrics;
use operation::{CommitCallback, TransactionWork, WriteOperation, savepoint};
use task::WriterTask;

pub use operation::Publish;
pub(super) use operation::transaction;

/// Most completions that wait to be written, and most other operations; a further caller waits until one of them is written.
const QUEUE_CAPACITY: usize = 4096;

/// Hands operations to the writer's task.
#[derive(Clone)]
pub(super) struct Writer {
    operations: mpsc::Sender<WriteOperation>,
    /// One permit for each completion that is not written yet. So the completions of a database that takes no writes fill
    /// neither the memory nor the channel, and callers who wait for an answer still get an error.
    completion_permits: Arc<Semaphore>,
    damage: Damage,
}

impl Writer {
    /// Starts the writer's task on a connection of its own. It ends when the last [`Writer`] is dropped and everything is
    /// written.
    pub(super) async fn start(
        backend: &Backend,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), StoreError> {
        let (operations, receiver) = mpsc::channel(2 * QUEUE_CAPACITY);
        let task = WriterTask::new(backend, metrics).await?;
        let completion_permits = Arc::new(Semaphore::new(QUEUE_CAPACITY));
        let damage = backend.readers.damage().clone();
        Ok((Self { operations, completion_permits, damage }, tokio::spawn(task.run(receiver))))
    }

    /// Returns how many operations wait.
    pub(super) fn queue_length(&self) -> usize {
        self.operations.max_capacity() - self.operations.capacity()
    }

    /// Hands in an event. The answer goes to [`Publish::done`].
    pub(super) async fn publish(&self, publish: Publish) {
        if let Err(malformed) = self.damage.check() {
            return (publish.done)(Err(malformed));
        }
        let operation = WriteOperation::Publish(publish);
        if let Err(mpsc::error::SendError(WriteOperation::Publish(publish))) = self.operations.send(operation).await {
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

    /// Runs `work` in the next group, in a savepoint of its own. After the commit, `then` is called on the writer's task,
    /// whether or not the caller still waits; then the caller is answered.
    ///
    /// # Errors
    /// The error of `work`; [`StoreError::NotCommitted`] if the group was not committed; [`StoreError::Malformed`];
    /// [`StoreError::Closed`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        self.damage.check()?;
        let (sender, receiver) = oneshot::channel();
        let work: TransactionWork = Box::new(move |connection| {
            Box::pin(async move {
                match savepoint(connection, work).await {
                    Ok(value) => Ok(Box::new(move || {
                        then(&value);
                        let _ = sender.send(Ok(value));
                    }) as CommitCallback),
                    Err(error) => Err(Box::new(move || drop(sender.send(Err(error)))) as CommitCallback),
                }
            })
        });
        self.operations.send(WriteOperation::Transaction(work)).await.map_err(|_| StoreError::Closed)?;
        match receiver.await {
            Ok(result) => result,
            Err(_) => Err(self.damage.check().err().unwrap_or(StoreError::NotCommitted)),
        }
    }
}
