//! Erasing the data of events, and what the attempts of their deliveries recorded of them.
//!
//! An erased event has no delivery that waits: the erasure ends them, also those that a node has in memory, and nothing makes one
//! wait again. So the statements of the hot path need not know of it; an attempt that was in flight finds its delivery ended
//! (`store/delivery_writes.rs`).

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use crate::domain::delivery::{ERASED_ERROR, Status};
use crate::domain::id::deliveries_end;
use crate::store::cancel_selection::CancelSelection;
use crate::store::changes::{Change, notify};
use crate::store::db::{self, DatabaseConnection};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::multi_row::MultiRowStatement;
use crate::store::writer::transaction;

/// The key of a row: the company and an id.
pub(super) type Key = (String, String);

/// A [`Key`] among the rows of a statement.
pub(super) const KEY: &str = "CAST(? AS TEXT), CAST(? AS TEXT)";

/// An event whose data is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedEvent {
    /// When it was: milliseconds since 1970.
    pub erased_at: i64,
    /// What this call has erased; `None`: it was erased before.
    pub erased: Option<ErasedAmount>,
}

/// What an erasure has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedAmount {
    /// Bytes of data.
    pub bytes: i64,
    /// Deliveries that waited, and are cancelled now.
    pub cancelled: u64,
}

/// Marks the event, whose data the next statement removes: its length is known only before.
const MARK: &str = "UPDATE events SET erased_at = $1 WHERE company = $2 AND id = $3 AND erased_at IS NULL \
    RETURNING place, CAST(LENGTH(data) AS BIGINT) AS bytes";

/// Binds: no data, the keys.
pub(super) static EMPTY_EVENTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "UPDATE events SET headers = '[]', data = ? FROM (VALUES",
        KEY,
        ") AS v WHERE company = v.column1 AND id = v.column2",
    )
});

/// Ends the deliveries of an event. One statement, which looks at a row again that another node is changing meanwhile: a replay may
/// be about to make an ended one wait. Returns 1 for each that it has ended.
const END: &str = "UPDATE event_deliveries SET erased_at = $1, due = NULL, lease = NULL, parked = 0, \
    finished_at = CASE WHEN status = 'pending' THEN $1 ELSE finished_at END, \
    status = CASE WHEN status = 'pending' THEN 'cancelled' ELSE status END \
    WHERE company = $2 AND id >= $3 AND id < $4 \
    RETURNING CAST(CASE WHEN status = 'cancelled' AND finished_at = $1 THEN 1 ELSE 0 END AS BIGINT)";

/// Returns the part of a statement that removes from an attempt what may quote the data. Binds: its error, if it has one.
pub(super) fn emptied_attempt_sql(error: &str) -> String {
    format!(
        "error = CASE WHEN error IS NULL THEN NULL ELSE {error} END, response_body = NULL, request_headers = NULL, \
         response_headers = NULL, plugin = NULL"
    )
}

impl Store {
    /// Erases the data of an event, its headers, and what the attempts of its deliveries recorded, at `now`, milliseconds since
    /// 1970; ends those of its deliveries that wait. `None`: the company has no such event.
    ///
    /// # Errors
    /// The database's.
    pub async fn erase_event(&self, company: &str, event: String, now: i64) -> Result<Option<ErasedEvent>, StoreError> {
        let (owner, usage, metrics) = (company.to_owned(), self.event_usage.clone(), self.metrics.clone());
        let removed_from = owner.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let found = erase(connection, &owner, &event, now).await?;
                Ok(found.map(|(erased_at, now)| ErasedEvent { erased_at, erased: now.map(|erased| erased.amount) }))
            })
        });
        let count = move |found: &Option<ErasedEvent>| {
            if let Some(ErasedEvent { erased: Some(amount), .. }) = found {
                usage.removed(&removed_from, amount.bytes);
                metrics.deliveries_ended(Status::Cancelled, amount.cancelled);
            }
        };
        self.writer.run_for(company, work, count).await
    }
}

/// What was erased just now.
pub(super) struct ErasedNow {
    pub(super) amount: ErasedAmount,
    /// Those of the event, which nodes may have in memory.
    pub(super) deliveries: CancelSelection,
}

/// Removes the data and headers of these events, which are marked as erased.
pub(super) async fn empty_events(connection: &mut DatabaseConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    for (sql, keys) in EMPTY_EVENTS.split(connection.kind(), keys) {
        bound(db::query(sql).bind(Vec::<u8>::new()), keys).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Binds the keys of rows, each as [`KEY`].
pub(super) fn bound<'q>(query: db::DatabaseQuery<'q>, keys: &'q [Key]) -> db::DatabaseQuery<'q> {
    keys.iter().fold(query, |query, (company, id)| query.bind(company.as_str()).bind(id.as_str()))
}

/// Erases the data of an event. Returns when it was erased, and what if that is now; `None`: there is no such event.
pub(super) async fn erase(
    connection: &mut DatabaseConnection,
    company: &str,
    event: &str,
    now: i64,
) -> Result<Option<(i64, Option<ErasedNow>)>, sqlx::Error> {
    // A replay of what is missing reads events and then makes deliveries of them, under the same lock.
    connection.lock_exclusively().await?;
    let query = db::query(MARK).bind(now).bind(company).bind(event);
    let Some(row) = query.fetch_optional(&mut *connection).await? else {
        let query = db::query("SELECT erased_at FROM events WHERE company = $1 AND id = $2").bind(company).bind(event);
        let before: Option<Option<i64>> = query.value_if_any(connection).await?;
        return Ok(before.flatten().map(|erased_at| (erased_at, None)));
    };
    let (place, bytes): (String, i64) = (row.try_get("place")?, row.try_get("bytes")?);
    empty_events(connection, &[(company.to_owned(), event.to_owned())]).await?;
    let end = deliveries_end(&place);
    let query = db::query(END).bind(now).bind(company).bind(place.as_str()).bind(end.as_str());
    let ended: i64 = query.values::<i64>(&mut *connection).await?.iter().sum();
    let sql = format!("UPDATE attempts SET {} WHERE delivery_id >= $2 AND delivery_id < $3", emptied_attempt_sql("$1"));
    let query = db::query(AssertSqlSafe(sql)).bind(ERASED_ERROR).bind(place.as_str()).bind(end.as_str());
    query.execute(&mut *connection).await?;
    let deliveries = CancelSelection::of_event(company, &place);
    notify(connection, &Change::Cancelled(deliveries.clone())).await?;
    let amount = ErasedAmount { bytes, cancelled: u64::try_from(ended).unwrap_or_default() };
    Ok(Some((now, Some(ErasedNow { amount, deliveries }))))
}
