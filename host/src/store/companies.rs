//! What the companies of an installation have stored.

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseKind};
use super::error::StoreError;
use super::handle::Store;

/// The most that is counted of each: a log may be long.
pub const COUNT_LIMIT: u64 = 10_000;

/// What one company has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanySummary {
    /// The company.
    pub company: String,
    /// Events, [`COUNT_LIMIT`] at most.
    pub events: u64,
    /// Deliveries, [`COUNT_LIMIT`] at most.
    pub deliveries: u64,
    /// Deliveries that are pending, [`COUNT_LIMIT`] at most.
    pub waiting: u64,
    /// Enabled webhooks whose last attempt failed.
    pub failing_webhooks: u64,
    /// Bytes of the data of its events.
    pub event_bytes: u64,
    /// Since when it is being removed: milliseconds since 1970; `None`: it is not.
    pub removing_since: Option<i64>,
}

/// Finds the next company in byte order that has anything. Binds: the company after which.
const NEXT: &str = "SELECT MIN(company) FROM (SELECT MIN(company) AS company FROM events WHERE company > $1 \
    UNION ALL SELECT MIN(company) FROM webhooks WHERE company > $1 \
    UNION ALL SELECT MIN(company) FROM plugins WHERE company > $1 \
    UNION ALL SELECT MIN(company) FROM company_usage WHERE company > $1 \
    UNION ALL SELECT MIN(company) FROM company_removals WHERE company > $1 \
    UNION ALL SELECT MIN(company) FROM api_keys WHERE company > $1 AND revoked_at IS NULL) AS companies";

/// Returns the statement that counts what a company has. Binds: the company, the most to count.
pub(super) fn summary_sql(kind: DatabaseKind) -> String {
    let count = |rows: &str| format!("(SELECT COUNT(*) FROM (SELECT 1 AS one FROM {rows} LIMIT $2) AS counted)");
    format!(
        "SELECT {} AS events, {} AS deliveries, {} AS backlog, {} AS in_memory, \
         (SELECT COUNT(*) FROM webhooks WHERE company = $1 AND enabled = 1 AND failing_since IS NOT NULL) AS failing, \
         (SELECT COALESCE(MAX(event_bytes), 0) FROM company_usage WHERE company = $1) AS bytes, \
         (SELECT MAX(created_at) FROM company_removals WHERE company = $1) AS removing_since",
        count("events WHERE company = $1"),
        count("event_deliveries WHERE company = $1"),
        count(&format!(
            "event_deliveries {}WHERE company = $1 AND status = 'pending' AND lease IS NULL",
            kind.index_hint("event_deliveries_pending")
        )),
        count(&format!(
            "event_deliveries {}WHERE company = $1 AND lease IS NOT NULL",
            kind.index_hint("event_deliveries_leased")
        )),
    )
}

impl Store {
    /// Returns the next companies in byte order of their names, and whether there are more.
    ///
    /// # Errors
    /// The database's.
    pub async fn companies(&self, limit: u32, after: &str) -> Result<(Vec<CompanySummary>, bool), StoreError> {
        let (mut found, mut last) = (Vec::new(), after.to_owned());
        loop {
            let next: Option<String> = db::query(NEXT).bind(last.as_str()).value(&self.readers.background).await?;
            let Some(next) = next else { return Ok((found, false)) };
            if found.len() >= limit as usize {
                return Ok((found, true));
            }
            found.push(self.company_summary(next.clone()).await?);
            last = next;
        }
    }

    async fn company_summary(&self, company: String) -> Result<CompanySummary, StoreError> {
        let query = db::query(AssertSqlSafe(summary_sql(self.readers.kind()))).bind(company.as_str());
        let query = query.bind(i64::try_from(COUNT_LIMIT).unwrap_or(i64::MAX));
        let row = query.fetch_one(&self.readers.background).await?;
        let number = |column: &'static str| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.try_get::<i64>(column)?).unwrap_or_default())
        };
        let bytes = row.try_get::<i64>("bytes")?.saturating_add(self.event_usage.unwritten(&company));
        Ok(CompanySummary {
            events: number("events")?,
            deliveries: number("deliveries")?,
            waiting: (number("backlog")? + number("in_memory")?).min(COUNT_LIMIT),
            failing_webhooks: number("failing")?,
            event_bytes: u64::try_from(bytes).unwrap_or_default(),
            removing_since: row.try_get("removing_since")?,
            company,
        })
    }
}
