//! The health of webhooks, as their recent deliveries show it.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use crate::domain::webhook::{Webhook, WebhookHealth};
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::ID_END;
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

/// The event type of the webhook `w`, without its label.
const EVENT_TYPE: &str = "substr(w.event_type, 1, length(w.event_type) - COALESCE(length(w.label) + 1, 0))";

/// Returns the statement for the webhooks of a company whose ids lie in a range. Binds: the company, the first and the last id,
/// the number of recent deliveries, the most to count.
///
/// The last attempts are found among the newest deliveries of the type, for a pattern among those of the company, and among the
/// newest that wait for a retry: behind many that were never attempted, only those tell why. What was delivered before the failures
/// began is behind those.
pub(in crate::store) fn health_sql(kind: DatabaseKind) -> String {
    let by_type = kind.index_hint("event_deliveries_type");
    let waiting = kind.index_hint("event_deliveries_waiting");
    let leased = kind.index_hint("event_deliveries_leased");
    let columns = "id, attempt_count, status, webhook_id, finished_at";
    let newest = |before: &str| {
        // Only one of the two ranges has any rows.
        format!(
            "SELECT * FROM (SELECT {columns} FROM event_deliveries {by_type}WHERE company = w.company \
             AND event_type = {EVENT_TYPE} AND id < {before} ORDER BY id DESC LIMIT $4) AS newest \
             UNION ALL SELECT * FROM (SELECT {columns} FROM event_deliveries WHERE company = w.company \
             AND id < CASE WHEN {EVENT_TYPE} LIKE '%*' THEN {before} ELSE '' END ORDER BY id DESC LIMIT $4) AS newest_of_all"
        )
    };
    let success = |before: &str| {
        let newest = newest(before);
        format!("SELECT MAX(finished_at) FROM ({newest}) AS own WHERE webhook_id = w.id AND status = 'delivered'")
    };
    let own_waiting =
        format!("FROM event_deliveries {waiting}WHERE webhook_id = w.id AND status = 'pending' AND lease IS NULL");
    let retries =
        format!("SELECT * FROM (SELECT {columns} {own_waiting} AND parked = 0 ORDER BY id DESC LIMIT $4) AS retries");
    let oldest = |parked| format!("SELECT MIN(id) AS id {own_waiting} AND parked = {parked}");
    let end = format!("'{ID_END}'");
    format!(
        "WITH held AS MATERIALIZED (SELECT webhook_id, COUNT(*) AS number, MIN(id) AS oldest FROM event_deliveries {leased}\
         WHERE lease IS NOT NULL AND company = $1 GROUP BY webhook_id), \
         health AS MATERIALIZED (SELECT w.id AS webhook, w.failing_since, w.proven, \
         COALESCE(({}), CASE WHEN w.failing_since IS NOT NULL THEN ({}) END) AS last_success_at, \
         (SELECT COUNT(*) FROM (SELECT 1 AS one {own_waiting} LIMIT $5) AS counted) + COALESCE(held.number, 0) AS waiting, \
         (SELECT MIN(id) FROM ({} UNION ALL {} UNION ALL {} UNION ALL {} UNION ALL SELECT held.oldest) AS firsts) AS oldest, \
         (SELECT own.id FROM ({} UNION ALL {retries}) AS own JOIN attempts a ON a.delivery_id = own.id \
         AND a.number = own.attempt_count WHERE own.webhook_id = w.id AND a.error IS NOT NULL \
         ORDER BY a.started_at DESC LIMIT 1) AS failed \
         FROM webhooks w LEFT JOIN held ON held.webhook_id = w.id WHERE w.company = $1 AND w.id >= $2 AND w.id <= $3) \
         SELECT h.*, a.error AS last_error, a.started_at AS last_error_at FROM health h \
         LEFT JOIN event_deliveries d ON d.company = $1 AND d.id = h.failed \
         LEFT JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempt_count",
        success(&end),
        success(&first_id_sql("w.failing_since")),
        oldest(0),
        oldest(1),
        oldest(2),
        oldest(3),
        newest(&end),
    )
}

/// Returns [`first_id`](crate::store::first_id) in SQL, digit by digit: the databases have no function for hexadecimal digits in
/// common.
fn first_id_sql(ms: &str) -> String {
    let digit = |place: u32| {
        let shift = place * 4;
        format!(" || substr('0123456789abcdef', CAST((({ms}) >> {shift}) & 15 AS INTEGER) + 1, 1)")
    };
    format!("'dlv_'{}", (0..12).rev().map(digit).collect::<String>())
}

fn health_from_row(row: &DatabaseRow) -> Result<WebhookHealth, sqlx::Error> {
    let oldest: Option<String> = row.try_get("oldest")?;
    Ok(WebhookHealth {
        failing_since: row.try_get("failing_since")?,
        proven: row.try_get::<i64>("proven")? == 1,
        last_error: row.try_get("last_error")?,
        last_error_at: row.try_get("last_error_at")?,
        last_success_at: row.try_get("last_success_at")?,
        waiting: u64::try_from(row.try_get::<i64>("waiting")?).unwrap_or(0),
        oldest_waiting: oldest.as_deref().and_then(crate::domain::id::made_at),
    })
}

/// The webhooks of a company whose health is looked up.
struct WebhookRange<'r> {
    company: &'r str,
    first: &'r str,
    last: &'r str,
}

impl Store {
    /// Returns the health of a webhook.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn webhook_health(&self, webhook: &Webhook) -> Result<WebhookHealth, StoreError> {
        let range = WebhookRange { company: &webhook.company, first: &webhook.id, last: &webhook.id };
        Ok(self.health(range, WHOLE).await?.remove(&webhook.id).unwrap_or_default())
    }

    /// Returns the health of those webhooks of a company whose ids lie between `first` and `last`, by their ids, as a shorter
    /// look at their logs shows it.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn health_of_webhooks(
        &self,
        company: &str,
        first: &str,
        last: &str,
    ) -> Result<HashMap<String, WebhookHealth>, StoreError> {
        self.health(WebhookRange { company, first, last }, BRIEF).await
    }

    async fn health(
        &self,
        range: WebhookRange<'_>,
        extent: Extent,
    ) -> Result<HashMap<String, WebhookHealth>, StoreError> {
        let log = self.log_reader(range.company).await?;
        let query = db::query(AssertSqlSafe(health_sql(log.kind())))
            .bind(range.company)
            .bind(range.first)
            .bind(range.last)
            .bind(extent.recent)
            .bind(extent.counted);
        let rows = query.fetch_all(&log).await?;
        let health = |row: &DatabaseRow| Ok::<_, sqlx::Error>((row.try_get("webhook")?, health_from_row(row)?));
        Ok(rows.iter().map(health).collect::<Result<_, _>>()?)
    }
}
