//! Erasing what transient deliveries hold of the data of their events once they have ended.
//!
//! A delivery ends by an attempt, an acknowledgement, a cancellation or the removal of its webhook. None of these erases anything:
//! an index holds the rows that are to be erased, and only those.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::erase::{KEY, Key, bound, emptied_attempt_sql, empty_events};
use crate::domain::delivery::ERASED_ERROR;
use crate::store::db::{self, DatabaseConnection, DatabaseKind, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::multi_row::MultiRowStatement;
use crate::store::writer::transaction;

/// Most deliveries of one step.
const STEP: usize = 128;

/// Finds transient deliveries that have ended. A failed one may be retried.
pub(super) fn ended_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT company, id, event_id FROM event_deliveries {}WHERE transient = 1 AND erased_at IS NULL \
         AND status IN ('delivered', 'filtered', 'cancelled') ORDER BY company, id LIMIT {STEP}",
        kind.index_hint("event_deliveries_transient")
    )
}

/// Marks those that are not waiting again: a retry or a replay may have come first. Binds: now, the keys.
pub(super) static MARK_DELIVERIES: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "UPDATE event_deliveries SET erased_at = ? FROM (VALUES",
        KEY,
        ") AS v WHERE company = v.column1 AND id = v.column2 AND status IN ('delivered', 'filtered', 'cancelled') \
         AND erased_at IS NULL RETURNING company, id, event_id",
    )
});

/// Binds: the error, the ids.
pub(super) static EMPTY_ATTEMPTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        &format!("UPDATE attempts SET {} FROM (VALUES", emptied_attempt_sql("?")),
        "CAST(? AS TEXT)",
        ") AS v WHERE delivery_id = v.column1",
    )
});

/// Marks the events of which no delivery holds the data any more, before the next statement removes it: its length is known only
/// before. Binds: now, the keys.
pub(super) static MARK_EVENTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "UPDATE events SET erased_at = ? FROM (VALUES",
        KEY,
        ") AS v WHERE company = v.column1 AND id = v.column2 AND erased_at IS NULL AND NOT EXISTS (SELECT 1 FROM \
         event_deliveries d WHERE d.company = events.company AND d.id >= events.place AND d.id < events.place || '~' \
         AND d.erased_at IS NULL) RETURNING company, id, CAST(LENGTH(data) AS BIGINT) AS bytes",
    )
});

/// A transient delivery that has ended.
struct EndedDelivery {
    company: String,
    id: String,
    event_id: String,
}

impl EndedDelivery {
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error> {
        Ok(Self { company: row.try_get("company")?, id: row.try_get("id")?, event_id: row.try_get("event_id")? })
    }
}

impl Store {
    /// Erases what some transient deliveries hold that have ended, at `now`, milliseconds since 1970, and the data of the events of
    /// which it was the last. Returns whether there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn erase_transient(&self, now: i64) -> Result<bool, StoreError> {
        let sql = ended_sql(self.readers.kind());
        let rows = db::query(AssertSqlSafe(sql)).fetch_all(&self.readers.background).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        let ended = rows.iter().map(EndedDelivery::from_row).collect::<Result<Vec<_>, _>>()?;
        let more = ended.len() == STEP;
        let work = transaction(move |connection| Box::pin(async move { Ok(erase(connection, ended, now).await?) }));
        let usage = self.event_usage.clone();
        let count = move |removed: &BTreeMap<String, i64>| {
            removed.iter().for_each(|(company, bytes)| usage.removed(company, *bytes));
        };
        self.writer.run(work, count).await?;
        Ok(more)
    }
}

/// Returns the bytes of data that were removed, by company.
async fn erase(
    connection: &mut DatabaseConnection,
    ended: Vec<EndedDelivery>,
    now: i64,
) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    // A replay of what is missing reads events and then makes deliveries of them, under the same lock.
    connection.lock_exclusively().await?;
    let keys: Vec<Key> = ended.into_iter().map(|delivery| (delivery.company, delivery.id)).collect();
    let mut marked = Vec::with_capacity(keys.len());
    for row in &returned(connection, &MARK_DELIVERIES, &keys, now).await? {
        marked.push(EndedDelivery::from_row(row)?);
    }
    for (sql, marked) in EMPTY_ATTEMPTS.split(connection.kind(), &marked) {
        let query = marked.iter().fold(db::query(sql).bind(ERASED_ERROR), |query, one| query.bind(one.id.as_str()));
        query.execute(&mut *connection).await?;
    }
    let mut events: Vec<Key> = marked.into_iter().map(|delivery| (delivery.company, delivery.event_id)).collect();
    events.sort_unstable();
    events.dedup();
    let (mut erased, mut bytes) = (Vec::new(), BTreeMap::new());
    for row in &returned(connection, &MARK_EVENTS, &events, now).await? {
        let company: String = row.try_get("company")?;
        *bytes.entry(company.clone()).or_default() += row.try_get::<i64>("bytes")?;
        erased.push((company, row.try_get("id")?));
    }
    empty_events(connection, &erased).await?;
    Ok(bytes)
}

async fn returned(
    connection: &mut DatabaseConnection,
    statement: &MultiRowStatement,
    keys: &[Key],
    now: i64,
) -> Result<Vec<DatabaseRow>, sqlx::Error> {
    let mut rows = Vec::with_capacity(keys.len());
    for (sql, keys) in statement.split(connection.kind(), keys) {
        rows.extend(bound(db::query(sql).bind(now), keys).fetch_all(&mut *connection).await?);
    }
    Ok(rows)
}
