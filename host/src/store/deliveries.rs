//! The methods for deliveries: storing, claiming, completing, replaying, listing and removing them.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::db;
use super::delivery_rows::{DeliveryUpdate, NewDelivery, first_id};
use super::delivery_writes::{complete, insert};
use super::error::StoreError;
use super::handle::Store;
use super::multi_row::MultiRowStatement;
use super::writer::{Publish, transaction};

mod backlog;
mod cancel;
mod claim;
mod counts;
mod events;
mod log;
mod log_walk;
mod orphans;
mod past_events;
#[cfg(test)]
mod query_plans;
mod replay;
mod retry;

pub use backlog::BackloggedWebhook;
pub use cancel::Cancellation;
pub use claim::BacklogSelection;
pub use counts::{WaitingLimits, WaitingPage};
pub use events::{EventDetail, EventFilter, EventRecord};
pub use log::{DeliveryFilter, PageRequest};
pub use log_walk::LogPage;
pub use orphans::OrphanPage;
pub use past_events::PastEvents;
pub use replay::{Replay, ReplayKey, ReplayRecord, ReplayStep};
pub use retry::{DeliveryKey, RetryMode, RetryRequest};

/// Most deliveries that retention removes in one transaction.
const EXPIRE_STEP: i64 = 256;

static EXPIRE_ATTEMPTS: LazyLock<MultiRowStatement> =
    LazyLock::new(|| MultiRowStatement::new("DELETE FROM attempts WHERE delivery_id IN (VALUES", "?", ")"));

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
    pub async fn insert_completed(&self, row: NewDelivery, completion: DeliveryUpdate) -> Result<(), StoreError> {
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
        let sql = "SELECT company FROM deliveries WHERE company > $1 ORDER BY company LIMIT 1";
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
                let sql = format!(
                    "DELETE FROM deliveries WHERE (company, id) IN (SELECT company, id FROM deliveries \
                     WHERE company = $1 AND id < $2 ORDER BY id LIMIT $3 {}) \
                     RETURNING id, CAST(LENGTH(data) AS BIGINT) AS bytes",
                    connection.kind().row_lock()
                );
                let query = db::query(AssertSqlSafe(sql)).bind(company).bind(first_id(before)).bind(EXPIRE_STEP);
                let rows = query.fetch_all(&mut *connection).await?;
                let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
                let bytes = rows.iter().map(|row| row.try_get::<i64>("bytes")).sum::<Result<i64, _>>()?;
                for (sql, ids) in EXPIRE_ATTEMPTS.split(connection.kind(), &ids) {
                    let query = ids.iter().fold(db::query(sql), |query, id| query.bind(id.as_str()));
                    query.execute(&mut *connection).await?;
                }
                Ok((bytes, i64::try_from(ids.len()).is_ok_and(|count| count == EXPIRE_STEP)))
            })
        });
        let (_, more) = self.writer.run(work, move |(bytes, _)| usage.removed(&owner, *bytes)).await?;
        Ok(more)
    }
}
