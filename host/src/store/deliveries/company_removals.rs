//! Removing companies: what a request removes at once, and the removals in progress.
//!
//! Every table with a column `company` is emptied here, if a company has few rows in it, or step by step
//! ([`removal_steps`](super::removal_steps)); a test compares them with the schema. What a company has at once is bounded by its
//! quotas.

use sqlx::AssertSqlSafe;

use crate::domain::id::{deliveries_end, place_of};
use crate::store::cancel_selection::{CancelSelection, CancelState};
use crate::store::changes::{Change, notify};
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::webhooks;
use crate::store::writer::transaction;

/// A request to remove a company with everything that it has.
#[derive(Debug, Clone)]
pub struct CompanyRemoval {
    /// The company.
    pub company: String,
    /// The place in the log that an event would have which is published now.
    pub place: String,
    /// Who requests it, as a record names them.
    pub by: String,
    /// When it is requested: milliseconds since 1970.
    pub now: i64,
}

/// A removal in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalRecord {
    /// The company.
    pub company: String,
    /// The first place in the log that is not removed.
    pub end: String,
    /// When it was requested: milliseconds since 1970.
    pub created_at: i64,
}

impl RemovalRecord {
    /// Selects the deliveries that are removed, as far as they wait.
    pub fn deliveries(&self) -> CancelSelection {
        let (company, end) = (self.company.clone(), self.end.clone());
        CancelSelection { company, filter: <_>::default(), state: CancelState::Pending, first: String::new(), end }
    }
}

/// Finds out whether a company has anything. Binds: the company.
pub(super) const KNOWN: &str = "SELECT 1 AS one FROM (SELECT company FROM webhooks WHERE company = $1 \
    UNION ALL SELECT company FROM api_keys WHERE company = $1 UNION ALL SELECT company FROM plugins WHERE company = $1 \
    UNION ALL SELECT company FROM plugin_versions WHERE company = $1 \
    UNION ALL SELECT company FROM company_configs WHERE company = $1 \
    UNION ALL SELECT company FROM event_types WHERE company = $1 \
    UNION ALL SELECT company FROM chain_transforms WHERE company = $1 \
    UNION ALL SELECT company FROM policies WHERE company = $1 \
    UNION ALL SELECT company FROM company_limits WHERE company = $1 \
    UNION ALL SELECT company FROM company_usage WHERE company = $1 UNION ALL SELECT company FROM events WHERE company = $1 \
    UNION ALL SELECT company FROM deliveries WHERE company = $1) AS found LIMIT 1";

/// What a request removes at once, besides the webhooks. Policies stay, without their transforms, until the removal ends: an attempt
/// that has begun sends nothing then. A removed version stays for the log until that is removed; uploaded
/// again, it is another company's.
const AT_ONCE: [&str; 5] = [
    "DELETE FROM api_keys WHERE company = $1",
    "DELETE FROM plugins WHERE company = $1",
    "DELETE FROM event_types WHERE company = $1",
    "DELETE FROM chain_transforms WHERE company = $1",
    "DELETE FROM company_limits WHERE company = $1",
];

/// The tables of what companies have ordered.
const ORDERED: [&str; 5] = ["event_replays", "event_cancellations", "event_erasures", "replays", "cancellations"];

/// Returns the statement that finds the last places of a company in the log. Binds: the company.
pub(super) fn last_places_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT MAX(id) AS id FROM event_deliveries WHERE company = $1 UNION ALL \
         SELECT MAX(place) FROM events {}WHERE company = $1 AND matched = 0 UNION ALL \
         SELECT MAX(id) FROM deliveries WHERE company = $1",
        kind.index_hint("events_unmatched")
    )
}

impl Store {
    /// Removes at once with what a company acts: its keys, webhooks, plugins, and what it has ordered; the rest is left to
    /// [`Store::removal_step`]. If the removal is in progress already, changes nothing. `None`: the company has nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn start_removal(&self, removal: CompanyRemoval) -> Result<Option<RemovalRecord>, StoreError> {
        let (company, webhooks) = (removal.company.clone(), self.webhooks.clone());
        let work = transaction(move |connection| Box::pin(async move { Ok(start(connection, removal).await?) }));
        let outdated = company.clone();
        let started = self.writer.run_for(&company, work, move |_| webhooks.invalidate_company(&outdated)).await?;
        self.forget_company(&company);
        Ok(started)
    }

    /// Forgets what is in memory of a company that has been removed.
    pub fn forget_company(&self, company: &str) {
        self.webhooks.invalidate_company(company);
        self.event_rules.remove(company);
        self.keys.clear();
    }

    /// Returns the removals in progress, in byte order of the companies.
    ///
    /// # Errors
    /// The database's.
    pub async fn removals_in_progress(&self) -> Result<Vec<RemovalRecord>, StoreError> {
        let sql = "SELECT company, end_id, created_at FROM company_removals ORDER BY company LIMIT 100";
        let rows = db::query(sql).fetch_all(&self.readers.background).await?;
        Ok(rows.iter().map(record_from_row).collect::<Result<_, _>>()?)
    }
}

fn record_from_row(row: &db::DatabaseRow) -> Result<RemovalRecord, sqlx::Error> {
    Ok(RemovalRecord {
        company: row.try_get("company")?,
        end: row.try_get("end_id")?,
        created_at: row.try_get("created_at")?,
    })
}

async fn start(
    connection: &mut DatabaseConnection,
    removal: CompanyRemoval,
) -> Result<Option<RemovalRecord>, sqlx::Error> {
    connection.lock_exclusively().await?;
    let sql = "SELECT company, end_id, created_at FROM company_removals WHERE company = $1";
    let query = db::query(sql).bind(removal.company.as_str());
    if let Some(row) = query.fetch_optional(&mut *connection).await? {
        return record_from_row(&row).map(Some);
    }
    if db::query(KNOWN).bind(removal.company.as_str()).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(None);
    }
    let CompanyRemoval { company, place, by, now } = removal;
    let end = end(connection, &company, place).await?;
    let sql = "INSERT INTO company_removals (company, end_id, events, deliveries, bytes, cancelled, requested_by, created_at) \
               VALUES ($1, $2, 0, 0, 0, 0, $3, $4)";
    let query = db::query(sql).bind(company.as_str()).bind(end.as_str()).bind(by).bind(now);
    query.execute(&mut *connection).await?;
    // In the order in which publishing locks them, too.
    let query = db::query("SELECT id FROM webhooks WHERE company = $1 ORDER BY id").bind(company.as_str());
    for id in query.values::<String>(&mut *connection).await? {
        webhooks::remove_row(connection, &id).await?;
    }
    for sql in AT_ONCE {
        db::query(sql).bind(company.as_str()).execute(&mut *connection).await?;
    }
    // The node that has one of them may be waiting for the lock that this transaction has: a step removes that one.
    let lock = connection.kind().row_lock();
    remove_ordered(connection, &company, i64::MAX, lock).await?;
    let query = db::query("UPDATE plugin_versions SET removed_at = $1 WHERE company = $2").bind(now);
    query.bind(company.as_str()).execute(&mut *connection).await?;
    let record = RemovalRecord { company, end, created_at: now };
    notify(connection, &Change::Company { company: record.company.clone() }).await?;
    notify(connection, &Change::Cancelled(record.deliveries())).await?;
    Ok(Some(record))
}

/// Removes what a company has ordered up to an instant, milliseconds since 1970.
pub(super) async fn remove_ordered(
    connection: &mut DatabaseConnection,
    company: &str,
    until: i64,
    lock: &str,
) -> Result<(), sqlx::Error> {
    for table in ORDERED {
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE company = $1 AND created_at <= $2 {lock})"
        );
        db::query(AssertSqlSafe(sql)).bind(company).bind(until).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns the first place that is not removed: no earlier than `place`, and behind everything that is stored, because the clock
/// of a node, or of an earlier process, may have been ahead.
async fn end(connection: &mut DatabaseConnection, company: &str, place: String) -> Result<String, sqlx::Error> {
    let query = db::query(AssertSqlSafe(last_places_sql(connection.kind()))).bind(company);
    let stored = query.fetch_all(connection).await?;
    let mut end = place;
    for row in &stored {
        if let Some(id) = row.try_get::<Option<String>>("id")? {
            end = end.max(deliveries_end(place_of(&id)));
        }
    }
    Ok(end)
}
