//! Events and their deliveries: storing, claiming, finishing.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::db::{self, Connection, Row};
use super::multi::Multi;
use super::writer::{Publish, work};
use super::{Store, StoreError};
use crate::domain::delivery::{Attempt, Status};
use crate::domain::event::Event;

mod again;
mod counts;
mod log;
#[cfg(test)]
mod plans;
mod recorded;
mod waiting;

pub use again::{Replay, ReplayStep, Urge, Urged};
pub use log::{Filter, Page};
pub use recorded::Recorded;
pub(super) use waiting::release;
pub use waiting::{Parked, WaitingLane};

/// An event to be stored, with the delivery it makes.
#[derive(Clone)]
pub struct NewDelivery {
    /// The delivery's id.
    pub id: String,
    /// The event.
    pub event: Arc<Event>,
    /// The webhook it is for; `None` where nobody subscribes.
    pub webhook: Option<String>,
    /// Until when the storing process may keep it in memory: milliseconds since 1970, and that process's name. `None`
    /// parks it.
    pub lease: Option<(i64, Arc<str>)>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// What became of an event handed in for storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is stored.
    Stored,
    /// Its id was used before in its company; this was the delivery then.
    Before(Option<String>),
}

/// What became of a delivery that was taken.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The company.
    pub company: String,
    /// The delivery.
    pub id: String,
    /// The lease under which it was taken. Where it has another by now, or none, nothing of it is changed.
    pub lease: Option<Arc<str>>,
    /// Its status from now on.
    pub status: Status,
    /// Attempts made so far.
    pub attempt_count: u32,
    /// When it is tried again, for [`Status::Pending`]; `None` parks it.
    pub due: Option<i64>,
    /// When it came to its end, for any other status.
    pub finished_at: Option<i64>,
    /// The attempt, where one was made.
    pub attempt: Option<Attempt>,
}

/// A delivery taken from the database for an attempt.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The delivery.
    pub id: String,
    /// The webhook it is for.
    pub webhook: String,
    /// Under which it was taken.
    pub lease: Option<Arc<str>>,
    /// Attempts made so far.
    pub attempt_count: u32,
    /// Those of them that the schedule does not count: they were made before a replay.
    pub attempt_base: u32,
    /// The event.
    pub event: Arc<Event>,
}

const COLUMNS: &str =
    "company, id, event_id, event_type, occurred_at, headers, data, webhook_id, lease, attempt_count, attempt_base";

static INSERT: LazyLock<Multi> = LazyLock::new(|| {
    Multi::new(
        "INSERT INTO deliveries (company, id, event_id, event_type, occurred_at, headers, data, webhook_id, status, \
         attempt_count, attempt_base, due, lease, parked, created_at, finished_at) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, NULL",
        "ON CONFLICT (company, event_id) DO NOTHING",
    )
});

// The casts tell PostgreSQL what the bare parameters of VALUES are; SQLite does not mind.
static FINISH: LazyLock<Multi> = LazyLock::new(|| {
    Multi::new(
        "UPDATE deliveries SET status = v.column3, attempt_count = v.column4, due = v.column5, \
         parked = v.column6, finished_at = v.column7, lease = NULL FROM (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), \
         CAST(? AS BIGINT), CAST(? AS TEXT)",
        ") AS v WHERE deliveries.company = v.column1 AND deliveries.id = v.column2 AND deliveries.status = 'pending' \
         AND deliveries.lease IS NOT DISTINCT FROM v.column8",
    )
});

static ATTEMPTS: LazyLock<Multi> = LazyLock::new(|| {
    Multi::new(
        "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status_code, error, response_body, \
         request_headers, plugin) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?",
        "ON CONFLICT (delivery_id, number) DO NOTHING",
    )
});

static EXPIRE_ATTEMPTS: LazyLock<Multi> =
    LazyLock::new(|| Multi::new("DELETE FROM attempts WHERE delivery_id IN (VALUES", "?", ")"));

/// Deliveries that retention removes in one transaction.
const EXPIRE_STEP: i64 = 256;

/// Status of a row that is an event alone: nobody subscribed, nothing is delivered, the log does not show it.
const UNROUTED: &str = "unrouted";

/// Stores the rows; answers one [`Published`] for each, in order.
pub(super) async fn insert(connection: &mut Connection, rows: &[NewDelivery]) -> Result<Vec<Published>, sqlx::Error> {
    let mut stored = 0;
    for (sql, rows) in INSERT.cut(connection.kind(), rows) {
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
                .bind(row.lease.as_ref().map(|(until, _)| *until))
                .bind(row.lease.as_ref().map(|(_, process)| &**process))
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
        published.push(first_answer(connection, row).await?);
    }
    Ok(published)
}

async fn first_answer(connection: &mut Connection, row: &NewDelivery) -> Result<Published, sqlx::Error> {
    let sql = "SELECT id, CAST(CASE WHEN webhook_id IS NULL THEN 0 ELSE 1 END AS BIGINT) AS routed \
               FROM deliveries WHERE company = $1 AND event_id = $2";
    let query = db::query(sql).bind(row.event.company.as_str()).bind(row.event.id.as_str());
    let found = query.fetch_one(connection).await?;
    let id: String = found.try_get("id")?;
    let routed: i64 = found.try_get("routed")?;
    Ok(if id == row.id { Published::Stored } else { Published::Before((routed == 1).then_some(id)) })
}

/// Writes what became of deliveries, and their attempts. What was taken from this process meanwhile is left as it is.
pub(super) async fn finish(connection: &mut Connection, rows: &[Completion]) -> Result<(), sqlx::Error> {
    let mut attempts = Vec::with_capacity(rows.len());
    for (sql, rows) in FINISH.cut(connection.kind(), rows) {
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
                .bind(row.lease.as_deref());
        }
        let all = query.execute(&mut *connection).await? == rows.len() as u64;
        for row in rows {
            if let Some(attempt) = row.attempt.as_ref()
                && (all || is_finished(connection, row).await?)
            {
                attempts.push((&row.id, attempt));
            }
        }
    }
    for (sql, rows) in ATTEMPTS.cut(connection.kind(), &attempts) {
        let mut query = db::query(sql);
        for (id, attempt) in rows {
            query = query
                .bind(id.as_str())
                .bind(i64::from(attempt.number))
                .bind(attempt.started_at)
                .bind(attempt.duration_ms)
                .bind(attempt.status_code.map(i64::from))
                .bind(attempt.error.as_deref())
                .bind(attempt.response_body.as_deref())
                .bind(attempt.request_headers.as_ref().map(|raw| raw.get()))
                .bind(attempt.plugin.as_ref().map(|raw| raw.get()));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Whether a row stands as this completion has left it. Another node may have left it like that: then the attempt of this
/// number is that node's, and stays.
async fn is_finished(connection: &mut Connection, row: &Completion) -> Result<bool, sqlx::Error> {
    let sql = "SELECT 1 FROM deliveries WHERE company = $1 AND id = $2 AND status = $3 AND attempt_count = $4 \
               AND lease IS NULL";
    let query = db::query(sql).bind(row.company.as_str()).bind(row.id.as_str()).bind(row.status.name());
    Ok(query.bind(i64::from(row.attempt_count)).fetch_optional(connection).await?.is_some())
}

/// The least id that a delivery of this millisecond can have: ids begin with their 48 bits of it (UUIDv7), so that a
/// range of time is a range of the primary key.
fn first_id(ms: i64) -> String {
    format!("dlv_{:012x}", ms.max(0))
}

fn headers_json(headers: &[(String, String)]) -> String {
    if headers.is_empty() { "[]".into() } else { serde_json::to_string(headers).unwrap_or_else(|_| "[]".into()) }
}

impl Store {
    /// Hands an event to the writer. The answer goes to [`Publish::done`].
    pub async fn publish(&self, publish: Publish) {
        self.writer.publish(publish).await;
    }

    /// Hands a completion to the writer; it is committed soon, in company. Waits only while the writer is behind.
    pub async fn finish(&self, completion: Completion) {
        self.writer.finish(completion).await;
    }

    /// The company after `company`, in the order of their names, that has any events.
    ///
    /// # Errors
    /// The database's.
    pub async fn company_after(&self, company: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT company FROM deliveries WHERE company > $1 ORDER BY company LIMIT 1";
        Ok(db::query(sql).bind(company).value_if_any(&self.readers).await?)
    }

    /// Stores an event whose delivery has come to its end already.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert_finished(&self, row: NewDelivery, completion: Completion) -> Result<(), StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                insert(connection, &[row]).await?;
                Ok(finish(connection, &[completion]).await?)
            })
        });
        self.writer.run(work, |()| ()).await
    }

    /// Removes events of a company that were accepted before `before`, with their deliveries and attempts: a few in
    /// one transaction, so that nobody waits long. True: there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn expire(&self, company: String, before: i64) -> Result<bool, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = format!(
                    "DELETE FROM deliveries WHERE (company, id) IN (SELECT company, id FROM deliveries \
                     WHERE company = $1 AND id < $2 ORDER BY id LIMIT $3 {}) RETURNING id",
                    connection.kind().lock()
                );
                let query = db::query(AssertSqlSafe(sql)).bind(company).bind(first_id(before)).bind(EXPIRE_STEP);
                let ids: Vec<String> = query.values(&mut *connection).await?;
                for (sql, ids) in EXPIRE_ATTEMPTS.cut(connection.kind(), &ids) {
                    let query = ids.iter().fold(db::query(sql), |query, id| query.bind(id.as_str()));
                    query.execute(&mut *connection).await?;
                }
                Ok(i64::try_from(ids.len()).is_ok_and(|count| count == EXPIRE_STEP))
            })
        });
        self.writer.run(work, |_| ()).await
    }
}

fn event(row: &Row) -> Result<Event, sqlx::Error> {
    let headers: String = row.try_get("headers")?;
    let data: Vec<u8> = row.try_get("data")?;
    Ok(Event {
        id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        company: row.try_get("company")?,
        occurred_at: row.try_get("occurred_at")?,
        headers: serde_json::from_str(&headers).map_err(|error| sqlx::Error::Decode(error.into()))?,
        data: Bytes::from(data),
    })
}

fn claimed(row: &Row) -> Result<Claimed, sqlx::Error> {
    let number = |column| -> Result<u32, sqlx::Error> {
        let number: i64 = row.try_get(column)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    };
    Ok(Claimed {
        id: row.try_get("id")?,
        webhook: row.try_get("webhook_id")?,
        lease: row.try_get::<Option<String>>("lease")?.map(Into::into),
        attempt_count: number("attempt_count")?,
        attempt_base: number("attempt_base")?,
        event: Arc::new(event(row)?),
    })
}
