//! The health of webhooks, as their recent deliveries show it.

use sqlx::AssertSqlSafe;

use crate::domain::webhook::{Webhook, WebhookHealth};
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::{ID_END, first_id};
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Waiting deliveries that are counted; more show as this number.
const MOST_COUNTED: i64 = 10_000;

/// How much of a webhook's log is read.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Newest deliveries.
    recent: i64,
    /// Waiting deliveries that are counted.
    counted: i64,
}

/// For one webhook.
const WHOLE: Extent = Extent { recent: 200, counted: MOST_COUNTED };
/// For each of a list, which may have a thousand.
const BRIEF: Extent = Extent { recent: 20, counted: 1_000 };

/// Returns the statement for the webhook of this id. Binds: the company, its id, its type, the id before which to look for
/// deliveries, the number of recent ones, the most to count.
///
/// The last attempts are found among the newest deliveries of the type, and among the newest that wait for a retry: behind many
/// that were never attempted, only those tell why.
pub(in crate::store) fn health_sql(kind: DatabaseKind) -> String {
    let by_type = kind.index_hint("deliveries_type");
    let waiting = kind.index_hint("deliveries_waiting");
    let leased = kind.index_hint("deliveries_leased");
    let recent = format!(
        "SELECT * FROM (SELECT id, attempt_count, status, webhook_id, finished_at FROM deliveries {by_type}\
         WHERE company = $1 AND event_type = $3 AND id < $4 ORDER BY id DESC LIMIT $5) AS newest"
    );
    let retries = format!(
        "SELECT * FROM (SELECT id, attempt_count, status, webhook_id, finished_at FROM deliveries {waiting}\
         WHERE webhook_id = $2 AND status = 'pending' AND lease IS NULL AND parked = 0 ORDER BY id DESC LIMIT $5) AS retries"
    );
    let held = format!("FROM deliveries {leased}WHERE lease IS NOT NULL AND company = $1 AND webhook_id = $2");
    let oldest = |parked| {
        format!(
            "SELECT MIN(id) AS id FROM deliveries {waiting}WHERE webhook_id = $2 AND status = 'pending' \
             AND lease IS NULL AND parked = {parked}"
        )
    };
    format!(
        "WITH recent AS ({recent} UNION {retries}), own AS (SELECT * FROM recent WHERE webhook_id = $2) \
         SELECT (SELECT MAX(finished_at) FROM own WHERE status = 'delivered') AS last_success_at, \
         f.error AS last_error, f.started_at AS last_error_at, \
         (SELECT COUNT(*) FROM (SELECT 1 FROM deliveries {waiting}WHERE webhook_id = $2 AND status = 'pending' \
         AND lease IS NULL LIMIT $6) AS counted) + (SELECT COUNT(*) {held}) AS waiting, \
         (SELECT MIN(id) FROM ({} UNION ALL {} UNION ALL {} UNION ALL SELECT MIN(id) {held}) AS firsts) AS oldest \
         FROM (SELECT 1 AS one) AS always LEFT JOIN (SELECT a.error, a.started_at FROM own JOIN attempts a \
         ON a.delivery_id = own.id AND a.number = own.attempt_count WHERE a.error IS NOT NULL \
         ORDER BY a.started_at DESC LIMIT 1) AS f ON 1 = 1",
        oldest(0),
        oldest(1),
        oldest(2)
    )
}

fn health_from_row(webhook: &Webhook, row: &DatabaseRow) -> Result<WebhookHealth, sqlx::Error> {
    let oldest: Option<String> = row.try_get("oldest")?;
    Ok(WebhookHealth {
        failing_since: webhook.failing_since,
        last_error: row.try_get("last_error")?,
        last_error_at: row.try_get("last_error_at")?,
        last_success_at: row.try_get("last_success_at")?,
        waiting: u64::try_from(row.try_get::<i64>("waiting")?).unwrap_or(0),
        oldest_waiting: oldest.as_deref().and_then(crate::domain::id::made_at),
    })
}

impl Store {
    /// Returns the health of a webhook.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn webhook_health(&self, webhook: &Webhook) -> Result<WebhookHealth, StoreError> {
        let _turn = self.log_turns.turn(&webhook.company).await?;
        self.health(webhook, WHOLE).await
    }

    /// Returns the health of several webhooks of a company, in their order, as a shorter look at their logs shows it.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn health_of_webhooks(
        &self,
        company: &str,
        webhooks: &[Webhook],
    ) -> Result<Vec<WebhookHealth>, StoreError> {
        let _turn = self.log_turns.turn(company).await?;
        let mut all = Vec::with_capacity(webhooks.len());
        for webhook in webhooks {
            all.push(self.health(webhook, BRIEF).await?);
        }
        Ok(all)
    }

    async fn health(&self, webhook: &Webhook, extent: Extent) -> Result<WebhookHealth, StoreError> {
        let found = self.look(webhook, ID_END.into(), extent).await?;
        // What was delivered before the failures began is behind those.
        let Some(since) = found.failing_since.filter(|_| found.last_success_at.is_none()) else { return Ok(found) };
        let earlier = self.look(webhook, first_id(since), extent).await?;
        Ok(WebhookHealth { last_success_at: earlier.last_success_at, ..found })
    }

    async fn look(&self, webhook: &Webhook, before: String, extent: Extent) -> Result<WebhookHealth, StoreError> {
        let query = db::query(AssertSqlSafe(health_sql(self.readers.kind())))
            .bind(webhook.company.as_str())
            .bind(webhook.id.as_str())
            .bind(webhook.event_type.as_str())
            .bind(before)
            .bind(extent.recent)
            .bind(extent.counted);
        Ok(health_from_row(webhook, &query.fetch_one(&self.readers).await?)?)
    }
}
