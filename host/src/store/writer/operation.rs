//! The operations that the writer accepts.

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use crate::store::backend::is_disk_full;
use crate::store::db::{self, DatabaseConnection};
use crate::store::delivery_rows::{DeliveryUpdate, NewDelivery, Published};
use crate::store::error::StoreError;

/// Answers one caller; called after the commit.
pub(super) type CommitCallback = Box<dyn FnOnce() + Send>;
/// Changes the database within the group's transaction. `Ok`: the changes stand; `Err`: they were rolled back. Either way
/// the callback answers the caller.
pub(super) type TransactionWork =
    Box<dyn for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<CommitCallback, CommitCallback>> + Send>;

/// An event to store, and the callback for its result.
pub struct Publish {
    /// The row.
    pub row: NewDelivery,
    /// Called right after the commit, or with the reason if there was none. It runs on the writer's task, so it must be
    /// quick.
    pub done: Box<dyn FnOnce(Result<Published, StoreError>) + Send>,
}

/// One operation for the writer.
pub(super) enum WriteOperation {
    Publish(Publish),
    /// A completion, with its permit for the queue.
    Complete(Box<DeliveryUpdate>, OwnedSemaphorePermit),
    Transaction(TransactionWork),
}

/// Gives a closure the type that [`super::Writer::run`] takes; inference alone does not find its lifetimes.
pub(in crate::store) fn transaction<T, F>(work: F) -> F
where
    F: for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    work
}

/// Runs `work` in a savepoint, and rolls that back if it fails.
pub(super) async fn savepoint<T>(
    connection: &mut DatabaseConnection,
    work: impl for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    db::query("SAVEPOINT work").execute(&mut *connection).await?;
    let result = work(connection).await;
    if result.is_err() {
        db::query("ROLLBACK TO SAVEPOINT work").execute(&mut *connection).await?;
    }
    db::query("RELEASE SAVEPOINT work").execute(connection).await?;
    result.map_err(|error| match error {
        StoreError::Database(error) if is_disk_full(&error) => StoreError::Full,
        other => other,
    })
}
