//! The statements with which the writer stores deliveries, completes them, and releases the leases of nodes that ended.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseConnection};
use super::delivery_rows::{DeliveryUpdate, NewDelivery, Published};
use super::multi_row::MultiRowStatement;
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::same_json;

static INSERT: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO deliveries (company, id, event_id, event_type, occurred_at, headers, data, webhook_id, status, \
         attempt_count, attempt_base, due, lease, parked, created_at, finished_at) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, NULL",
        "ON CONFLICT (company, event_id) DO NOTHING",
    )
});

// PostgreSQL needs the casts to know the types of bare parameters in VALUES; SQLite accepts them.
static COMPLETE: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "UPDATE deliveries SET status = v.column3, attempt_count = v.column4, due = v.column5, \
         parked = v.column6, finished_at = v.column7, attempt_base = v.column9, lease = NULL FROM (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), \
         CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS BIGINT)",
        ") AS v WHERE deliveries.company = v.column1 AND deliveries.id = v.column2 AND deliveries.status = 'pending' \
         AND deliveries.lease IS NOT DISTINCT FROM v.column8",
    )
});

static INSERT_ATTEMPTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status_code, error, response_body, \
         request_headers, plugin, url, response_headers) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
        "ON CONFLICT (delivery_id, number) DO NOTHING",
    )
});

/// Status of a row that is only an event: the company has no webhook for its type, so there is nothing to deliver, and the
/// log does not show it.
const UNROUTED: &str = "unrouted";

/// Stores the rows. Returns one [`Published`] for each, in order.
pub(super) async fn insert(
    connection: &mut DatabaseConnection,
    rows: &[NewDelivery],
) -> Result<Vec<Published>, sqlx::Error> {
    let mut stored = 0;
    for (sql, rows) in INSERT.split(connection.kind(), rows) {
        let mut query = db::query(sql);
        for row in rows {
            let event = &row.event;
            let status = if row.webhook.is_some() { Status::Pending.name() } else { UNROUTED };
            let parked = i64::from(row.webhook.is_some() && row.lease.is_none());
            query = query
                .bind(event.company.as_str())
                .bind(row.id.as_str())
                .bind(event.id.as_str())
                .bind(event.event_type.as_str())
                .bind(event.occurred_at)
                .bind(headers_json(&event.headers))
                .bind(event.data.to_vec())
                .bind(row.webhook.as_deref())
                .bind(status)
                .bind(row.lease.as_ref().map(|lease| lease.until_ms))
                .bind(row.lease.as_ref().map(|lease| &*lease.node))
                .bind(parked)
                .bind(row.created_at);
        }
        stored += query.execute(&mut *connection).await?;
    }
    if stored == rows.len() as u64 {
        return Ok(vec![Published::Stored; rows.len()]);
    }
    let mut published = Vec::with_capacity(rows.len());
    for row in rows {
        published.push(stored_before(connection, row).await?);
    }
    Ok(published)
}

/// Returns whether the row was stored just now, or an earlier one with the same event id.
async fn stored_before(connection: &mut DatabaseConnection, row: &NewDelivery) -> Result<Published, sqlx::Error> {
    let sql = "SELECT id, event_type, data, CAST(CASE WHEN webhook_id IS NULL THEN 0 ELSE 1 END AS BIGINT) AS routed \
               FROM deliveries WHERE company = $1 AND event_id = $2";
    let query = db::query(sql).bind(row.event.company.as_str()).bind(row.event.id.as_str());
    let found = query.fetch_one(connection).await?;
    let id: String = found.try_get("id")?;
    if id == row.id {
        return Ok(Published::Stored);
    }
    let (event_type, data): (String, Vec<u8>) = (found.try_get("event_type")?, found.try_get("data")?);
    if event_type != row.event.event_type || !same_json(&data, &row.event.data) {
        return Ok(Published::IdTaken);
    }
    let routed: i64 = found.try_get("routed")?;
    Ok(Published::Duplicate((routed == 1).then_some(id)))
}

/// Writes the results of deliveries and their attempts. A delivery that another node has claimed meanwhile stays unchanged.
pub(super) async fn complete(connection: &mut DatabaseConnection, rows: &[DeliveryUpdate]) -> Result<(), sqlx::Error> {
    let mut attempts = Vec::with_capacity(rows.len());
    for (sql, rows) in COMPLETE.split(connection.kind(), rows) {
        let mut query = db::query(sql);
        for row in rows {
            let parked = row.status == Status::Pending && row.due.is_none();
            query = query
                .bind(row.company.as_str())
                .bind(row.id.as_str())
                .bind(row.status.name())
                .bind(i64::from(row.attempt_count))
                .bind(row.due)
                .bind(i64::from(parked))
                .bind(row.finished_at)
                .bind(row.lease.as_deref())
                .bind(i64::from(row.attempt_base));
        }
        let all = query.execute(&mut *connection).await? == rows.len() as u64;
        for row in rows {
            if let Some(attempt) = row.attempt.as_ref()
                && (all || is_completed(connection, row).await?)
            {
                attempts.push(DeliveryAttempt { delivery: &row.id, attempt });
            }
        }
    }
    insert_attempts(connection, &attempts).await
}

struct DeliveryAttempt<'c> {
    delivery: &'c str,
    attempt: &'c Attempt,
}

async fn insert_attempts(
    connection: &mut DatabaseConnection,
    attempts: &[DeliveryAttempt<'_>],
) -> Result<(), sqlx::Error> {
    for (sql, rows) in INSERT_ATTEMPTS.split(connection.kind(), attempts) {
        let mut query = db::query(sql);
        for DeliveryAttempt { delivery, attempt } in rows {
            query = query
                .bind(*delivery)
                .bind(i64::from(attempt.number))
                .bind(attempt.started_at)
                .bind(attempt.duration_ms)
                .bind(attempt.status_code.map(i64::from))
                .bind(attempt.error.as_deref())
                .bind(attempt.response_body.as_deref())
                .bind(attempt.request_headers.as_ref().map(|raw| raw.get()))
                .bind(attempt.plugin.as_ref().map(|raw| raw.get()))
                .bind(attempt.url.as_deref())
                .bind(attempt.response_headers.as_ref().map(|raw| raw.get()));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns whether the row is in the state of this completion. Another node may have brought it there: then the attempt of
/// this number is that node's, and stays.
async fn is_completed(connection: &mut DatabaseConnection, row: &DeliveryUpdate) -> Result<bool, sqlx::Error> {
    let sql = "SELECT 1 FROM deliveries WHERE company = $1 AND id = $2 AND status = $3 AND attempt_count = $4 \
               AND lease IS NULL";
    let query = db::query(sql).bind(row.company.as_str()).bind(row.id.as_str()).bind(row.status.name());
    Ok(query.bind(i64::from(row.attempt_count)).fetch_optional(connection).await?.is_some())
}

fn headers_json(headers: &[(String, String)]) -> String {
    if headers.is_empty() { "[]".into() } else { serde_json::to_string(headers).unwrap_or_else(|_| "[]".into()) }
}

/// The instants of a release of leases, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct LeaseHorizon {
    /// When the released deliveries are due.
    pub now_ms: i64,
    /// The last instant at which a lease of the nodes that ended can end.
    pub latest_end_ms: i64,
}

/// Makes the deliveries due whose leases belong to nodes that no longer exist. Returns how many there were.
pub(super) async fn release_leases(
    connection: &mut DatabaseConnection,
    horizon: LeaseHorizon,
) -> Result<u64, sqlx::Error> {
    let released = |condition: &str| {
        format!(
            "(company, id) IN (SELECT company, id FROM deliveries WHERE due <= $1 AND lease IS NOT NULL \
             AND lease NOT IN (SELECT id FROM nodes) {condition} {})",
            connection.kind().row_lock()
        )
    };
    // A delivery of an ordered webhook must not overtake an earlier one that waits for its retry.
    let ordered = released("AND webhook_id IN (SELECT id FROM webhooks WHERE ordered = 1)");
    let ordered = format!("UPDATE deliveries SET due = NULL, lease = NULL, parked = 1 WHERE {ordered}");
    let others = format!("UPDATE deliveries SET due = $2, lease = NULL WHERE {}", released(""));
    let query = db::query(AssertSqlSafe(ordered)).bind(horizon.latest_end_ms);
    let spilled = query.execute(&mut *connection).await?;
    let query = db::query(AssertSqlSafe(others)).bind(horizon.latest_end_ms).bind(horizon.now_ms);
    Ok(spilled + query.execute(connection).await?)
}
