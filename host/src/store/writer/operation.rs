//! The operations that the writer accepts.

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use crate::shares::Part;
use crate::store::backend::is_disk_full;
use crate::store::db::{self, DatabaseConnection};
use crate::store::delivery_rows::{DeliveryUpdate, NewEventRow, Published};
use crate::store::error::StoreError;

/// Answers one caller; called after the commit, or with the reason if there was none.
pub(super) type CommitCallback = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Changes the database within the group's transaction. `Ok`: the changes stand; `Err`: they were rolled back. Either way
/// the callback answers the caller.
pub(super) type TransactionWork =
    Box<dyn for<'c> FnOnce(&'c mut DatabaseConnection) -> BoxFuture<'c, Result<CommitCallback, CommitCallback>> + Send>;

/// An event to store, and the callback for its result.
pub struct Publish {
    /// The row.
    pub row: NewEventRow,
    /// Called right after the commit, or with the reason if there was none. It runs on the writer's task, so it must be
    /// quick.
    pub done: Box<dyn FnOnce(Result<Published, StoreError>) + Send>,
}

/// One operation for the writer.
pub(super) enum WriteOperation {
    Company(CompanyOperation),
    /// A completion, with its permit for the queue.
    Complete(Box<DeliveryUpdate>, OwnedSemaphorePermit),
    /// A transaction of the engine.
    Transaction(TransactionWork),
    /// A transaction of the engine that follows everything handed in before it.
    Barrier(TransactionWork),
}

/// What a company has handed in.
pub(super) struct CompanyOperation {
    pub(super) work: CompanyWork,
    /// Its part of [`Resource::WriterBytes`](crate::shares::Resource::WriterBytes), until it is written.
    pub(super) part: Part,
}

pub(super) enum CompanyWork {
    Publish(Publish),
    Transaction(String, TransactionWork),
}

impl CompanyWork {
    pub(super) fn company(&self) -> &str {
        match self {
            Self::Publish(publish) => &publish.row.event.company,
            Self::Transaction(company, _) => company,
        }
    }
}

impl CompanyOperation {
    /// Returns how much it takes of its company's turn.
    pub(super) fn bytes(&self) -> u64 {
        self.part.amount()
    }
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
