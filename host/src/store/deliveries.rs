//! The methods for deliveries: storing, claiming, completing, replaying, listing and removing them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseConnection, DatabaseKind};
use super::delivery_rows::{DeliveryUpdate, NewEventRow, first_id};
use super::delivery_writes::{complete, insert};
use super::error::StoreError;
use super::handle::Store;
use super::multi_row::MultiRowStatement;
use super::pull;
use super::writer::{Publish, transaction};
use crate::domain::delivery::Status;

mod backlog;
mod cancel;
mod claim;
mod company_removals;
mod counts;
mod earlier;
mod erasable;
mod erase;
mod erasures;
mod events;
mod events_of;
mod log;
mod log_walk;
mod missing;
mod newest_first;
mod orphans;
mod past_events;
mod present_webhook;
#[cfg(test)]
pub(super) mod query_plans;
mod removal_steps;
mod replay;
mod retry;
mod selection_sql;
mod transient;

pub use backlog::BackloggedWebhook;
pub use cancel::Cancellation;
pub use claim::BacklogSelection;
pub use company_removals::{CompanyRemoval, RemovalRecord};
pub use counts::{WaitingLimits, WaitingPage};
pub use erasable::{CountedEvents, ErasureSelection};
pub use erase::{ErasedAmount, ErasedEvent};
pub use erasures::{Erasure, ErasureRecord, ErasureStep, FinishedErasure};
pub use events::{EventDetail, EventFilter, EventRecord};
pub use log::{DeliveryFilter, PageRequest};
pub use log_walk::LogPage;
pub use orphans::OrphanPage;
pub use past_events::PastEvents;
pub use removal_steps::{FinishedRemoval, RemovalStep};
pub use replay::{Replay, ReplayKey, ReplayRecord, ReplayStep};
pub use retry::{DeliveryKey, RetryMode, RetryRequest};

/// Most deliveries that retention removes in one transaction.
const EXPIRE_STEP: i64 = 256;

static REMOVE_ATTEMPTS: LazyLock<MultiRowStatement> =
    LazyLock::new(|| MultiRowStatement::new("DELETE FROM attempts WHERE delivery_id IN (VALUES", "?", ")"));

/// The events of deliveries that were removed, unless others of theirs are left.
static EXPIRE_EVENTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "DELETE FROM events WHERE (company, id) IN (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT)",
        ") AND NOT EXISTS (SELECT 1 FROM event_deliveries d WHERE d.company = events.company AND d.id >= events.place \
         AND d.id < events.place || '~') RETURNING CAST(LENGTH(data) AS BIGINT)",
    )
});

impl Store {
    /// Hands an event to the writer. The answer goes to [`Publish::done`].
    pub async fn publish(&self, publish: Publish) {
        self.writer.publish(publish).await;
    }

    /// Hands a completion to the writer, which commits it soon, together with others. Waits only while the writer's queue is
    /// full.
    pub async fn finish(&self, completion: DeliveryUpdate) {
        self.writer.complete(completion).await;
    }

    /// Stores an event whose delivery has already ended.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert_completed(&self, row: NewEventRow, completion: DeliveryUpdate) -> Result<(), StoreError> {
        let company = row.event.company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                insert(connection, &[row]).await?;
                Ok(complete(connection, &[completion]).await?)
            })
        });
        self.writer.run_for(&company, work, |()| ()).await
    }

    /// Returns the next company after `company`, in byte order of their names, that has any events.
    ///
    /// # Errors
    /// The database's.
    pub async fn company_after(&self, company: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT company FROM events WHERE company > $1 ORDER BY company LIMIT 1";
        Ok(db::query(sql).bind(company).value_if_any(&self.readers.background).await?)
    }

    /// Removes events of a company that were accepted before `before`, in milliseconds since 1970, with their deliveries and
    /// attempts. Removes a few in one transaction, so that other operations do not wait long. Returns whether there may be
    /// more.
    ///
    /// # Errors
    /// The database's.
    pub async fn expire(&self, company: String, before: i64) -> Result<bool, StoreError> {
        let (usage, owner) = (self.event_usage.clone(), company.clone());
        let work = transaction(move |connection| {
            Box::pin(async move {
                // Two nodes that remove the last deliveries of an event at the same time would each leave it to the other.
                connection.lock_exclusively().await?;
                let end = first_id(before);
                let deliveries = remove_deliveries(connection, &company, &end, &EXPIRE_EVENTS).await?;
                let unmatched = remove_unmatched(connection, &company, &end).await?;
                let more = [deliveries.count, unmatched.count].contains(&EXPIRE_STEP);
                Ok((deliveries.bytes + unmatched.bytes, more))
            })
        });
        let (_, more) = self.writer.run(work, move |(bytes, _)| usage.removed(&owner, *bytes)).await?;
        Ok(more)
    }
}

/// Rows that were removed.
#[derive(Debug, Default)]
pub(super) struct RemovedRows {
    /// Rows of the table from which they were taken.
    pub(super) count: i64,
    /// Events among them.
    pub(super) events: i64,
    /// Bytes of the data of these.
    pub(super) bytes: i64,
    /// Deliveries among them that waited.
    pub(super) waiting: i64,
}

/// Removes some deliveries of a company before `end`, with their attempts, and those of their events that `events` names.
pub(super) async fn remove_deliveries(
    connection: &mut DatabaseConnection,
    company: &str,
    end: &str,
    events: &MultiRowStatement,
) -> Result<RemovedRows, sqlx::Error> {
    let sql = remove_deliveries_sql(connection.kind());
    let query = db::query(AssertSqlSafe(sql)).bind(company).bind(end).bind(EXPIRE_STEP);
    let rows = query.fetch_all(&mut *connection).await?;
    let column = |name: &'static str| rows.iter().map(move |row| row.try_get::<String>(name));
    let ids = column("id").collect::<Result<Vec<_>, _>>()?;
    remove_attempts(connection, &ids).await?;
    pull::remove_entries(connection, company, &ids).await?;
    let with_event: BTreeSet<_> = column("event_id").collect::<Result<_, _>>()?;
    let with_event: Vec<_> = with_event.into_iter().collect();
    let mut sizes = Vec::new();
    for (sql, with_event) in events.split(connection.kind(), &with_event) {
        let query = with_event.iter().fold(db::query(sql), |query, id| query.bind(company).bind(id.as_str()));
        sizes.extend(query.values::<i64>(&mut *connection).await?);
    }
    let waiting = column("status").filter(|status| status.as_deref().is_ok_and(|name| name == Status::Pending.name()));
    Ok(RemovedRows {
        count: number_of(&ids),
        waiting: number_of(&waiting.collect::<Vec<_>>()),
        ..removed_events(&sizes)
    })
}

/// Takes out the oldest deliveries of a company. Binds: the company, the id after the last, the number of rows.
fn remove_deliveries_sql(kind: DatabaseKind) -> String {
    format!(
        "DELETE FROM event_deliveries WHERE (company, id) IN (SELECT company, id FROM event_deliveries \
         WHERE company = $1 AND id < $2 ORDER BY id LIMIT $3 {}) RETURNING id, event_id, status",
        kind.row_lock()
    )
}

/// Removes the attempts of these deliveries.
pub(super) async fn remove_attempts(
    connection: &mut DatabaseConnection,
    deliveries: &[String],
) -> Result<(), sqlx::Error> {
    for (sql, ids) in REMOVE_ATTEMPTS.split(connection.kind(), deliveries) {
        let query = ids.iter().fold(db::query(sql), |query, id| query.bind(id.as_str()));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes some events of a company before `end` that have no delivery.
pub(super) async fn remove_unmatched(
    connection: &mut DatabaseConnection,
    company: &str,
    end: &str,
) -> Result<RemovedRows, sqlx::Error> {
    let sql = remove_unmatched_sql(connection.kind());
    let query = db::query(AssertSqlSafe(sql)).bind(company).bind(end).bind(EXPIRE_STEP);
    let sizes = query.values::<i64>(connection).await?;
    Ok(RemovedRows { count: number_of(&sizes), ..removed_events(&sizes) })
}

/// Takes out the oldest events of a company that have no delivery. Binds: the company, the place after the last, the number of
/// rows.
fn remove_unmatched_sql(kind: DatabaseKind) -> String {
    format!(
        "DELETE FROM events WHERE (company, id) IN (SELECT company, id FROM events {}WHERE company = $1 AND place < $2 \
         AND matched = 0 ORDER BY place LIMIT $3 {}) RETURNING CAST(LENGTH(data) AS BIGINT)",
        kind.index_hint("events_unmatched"),
        kind.row_lock()
    )
}

/// Counts removed events of these sizes.
pub(super) fn removed_events(sizes: &[i64]) -> RemovedRows {
    RemovedRows { events: number_of(sizes), bytes: sizes.iter().sum(), ..RemovedRows::default() }
}

fn number_of<T>(all: &[T]) -> i64 {
    i64::try_from(all.len()).unwrap_or(i64::MAX)
}
