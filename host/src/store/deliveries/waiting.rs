//! What waits: taking it up, parking it, and what the sweep asks.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::super::db::{self, Connection, Kind, Row};
use super::super::writer::work;
use super::{COLUMNS, Claimed, claimed};
use crate::domain::id;
use crate::domain::webhook::OWNED_BELOW;
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

/// What a node may take of the rows that are due, `{node}` being the parameter that is its name: what nobody has, or it has
/// itself, or one has that is no more; but nothing for which another node answers.
///
/// The owner is asked for in a way that PostgreSQL does not turn into a join with all webhooks.
const TAKEABLE: &str = "(lease IS NULL OR lease = {node} OR lease NOT IN (SELECT id FROM nodes)) \
    AND COALESCE((SELECT o.node FROM lane_owners o JOIN webhooks w ON w.id = o.webhook_id \
    WHERE o.webhook_id = deliveries.webhook_id AND {owned}), {node}) = {node}";

/// As `Webhook::has_owner`, of the webhook `w`.
fn owned() -> String {
    format!("(w.ordered = 1 OR w.rate_limit IS NOT NULL OR w.max_in_flight < {OWNED_BELOW})")
}

fn takeable(node: &str) -> String {
    TAKEABLE.replace("{node}", node).replace("{owned}", &owned())
}

/// Binds: the node.
pub(super) fn next_due_sql() -> String {
    format!("SELECT due FROM deliveries WHERE due IS NOT NULL AND {} ORDER BY due, id LIMIT 1", takeable("$1"))
}

/// Binds: how many, bytes, until when, the node, now.
pub(super) fn claim_due_sql(kind: Kind) -> String {
    claim_sql("due, id", &format!("due <= $5 AND {}", takeable("$4")), kind)
}

/// Binds: how many, bytes, until when, the node, the webhook, the kind of parking, the id before which to stop.
pub(super) fn claim_parked_sql(kind: Kind) -> String {
    let parked = "webhook_id = $5 AND status = 'pending' AND lease IS NULL AND parked = $6 AND id < $7";
    claim_sql("id", parked, kind)
}

/// Takes the first rows of those, up to a number of rows and of bytes.
fn claim_sql(order: &str, which: &str, kind: Kind) -> String {
    let lock = kind.lock();
    // PostgreSQL locks no rows in a query with a window.
    format!(
        "WITH taken AS MATERIALIZED (SELECT company, id FROM (SELECT company, id, length, \
         SUM(length) OVER (ORDER BY {order}) AS sum FROM (SELECT company, id, due, LENGTH(data) AS length \
         FROM deliveries WHERE {which} ORDER BY {order} LIMIT $1 {lock}) AS first) AS waiting \
         WHERE sum - length < $2) UPDATE deliveries SET due = $3, lease = $4, parked = 0 \
         WHERE (company, id) IN (SELECT company, id FROM taken) RETURNING {COLUMNS}"
    )
}

pub(super) const FIRST_SCHEDULED: &str = "SELECT MIN(id) FROM deliveries WHERE webhook_id = $1 \
    AND status = 'pending' AND lease IS NULL AND parked = 0";

/// Identifiers of deliveries are below this.
const END: &str = "dlv_~";

impl Store {
    /// Takes the deliveries that are due at `now`, oldest first, for the lease's process, until its instant: `limit` at
    /// most, and no more than a few MiB of events.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_due(&self, now: i64, lease: (i64, Arc<str>), limit: u32) -> Result<Vec<Claimed>, StoreError> {
        let work =
            work(move |connection| Box::pin(async move { claim(connection, (Key::Now(now), lease, limit)).await }));
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
                Ok((claim(connection, (key, lease, limit)).await?, barrier))
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Makes due now what those had in memory that are no nodes any more. `horizon` is the last instant at which a lease of
    /// theirs can end.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_leases(&self, now: i64, horizon: i64) -> Result<u64, StoreError> {
        let work = work(move |connection| Box::pin(async move { Ok(release(connection, now, horizon).await?) }));
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
                let sql = format!(
                    "UPDATE deliveries SET due = NULL, parked = 1 WHERE (company, id) IN (SELECT company, id \
                     FROM deliveries WHERE webhook_id = $1 AND status = 'pending' AND lease IS NULL \
                     AND parked = 0 LIMIT $2 {})",
                    connection.kind().lock()
                );
                let query = db::query(AssertSqlSafe(sql)).bind(webhook).bind(PARK_STEP);
                Ok(query.execute(connection).await?)
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// When the next delivery is due, whether scheduled or leased, of those that this node may take.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_due(&self, node: &str) -> Result<Option<i64>, StoreError> {
        Ok(db::query(AssertSqlSafe(next_due_sql())).bind(node).value_if_any(&self.readers).await?)
    }

    /// The enabled webhooks for which something is parked or to be replayed, without those for which another node than this
    /// one answers.
    ///
    /// # Errors
    /// The database's.
    pub async fn waiting_lanes(&self, node: &str) -> Result<Vec<WaitingLane>, StoreError> {
        let exists = |parked| {
            format!(
                "CAST(CASE WHEN EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_id = w.id \
                 AND d.status = 'pending' AND d.lease IS NULL AND d.parked = {parked}) THEN 1 ELSE 0 END AS BIGINT)"
            )
        };
        let sql = format!(
            "SELECT company, event_type, parked, replayed FROM (SELECT company, event_type, {} AS parked, \
             {} AS replayed FROM webhooks w WHERE enabled = 1 AND NOT ({} AND EXISTS (SELECT 1 FROM lane_owners o \
             WHERE o.webhook_id = w.id AND o.node <> $1))) AS lanes WHERE parked = 1 OR replayed = 1",
            exists(1),
            exists(2),
            owned()
        );
        let rows = db::query(AssertSqlSafe(sql)).bind(node).fetch_all(&self.readers).await?;
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

/// As [`Store::release_leases`], within a transaction.
pub(in crate::store) async fn release(connection: &mut Connection, now: i64, horizon: i64) -> Result<u64, sqlx::Error> {
    let lost = |besides: &str| {
        format!(
            "(company, id) IN (SELECT company, id FROM deliveries WHERE due <= $1 AND lease IS NOT NULL \
             AND lease NOT IN (SELECT id FROM nodes) {besides} {})",
            connection.kind().lock()
        )
    };
    // What is left of an ordered webhook must not pass a delivery of it that waits for its retry.
    let ordered = lost("AND webhook_id IN (SELECT id FROM webhooks WHERE ordered = 1)");
    let ordered = format!("UPDATE deliveries SET due = NULL, lease = NULL, parked = 1 WHERE {ordered}");
    let others = format!("UPDATE deliveries SET due = $2, lease = NULL WHERE {}", lost(""));
    let parked = db::query(AssertSqlSafe(ordered)).bind(horizon).execute(&mut *connection).await?;
    Ok(parked + db::query(AssertSqlSafe(others)).bind(horizon).bind(now).execute(connection).await?)
}

enum Key {
    Now(i64),
    Webhook(String, i64, String),
}

async fn claim(
    connection: &mut Connection,
    (key, (until, process), limit): (Key, (i64, Arc<str>), u32),
) -> Result<Vec<Claimed>, StoreError> {
    let sql = match &key {
        Key::Now(_) => claim_due_sql(connection.kind()),
        Key::Webhook(..) => claim_parked_sql(connection.kind()),
    };
    let query = db::query(AssertSqlSafe(sql)).bind(i64::from(limit)).bind(BYTES).bind(until).bind(process.to_string());
    let query = match key {
        Key::Now(now) => query.bind(now),
        Key::Webhook(id, kind, end) => query.bind(id).bind(kind).bind(end),
    };
    let rows = query.fetch_all(connection).await?;
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(claimed)
}
