//! The entries of pull webhooks: deliveries that wait, in the order of their positions, until a consumer acknowledges them.

mod acknowledge;
#[cfg(test)]
mod query_plans;
mod read;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::db::{self, DatabaseConnection};
use super::error::StoreError;
use super::handle::Store;
use super::multi_row::MultiRowStatement;
use super::writer::transaction;
use crate::domain::delivery::Status;

pub use acknowledge::PullAck;
pub use read::{PullEntry, PullPage, PullRead, PullRequest};

/// The value of the column `parked` for deliveries that wait for a consumer.
pub(super) const PULLED: i64 = 3;
/// Entries that one step of the engine moves.
const STEP: i64 = 500;

/// The row lock makes positions follow the order of commits, also between nodes.
const COUNT: &str =
    "UPDATE webhooks SET pull_head = pull_head + $2 WHERE id = $1 AND delivery = 'pull' RETURNING pull_head";

static INSERT: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO pull_entries (webhook_id, position, company, delivery_id) VALUES",
        "?, ?, ?, ?",
        "",
    )
});

static REMOVE: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "DELETE FROM pull_entries WHERE (company, delivery_id) IN (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT)",
        ")",
    )
});

/// Steps from one webhook to the next by the primary key.
const WITHOUT_CONSUMER: &str = "WITH RECURSIVE hooks (webhook_id) AS (SELECT MIN(webhook_id) FROM pull_entries UNION ALL \
    SELECT (SELECT MIN(e.webhook_id) FROM pull_entries e WHERE e.webhook_id > hooks.webhook_id) FROM hooks \
    WHERE hooks.webhook_id IS NOT NULL) SELECT h.webhook_id FROM hooks h LEFT JOIN webhooks w \
    ON w.id = h.webhook_id AND w.delivery = 'pull' WHERE h.webhook_id IS NOT NULL AND w.id IS NULL LIMIT 100";

/// Binds: the webhook, the number of entries.
const RELEASE: &str = "DELETE FROM pull_entries WHERE webhook_id = $1 AND position <= (SELECT MAX(position) FROM (SELECT position \
    FROM pull_entries WHERE webhook_id = $1 ORDER BY position LIMIT $2) AS first_ones) AND NOT EXISTS (SELECT 1 FROM webhooks \
    WHERE id = $1 AND delivery = 'pull') RETURNING company, delivery_id";

/// A delivery that is to wait for the consumer of its webhook.
pub(super) struct NewPullEntry<'r> {
    pub(super) webhook: &'r str,
    pub(super) company: &'r str,
    pub(super) delivery: &'r str,
}

/// A delivery in memory that is to wait for the consumer of its webhook.
#[derive(Debug, Clone)]
pub struct PulledDelivery {
    /// Its company.
    pub company: String,
    /// Its id.
    pub id: String,
    /// The id of its webhook.
    pub webhook: String,
    /// The lease under which it was claimed.
    pub lease: Option<std::sync::Arc<str>>,
}

/// Gives deliveries, whose rows are stored, the next positions of their webhooks. Those of a webhook that is none for a consumer
/// any more are due at once.
pub(super) async fn enter(
    connection: &mut DatabaseConnection,
    entries: Vec<NewPullEntry<'_>>,
) -> Result<(), sqlx::Error> {
    // In the same order on every node: otherwise two nodes could deadlock.
    let mut webhooks: BTreeMap<&str, Vec<&NewPullEntry<'_>>> = BTreeMap::new();
    for entry in &entries {
        webhooks.entry(entry.webhook).or_default().push(entry);
    }
    for (webhook, mut entries) in webhooks {
        // Ids ascend as this node accepted the events; the rows of a group may stand in another order.
        entries.sort_unstable_by_key(|entry| entry.delivery);
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let head: Option<i64> = db::query(COUNT).bind(webhook).bind(count).value_if_any(&mut *connection).await?;
        match head {
            Some(head) => insert(connection, head - count, &entries).await?,
            None => make_due(connection, &entries).await?,
        }
    }
    Ok(())
}

async fn insert(
    connection: &mut DatabaseConnection,
    after: i64,
    entries: &[&NewPullEntry<'_>],
) -> Result<(), sqlx::Error> {
    let mut position = after;
    for (sql, entries) in INSERT.split(connection.kind(), entries) {
        let mut query = db::query(sql);
        for entry in entries {
            position += 1;
            query = query.bind(entry.webhook).bind(position).bind(entry.company).bind(entry.delivery);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn make_due(connection: &mut DatabaseConnection, entries: &[&NewPullEntry<'_>]) -> Result<(), sqlx::Error> {
    for entry in entries {
        let sql = "UPDATE event_deliveries SET parked = 0, due = created_at WHERE company = $1 AND id = $2";
        db::query(sql).bind(entry.company).bind(entry.delivery).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes the entries of these deliveries.
pub(super) async fn remove_entries(
    connection: &mut DatabaseConnection,
    company: &str,
    deliveries: &[String],
) -> Result<(), sqlx::Error> {
    for (sql, ids) in REMOVE.split(connection.kind(), deliveries) {
        let query = ids.iter().fold(db::query(sql), |query, id| query.bind(company).bind(id.as_str()));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

impl Store {
    /// Lets a delivery that this process has in memory wait for the consumer of its webhook, behind all others. Unchanged if
    /// another node has claimed it meanwhile.
    ///
    /// # Errors
    /// The database's.
    pub async fn wait_for_consumer(&self, delivery: PulledDelivery) -> Result<(), StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let PulledDelivery { company, id, webhook, lease } = delivery;
                let sql = "UPDATE event_deliveries SET due = NULL, lease = NULL, parked = 3 WHERE company = $1 AND id = $2 \
                           AND status = 'pending' AND lease IS NOT DISTINCT FROM CAST($3 AS TEXT)";
                let query = db::query(sql).bind(company.as_str()).bind(id.as_str()).bind(lease.as_deref());
                if query.execute(&mut *connection).await? == 0 {
                    return Ok(());
                }
                remove_entries(connection, &company, std::slice::from_ref(&id)).await?;
                let entry = NewPullEntry { webhook: &webhook, company: &company, delivery: &id };
                Ok(enter(connection, vec![entry]).await?)
            })
        });
        self.writer.run(work, |()| ()).await
    }

    /// Ends deliveries that wait for a consumer as filtered, at `now`, milliseconds since 1970: their plugin dropped them.
    ///
    /// # Errors
    /// The database's.
    pub async fn filter_pulled(&self, company: &str, deliveries: Vec<String>, now: i64) -> Result<(), StoreError> {
        let owner = company.to_owned();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let mut ended = 0;
                for id in deliveries {
                    let sql = "UPDATE event_deliveries SET status = 'filtered', parked = 0, finished_at = $3 \
                               WHERE company = $1 AND id = $2 AND status = 'pending' AND lease IS NULL AND parked = 3";
                    ended += db::query(sql).bind(owner.as_str()).bind(id).bind(now).execute(&mut *connection).await?;
                }
                Ok(ended)
            })
        });
        let metrics = self.metrics.clone();
        let counted = move |ended: &u64| metrics.deliveries_ended(Status::Filtered, *ended);
        self.writer.run_for(company, work, counted).await.map(drop)
    }

    /// Returns webhooks that have entries but no consumer: they were removed, or their events are POSTed again.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhooks_without_consumer(&self) -> Result<Vec<String>, StoreError> {
        Ok(db::query(WITHOUT_CONSUMER).values(&self.readers.background).await?)
    }

    /// Moves the next few entries of a webhook without a consumer into its backlog. Returns the company of the last of them, if
    /// there were any.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_entries(&self, webhook: String) -> Result<Option<String>, StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                let query = db::query(RELEASE).bind(webhook.as_str()).bind(STEP);
                let mut last = None;
                for row in query.fetch_all(&mut *connection).await? {
                    let (company, id): (String, String) = (row.try_get("company")?, row.try_get("delivery_id")?);
                    let sql = "UPDATE event_deliveries SET parked = 1 WHERE company = $1 AND id = $2 AND status = 'pending' \
                               AND lease IS NULL AND parked = 3";
                    db::query(sql).bind(company.as_str()).bind(id).execute(&mut *connection).await?;
                    last = Some(company);
                }
                Ok(last)
            })
        });
        self.writer.run(work, |_| ()).await
    }
}
