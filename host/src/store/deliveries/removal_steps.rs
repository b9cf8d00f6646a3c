//! Removing what a company has in the log, and the versions and configs that only the log names, step by step.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::company_removals::remove_ordered;
use super::{RemovedRows, remove_attempts, remove_deliveries, remove_unmatched, removed_events};
use crate::domain::delivery::Status;
use crate::domain::plugin::Digest;
use crate::store::changes::{Change, notify};
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::multi_row::MultiRowStatement;
use crate::store::writer::transaction;
use crate::store::{plugins, policies, webhooks};

/// Most rows that one step takes out of the log of the version before, and of events without deliveries.
const STEP: i64 = 256;
/// Most configs that one step removes: each may have 256 KiB.
const CONFIG_STEP: i64 = 32;
/// Most plugin versions that one step removes: each may have 32 MiB.
const VERSION_STEP: i64 = 4;
/// How long after it found nothing left a removal ends, in milliseconds: a node may be storing an event that it accepted before.
const LATE_MS: i64 = 1_000;

/// The events of deliveries that were removed: the others of theirs are next.
static REMOVE_EVENTS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "DELETE FROM events WHERE (company, id) IN (VALUES",
        "CAST(? AS TEXT), CAST(? AS TEXT)",
        ") RETURNING CAST(LENGTH(data) AS BIGINT)",
    )
});

/// What a step of a removal has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalStep {
    /// It has removed something. Holds the plugin versions among it that no company has any more.
    Removed(Vec<Digest>),
    /// There is nothing left; the removal ends soon.
    Waits,
    /// The removal has ended.
    Finished(FinishedRemoval),
}

/// A removal that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRemoval {
    /// The company.
    pub company: String,
    /// Who requested it.
    pub by: String,
    /// Events that it has removed.
    pub events: i64,
    /// Their deliveries.
    pub deliveries: i64,
    /// Deliveries among them that waited.
    pub cancelled: i64,
    /// The bytes of the data of the events.
    pub bytes: i64,
}

/// A removal, locked.
struct Removal {
    company: String,
    end: String,
    created_at: i64,
    emptied_at: Option<i64>,
}

/// Rows of the log, and what nothing names any more.
#[derive(Default)]
struct Removed {
    log: RemovedRows,
    deliveries: i64,
    is_any: bool,
    versions: Vec<Digest>,
}

/// Takes out rows of the version before. Binds: the company, the id after the last, the number of rows.
pub(super) fn remove_earlier_sql(kind: DatabaseKind) -> String {
    format!(
        "DELETE FROM deliveries WHERE (company, id) IN (SELECT company, id FROM deliveries WHERE company = $1 AND id < $2 \
         ORDER BY id LIMIT $3 {}) RETURNING id, status, webhook_id, CAST(LENGTH(data) AS BIGINT) AS bytes",
        kind.row_lock()
    )
}

/// Takes out configs that no webhook of their company has. Binds: the company, the number of rows.
pub(super) const REMOVE_CONFIGS: &str = "DELETE FROM company_configs WHERE company = $1 AND digest IN (SELECT c.digest \
    FROM company_configs c WHERE c.company = $1 AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.config_digest = c.digest \
    AND w.company = $1) AND NOT EXISTS (SELECT 1 FROM chain_transforms t WHERE t.config_digest = c.digest \
    AND t.company = $1) LIMIT $2) RETURNING digest";

/// Takes out versions that were removed up to an instant. Binds: the company, the instant, the number of rows.
pub(super) const REMOVE_VERSIONS: &str = "DELETE FROM plugin_versions WHERE company = $1 AND (name, digest) IN (SELECT name, digest \
    FROM plugin_versions WHERE company = $1 AND removed_at <= $2 ORDER BY name, digest LIMIT $3) RETURNING digest";

/// Takes out events that had deliveries and have none, should there be any: a removed company keeps nothing. It examines what another
/// company of this name has published since, once. Binds: the company, the first place that stays, the number of rows.
const REMOVE_STRAYS: &str = "DELETE FROM events WHERE (company, id) IN (SELECT company, id FROM events WHERE company = $1 \
    AND place < $2 LIMIT $3) RETURNING CAST(LENGTH(data) AS BIGINT)";

/// Finds a row of the log that is left, also one that another node is changing. Binds: the company, the first place that stays.
pub(super) fn left_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT id FROM event_deliveries WHERE company = $1 AND id < $2 UNION ALL \
         SELECT id FROM deliveries WHERE company = $1 AND id < $2 UNION ALL \
         SELECT place FROM events {}WHERE company = $1 AND place < $2 AND matched = 0 LIMIT 1",
        kind.index_hint("events_unmatched")
    )
}

impl Store {
    /// Makes the next step of a company's removal at `now`, milliseconds since 1970. `None`: it has ended, or another node makes
    /// this step.
    ///
    /// # Errors
    /// The database's.
    pub async fn removal_step(&self, company: String, now: i64) -> Result<Option<RemovalStep>, StoreError> {
        let (owner, usage, metrics) = (company.clone(), self.event_usage.clone(), self.metrics.clone());
        let work = transaction(move |connection| Box::pin(async move { Ok(step(connection, &company, now).await?) }));
        let webhooks = self.webhooks.clone();
        let count = move |done: &Option<(RemovalStep, RemovedRows)>| {
            if let Some((RemovalStep::Finished(FinishedRemoval { company, .. }), _)) = done {
                webhooks.invalidate_company(company);
            }
            if let Some((_, log)) = done {
                usage.removed(&owner, log.bytes);
                metrics.deliveries_ended(Status::Cancelled, u64::try_from(log.waiting).unwrap_or_default());
            }
        };
        Ok(self.writer.run(work, count).await?.map(|(step, _)| step))
    }
}

async fn step(
    connection: &mut DatabaseConnection,
    company: &str,
    now: i64,
) -> Result<Option<(RemovalStep, RemovedRows)>, sqlx::Error> {
    let Some(removal) = locked(connection, company).await? else { return Ok(None) };
    let removed = remove_some(connection, &removal).await?;
    if removed.is_any {
        let sql = "UPDATE company_removals SET events = events + $1, deliveries = deliveries + $2, bytes = bytes + $3, \
                   cancelled = cancelled + $4 WHERE company = $5";
        let query = db::query(sql).bind(removed.log.events).bind(removed.deliveries).bind(removed.log.bytes);
        query.bind(removed.log.waiting).bind(company).execute(connection).await?;
        return Ok(Some((RemovalStep::Removed(removed.versions), removed.log)));
    }
    let query = db::query(AssertSqlSafe(left_sql(connection.kind()))).bind(company).bind(removal.end.as_str());
    if query.fetch_optional(&mut *connection).await?.is_some() {
        return Ok(Some((RemovalStep::Waits, removed.log)));
    }
    match removal.emptied_at {
        // Whichever of the nodes' clocks is ahead.
        Some(emptied_at) if now.abs_diff(emptied_at) >= LATE_MS.unsigned_abs() => {
            policies::remove_of_company(connection, company, removal.created_at).await?;
            let finished = finish(connection, company).await?;
            notify(connection, &Change::Policies { company: company.to_owned() }).await?;
            Ok(Some((RemovalStep::Finished(finished), removed.log)))
        }
        Some(_) => Ok(Some((RemovalStep::Waits, removed.log))),
        None => {
            let query = db::query("UPDATE company_removals SET emptied_at = $1 WHERE company = $2").bind(now);
            query.bind(company).execute(connection).await?;
            Ok(Some((RemovalStep::Waits, removed.log)))
        }
    }
}

/// Locks a removal. `None`: there is none, or another node has it.
async fn locked(connection: &mut DatabaseConnection, company: &str) -> Result<Option<Removal>, sqlx::Error> {
    let sql = format!(
        "SELECT end_id, created_at, emptied_at FROM company_removals WHERE company = $1 {}",
        connection.kind().row_lock()
    );
    let Some(row) = db::query(AssertSqlSafe(sql)).bind(company).fetch_optional(connection).await? else {
        return Ok(None);
    };
    Ok(Some(Removal {
        company: company.to_owned(),
        end: row.try_get("end_id")?,
        created_at: row.try_get("created_at")?,
        emptied_at: row.try_get("emptied_at")?,
    }))
}

/// Removes the next few rows of one table. The log is first, because it names versions and configs; that of the version before
/// stands before the one into which its rows are moved meanwhile.
async fn remove_some(connection: &mut DatabaseConnection, removal: &Removal) -> Result<Removed, sqlx::Error> {
    let (company, end) = (removal.company.as_str(), removal.end.as_str());
    remove_ordered(connection, company, removal.created_at, "").await?;
    let earlier = remove_earlier(connection, company, end).await?;
    if earlier.is_any {
        return Ok(earlier);
    }
    let log = remove_deliveries(connection, company, end, &REMOVE_EVENTS).await?;
    if log.count > 0 {
        return Ok(Removed { deliveries: log.count, log, is_any: true, ..Removed::default() });
    }
    let log = remove_unmatched(connection, company, end).await?;
    if log.count > 0 {
        return Ok(Removed { log, is_any: true, ..Removed::default() });
    }
    // A webhook that is being stored may take a config, and an upload a version.
    connection.lock_exclusively().await?;
    let query = db::query(REMOVE_CONFIGS).bind(company).bind(CONFIG_STEP);
    let configs = query.values::<String>(&mut *connection).await?;
    if !configs.is_empty() {
        webhooks::configs::remove_unused(connection, &configs).await?;
        return Ok(Removed { is_any: true, ..Removed::default() });
    }
    let versions = remove_versions(connection, removal).await?;
    if versions.is_any || removal.emptied_at.is_some() {
        return Ok(versions);
    }
    let query = db::query(REMOVE_STRAYS).bind(company).bind(end).bind(STEP);
    let sizes = query.values::<i64>(connection).await?;
    Ok(Removed { log: removed_events(&sizes), is_any: !sizes.is_empty(), ..Removed::default() })
}

async fn remove_earlier(connection: &mut DatabaseConnection, company: &str, end: &str) -> Result<Removed, sqlx::Error> {
    let query = db::query(AssertSqlSafe(remove_earlier_sql(connection.kind()))).bind(company).bind(end).bind(STEP);
    let rows = query.fetch_all(&mut *connection).await?;
    let mut removed = Removed { is_any: !rows.is_empty(), ..Removed::default() };
    let mut ids = Vec::with_capacity(rows.len());
    for row in &rows {
        ids.push(row.try_get("id")?);
        removed.log.events += 1;
        removed.log.bytes += row.try_get::<i64>("bytes")?;
        removed.deliveries += i64::from(row.try_get::<Option<String>>("webhook_id")?.is_some());
        removed.log.waiting += i64::from(row.try_get::<String>("status")? == Status::Pending.name());
    }
    remove_attempts(connection, &ids).await?;
    Ok(removed)
}

async fn remove_versions(connection: &mut DatabaseConnection, removal: &Removal) -> Result<Removed, sqlx::Error> {
    let query = db::query(REMOVE_VERSIONS).bind(removal.company.as_str()).bind(removal.created_at).bind(VERSION_STEP);
    let digests = query.values::<String>(&mut *connection).await?;
    let unused = plugins::remove_unused_bytes(connection, &digests).await?;
    if !unused.is_empty() {
        notify(connection, &Change::PluginsRemoved { digests: unused.clone() }).await?;
    }
    let versions = unused.iter().map(|digest| Digest::stored(digest)).collect();
    Ok(Removed { is_any: !digests.is_empty(), versions, ..Removed::default() })
}

/// Ends a removal. The company may have events again.
async fn finish(connection: &mut DatabaseConnection, company: &str) -> Result<FinishedRemoval, sqlx::Error> {
    let sql = "DELETE FROM company_usage WHERE company = $1 AND NOT EXISTS (SELECT 1 FROM events WHERE company = $1)";
    db::query(sql).bind(company).execute(&mut *connection).await?;
    let sql =
        "DELETE FROM company_removals WHERE company = $1 RETURNING requested_by, events, deliveries, cancelled, bytes";
    let row = db::query(sql).bind(company).fetch_one(connection).await?;
    Ok(FinishedRemoval {
        company: company.to_owned(),
        by: row.try_get("requested_by")?,
        events: row.try_get("events")?,
        deliveries: row.try_get("deliveries")?,
        cancelled: row.try_get("cancelled")?,
        bytes: row.try_get("bytes")?,
    })
}
