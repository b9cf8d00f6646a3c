//! What waits: taking it up, parking it, and what the sweep asks.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::super::db::{self, Connection, Row};
use super::super::writer::work;
use super::{COLUMNS, Claimed, claimed};
use crate::domain::id;
use crate::store::{Store, StoreError};

/// What the events taken in one statement may have together, in bytes: one at least is taken.
const BYTES: i64 = 4 << 20;
/// Deliveries parked in one transaction, so that nobody waits long behind a webhook with a great backlog.
const PARK_STEP: i64 = 5_000;

/// Which of a webhook's parked deliveries to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parked {
    /// The oldest.
    Any,
    /// The oldest, but none that is younger than one that waits for its retry.
    Ordered {
        /// Nor one that is younger than this.
        before: Option<String>,
    },
    /// Those to be replayed.
    Replayed,
}

/// A webhook, as company and event type, for which something lies in the database.
#[derive(Debug, Clone)]
pub struct WaitingLane {
    /// The company.
    pub company: String,
    /// The event type.
    pub event_type: String,
    /// Something is parked.
    pub parked: bool,
    /// Something is to be replayed.
    pub replayed: bool,
}

pub(super) const NEXT_DUE: &str = "SELECT MIN(due) FROM deliveries WHERE due IS NOT NULL";
/// Binds: now, how many, bytes.
pub(super) const DUE: &str = "SELECT company, id FROM (SELECT company, id, LENGTH(data) AS length, \
    SUM(LENGTH(data)) OVER (ORDER BY due, id) AS sum FROM deliveries WHERE due <= $1 ORDER BY due, id LIMIT $2) \
    AS waiting WHERE sum - length < $3";
/// Binds: webhook, how many, bytes, the kind of parking, the id before which to stop.
pub(super) const PARKED: &str = "SELECT company, id FROM (SELECT company, id, LENGTH(data) AS length, \
    SUM(LENGTH(data)) OVER (ORDER BY id) AS sum FROM deliveries WHERE webhook_id = $1 AND status = 'pending' \
    AND lease IS NULL AND parked = $4 AND id < $5 ORDER BY id LIMIT $2) AS waiting WHERE sum - length < $3";
pub(super) const FIRST_SCHEDULED: &str = "SELECT MIN(id) FROM deliveries WHERE webhook_id = $1 \
    AND status = 'pending' AND lease IS NULL AND parked = 0";

pub(super) fn claim_sql(select: &str) -> String {
    format!(
        "UPDATE deliveries SET due = $6, lease = $7, parked = 0 WHERE (company, id) IN ({select}) RETURNING {COLUMNS}"
    )
}

/// Identifiers of deliveries are below this.
const END: &str = "dlv_~";

impl Store {
    /// Takes the deliveries that are due at `now`, oldest first, for the lease's process, until its instant: `limit` at
    /// most, and no more than a few MiB of events.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_due(&self, now: i64, lease: (i64, Arc<str>), limit: u32) -> Result<Vec<Claimed>, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move { claim(connection, DUE, (Key::Now(now), lease, limit)).await })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Takes what is parked for a webhook, oldest first; as [`Store::claim_due`]. For [`Parked::Ordered`] it also
    /// answers the first delivery that waits for its retry.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_parked(
        &self,
        (webhook, parked): (&str, Parked),
        lease: (i64, Arc<str>),
        limit: u32,
    ) -> Result<(Vec<Claimed>, Option<String>), StoreError> {
        let webhook = webhook.to_owned();
        let work = work(move |connection| {
            Box::pin(async move {
                let kind = if parked == Parked::Replayed { 2 } else { 1 };
                let (barrier, before): (Option<String>, _) = match parked {
                    Parked::Any | Parked::Replayed => (None, None),
                    Parked::Ordered { before } => {
                        let query = db::query(FIRST_SCHEDULED).bind(webhook.as_str());
                        (query.value(&mut *connection).await?, before)
                    }
                };
                let end = barrier.iter().chain(&before).min().cloned().unwrap_or_else(|| END.into());
                let key = Key::Webhook(webhook, kind, end);
                Ok((claim(connection, PARKED, (key, lease, limit)).await?, barrier))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Makes due now what processes other than `process` had in memory when they ended. `horizon` is the last instant
    /// at which a lease of theirs can end.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_leases(&self, process: Arc<str>, now: i64, horizon: i64) -> Result<u64, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                // What is left of an ordered webhook must not pass a delivery of it that waits for its retry.
                let sql = "UPDATE deliveries SET due = NULL, lease = NULL, parked = 1 WHERE due <= $1 AND lease <> $2 \
                           AND webhook_id IN (SELECT id FROM webhooks WHERE ordered = 1)";
                let query = db::query(sql).bind(horizon).bind(process.to_string());
                let parked = query.execute(&mut *connection).await?;
                let sql = "UPDATE deliveries SET due = $1, lease = NULL WHERE due <= $2 AND lease <> $3";
                let query = db::query(sql).bind(now).bind(horizon).bind(process.to_string());
                Ok(parked + query.execute(connection).await?)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Parks what waits for a retry of this webhook, a few in one transaction.
    ///
    /// # Errors
    /// The database's.
    pub async fn park_scheduled(&self, webhook: &str) -> Result<(), StoreError> {
        while self.park_some(webhook.to_owned()).await? > 0 {}
        Ok(())
    }

    async fn park_some(&self, webhook: String) -> Result<u64, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "UPDATE deliveries SET due = NULL, parked = 1 WHERE (company, id) IN (SELECT company, id \
                           FROM deliveries WHERE webhook_id = $1 AND status = 'pending' AND lease IS NULL \
                           AND parked = 0 LIMIT $2)";
                let query = db::query(sql).bind(webhook).bind(PARK_STEP);
                Ok(query.execute(connection).await?)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// When the next delivery is due, whether scheduled or leased.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        Ok(db::query(NEXT_DUE).value(&self.readers).await?)
    }

    /// The enabled webhooks for which something is parked or to be replayed.
    ///
    /// # Errors
    /// The database's.
    pub async fn waiting_lanes(&self) -> Result<Vec<WaitingLane>, StoreError> {
        let exists = |parked| {
            format!(
                "CAST(CASE WHEN EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_id = webhooks.id \
                 AND d.status = 'pending' AND d.lease IS NULL AND d.parked = {parked}) THEN 1 ELSE 0 END AS BIGINT)"
            )
        };
        let sql = format!(
            "SELECT company, event_type, parked, replayed FROM (SELECT company, event_type, {} AS parked, \
             {} AS replayed FROM webhooks WHERE enabled = 1) AS lanes WHERE parked = 1 OR replayed = 1",
            exists(1),
            exists(2)
        );
        let rows = db::query(AssertSqlSafe(sql)).fetch_all(&self.readers).await?;
        let lane = |row: &Row| -> Result<_, sqlx::Error> {
            let flag = |column| Ok::<_, sqlx::Error>(row.try_get::<i64>(column)? == 1);
            let (parked, replayed) = (flag("parked")?, flag("replayed")?);
            Ok(WaitingLane {
                company: row.try_get("company")?,
                event_type: row.try_get("event_type")?,
                parked,
                replayed,
            })
        };
        Ok(rows.iter().map(lane).collect::<Result<_, _>>()?)
    }

    /// When the newest delivery was made, as its identifier says: milliseconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub async fn newest_delivery(&self) -> Result<Option<i64>, StoreError> {
        // From one company to the next, by the primary key: as quick as there are few companies, however long the log.
        let sql = "WITH RECURSIVE names (company) AS (SELECT MIN(company) FROM deliveries UNION ALL \
                   SELECT (SELECT MIN(d.company) FROM deliveries d WHERE d.company > names.company) FROM names \
                   WHERE names.company IS NOT NULL) \
                   SELECT MAX((SELECT MAX(d.id) FROM deliveries d WHERE d.company = names.company)) FROM names";
        let newest: Option<String> = db::query(sql).value(&self.readers).await?;
        Ok(newest.as_deref().and_then(id::made_at))
    }
}

enum Key {
    Now(i64),
    Webhook(String, i64, String),
}

async fn claim(
    connection: &mut Connection,
    select: &str,
    (key, (until, process), limit): (Key, (i64, Arc<str>), u32),
) -> Result<Vec<Claimed>, StoreError> {
    let query = db::query(AssertSqlSafe(claim_sql(select)));
    let (query, kind, end) = match key {
        Key::Now(now) => (query.bind(now), 0, END.to_owned()),
        Key::Webhook(id, kind, end) => (query.bind(id), kind, end),
    };
    let query = query.bind(i64::from(limit)).bind(BYTES).bind(kind).bind(end).bind(until).bind(process.to_string());
    let rows = query.fetch_all(connection).await?;
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(claimed)
}
