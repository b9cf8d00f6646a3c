//! How many deliveries wait in each state, and for how long. The cost of each statement is bounded, however many wait.

use sqlx::AssertSqlSafe;

use crate::domain::id;
use crate::domain::waiting::{Waiting, WaitingCount};
use crate::store::db::{self, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::pull::PULLED;

/// Bounds the cost of [`Store::waiting_page`].
#[derive(Debug, Clone, Copy)]
pub struct WaitingLimits {
    /// Webhooks of one page.
    pub webhooks: i64,
    /// Deliveries that are counted in each state of one webhook.
    pub deliveries: i64,
}

/// The waiting deliveries of some webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingPage {
    /// Their deliveries that wait in the database.
    pub waiting: Waiting,
    /// How many webhooks of the page have any.
    pub webhooks: usize,
    /// The last webhook of the page, if others may follow it.
    pub next: Option<String>,
}

/// Goes from one webhook with waiting deliveries to the next in the index, and counts and finds the oldest of each by the same
/// index: it reads no row of a delivery. Binds: the webhook before the first one, and the two limits.
pub(super) fn waiting_sql() -> String {
    const WAITING: &str = "FROM event_deliveries d WHERE d.status = 'pending' AND d.lease IS NULL AND d.webhook_id";
    let columns: String = (0..=PULLED)
        .map(|parked| {
            format!(
                ", (SELECT COUNT(*) FROM (SELECT 1 AS one {WAITING} = h.webhook_id AND d.parked = {parked} LIMIT $3) AS counted) \
                 AS count{parked}, (SELECT MIN(d.id) {WAITING} = h.webhook_id AND d.parked = {parked}) AS oldest{parked}"
            )
        })
        .collect();
    format!(
        "WITH RECURSIVE hooks (webhook_id, number) AS (SELECT (SELECT MIN(d.webhook_id) {WAITING} > $1), 1 \
         UNION ALL SELECT (SELECT MIN(d.webhook_id) {WAITING} > hooks.webhook_id), number + 1 FROM hooks \
         WHERE hooks.webhook_id IS NOT NULL AND number < $2) \
         SELECT h.webhook_id, w.enabled{columns} FROM hooks h LEFT JOIN webhooks w ON w.id = h.webhook_id \
         WHERE h.webhook_id IS NOT NULL"
    )
}

/// Stops at the first row without a lease. Before it come at most the rows whose lease has run out while they are still in
/// memory; the fetcher renews those.
pub(super) const OLDEST_DUE: &str =
    "SELECT due FROM event_deliveries WHERE due <= $1 AND lease IS NULL ORDER BY due, id LIMIT 1";

impl Store {
    /// Counts the deliveries that wait in the database, of the webhooks whose ids follow `after`.
    ///
    /// # Errors
    /// The database's.
    pub async fn waiting_page(&self, after: &str, limits: WaitingLimits) -> Result<WaitingPage, StoreError> {
        let query = db::query(AssertSqlSafe(waiting_sql())).bind(after).bind(limits.webhooks).bind(limits.deliveries);
        let rows = query.fetch_all(&self.readers.background).await?;
        let mut page = WaitingPage { webhooks: rows.len(), ..WaitingPage::default() };
        let mut last = None;
        for row in &rows {
            let [scheduled, backlog] = [count(row, 0)?, count(row, 1)?];
            let [replayed, pulled] = [count(row, 2)?, count(row, PULLED)?];
            match row.try_get::<Option<i64>>("enabled")? {
                Some(0) => page.waiting.add_disabled([scheduled, backlog, replayed, pulled]),
                _ => page.waiting.add(Waiting { scheduled, backlog, replayed, pulled, ..Waiting::default() }),
            }
            last = last.max(Some(row.try_get::<String>("webhook_id")?));
        }
        let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= limits.webhooks);
        page.next = last.filter(|_| is_full);
        Ok(page)
    }

    /// Returns the earliest due time of all deliveries that are due at `now` and that no node holds in memory; both in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub async fn oldest_due(&self, now: i64) -> Result<Option<i64>, StoreError> {
        Ok(db::query(OLDEST_DUE).bind(now).value_if_any(&self.readers.background).await?)
    }
}

/// Reads the deliveries of one value of `parked`.
fn count(row: &DatabaseRow, parked: i64) -> Result<WaitingCount, sqlx::Error> {
    let oldest: Option<String> = row.try_get(&*format!("oldest{parked}"))?;
    Ok(WaitingCount {
        count: row.try_get(&*format!("count{parked}"))?,
        oldest: oldest.as_deref().and_then(id::made_at),
    })
}
