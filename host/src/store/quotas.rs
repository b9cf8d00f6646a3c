//! The quotas of companies: their limits, what is used of them, and refusing what goes beyond.

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseConnection, QueryTarget};
use super::error::StoreError;
use super::handle::Store;
use super::writer::transaction;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::quota::{Quota, QuotaUsage, Quotas};

/// A limit of a company that differs from that of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaChange {
    /// The quota.
    pub quota: Quota,
    /// The new limit, in its unit; `None`: that of all others again.
    pub limit: Option<u64>,
}

/// Returns the statement that counts what a company uses. Binds: the company.
fn used_sql(quota: Quota) -> &'static str {
    match quota {
        Quota::Webhooks => "SELECT COUNT(*) FROM webhooks WHERE company = $1",
        Quota::Plugins => "SELECT COUNT(*) FROM plugins WHERE company = $1",
        Quota::PluginVersions => {
            "SELECT COALESCE(MAX(versions), 0) FROM (SELECT COUNT(*) AS versions FROM plugin_versions \
             WHERE company = $1 AND removed_at IS NULL GROUP BY name) AS plugins"
        }
        Quota::PluginBytes => "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM plugin_versions WHERE company = $1",
        Quota::ConfigBytes => {
            "SELECT CAST(COALESCE(SUM(bytes + 1024), 0) AS BIGINT) FROM company_configs WHERE company = $1"
        }
        Quota::EventTypes => "SELECT COUNT(*) FROM event_types WHERE company = $1",
        Quota::EventBytes => "SELECT COALESCE(MAX(event_bytes), 0) FROM company_usage WHERE company = $1",
    }
}

/// What makes room, for the text of a refusal.
fn remedy(quota: Quota) -> &'static str {
    match quota {
        Quota::Webhooks => "remove one first",
        Quota::Plugins => "remove one first: DELETE /plugins/{name}",
        Quota::PluginVersions => "remove one first: DELETE /plugins/{name}/versions/{digest}",
        Quota::PluginBytes => {
            "remove versions; their bytes count until retention has removed the attempts that name them"
        }
        Quota::ConfigBytes => {
            "use smaller configs; earlier ones count until retention has removed the attempts that name them"
        }
        Quota::EventTypes => "remove one first: DELETE /event-types/{type}",
        Quota::EventBytes => "wait until retention has removed some; nothing of this event was stored",
    }
}

/// Returns the refusal of what goes beyond `limit`.
fn exceeded(quota: Quota, limit: u64) -> CompanyLimit {
    let what = match quota {
        Quota::Webhooks => format!("{limit} webhooks"),
        Quota::Plugins => format!("{limit} plugins"),
        Quota::PluginVersions => format!("{limit} versions of one plugin"),
        Quota::PluginBytes => format!("{limit} bytes of plugins"),
        Quota::ConfigBytes => format!("{limit} bytes of configs, each counting 1 KiB more"),
        Quota::EventTypes => format!("{limit} event types"),
        Quota::EventBytes => format!("about {limit} bytes of events"),
    };
    let detail = format!("this company may have {what}: {}, or ask the operator for more", remedy(quota));
    CompanyLimit::stored(quota.name(), detail)
}

async fn limit(
    database: impl Into<QueryTarget<'_>>,
    company: &str,
    quota: Quota,
    quotas: &Quotas,
) -> Result<u64, sqlx::Error> {
    let sql = "SELECT value FROM company_limits WHERE company = $1 AND name = $2";
    let own: Option<i64> = db::query(sql).bind(company).bind(quota.name()).value_if_any(database).await?;
    Ok(own.and_then(|own| u64::try_from(own).ok()).unwrap_or_else(|| quotas.of(quota)))
}

/// Checks a quota after something was stored, within the transaction.
///
/// # Errors
/// [`StoreError::Limit`]: the company now has more than it may.
pub(super) async fn check(
    connection: &mut DatabaseConnection,
    company: &str,
    quota: Quota,
    quotas: &Quotas,
) -> Result<(), StoreError> {
    let used: i64 = db::query(used_sql(quota)).bind(company).value(&mut *connection).await?;
    check_used(connection, company, (quota, used), quotas).await
}

/// As [`check`], if what is `used` of the quota has been counted already.
///
/// # Errors
/// As [`check`].
pub(super) async fn check_used(
    connection: &mut DatabaseConnection,
    company: &str,
    (quota, used): (Quota, i64),
    quotas: &Quotas,
) -> Result<(), StoreError> {
    let limit = limit(connection, company, quota, quotas).await?;
    if u64::try_from(used).unwrap_or(0) > limit { Err(exceeded(quota, limit).into()) } else { Ok(()) }
}

impl Store {
    /// Returns what a company uses of each quota.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn quota_usage(&self, company: &str) -> Result<Vec<QuotaUsage>, StoreError> {
        let log = self.log_reader(company).await?;
        let mut all = Vec::with_capacity(Quota::ALL.len());
        for quota in Quota::ALL {
            let limit = limit(&log, company, quota, &self.quotas).await?;
            let stored: i64 = db::query(used_sql(quota)).bind(company).value(&log).await?;
            let unwritten = if quota == Quota::EventBytes { self.event_usage.unwritten(company) } else { 0 };
            let used = u64::try_from(stored.saturating_add(unwritten)).unwrap_or(0);
            all.push(QuotaUsage { quota, used, limit });
        }
        Ok(all)
    }

    /// Changes limits of one company.
    ///
    /// # Errors
    /// The database's.
    pub async fn change_quotas(&self, company: String, changes: Vec<QuotaChange>) -> Result<(), StoreError> {
        let work = transaction(move |connection| {
            Box::pin(async move {
                for QuotaChange { quota, limit } in changes {
                    let Some(limit) = limit else {
                        let query = db::query("DELETE FROM company_limits WHERE company = $1 AND name = $2");
                        query.bind(company.as_str()).bind(quota.name()).execute(&mut *connection).await?;
                        continue;
                    };
                    let sql = "INSERT INTO company_limits (company, name, value) VALUES ($1, $2, $3) \
                               ON CONFLICT (company, name) DO UPDATE SET value = excluded.value";
                    let query = db::query(sql).bind(company.as_str()).bind(quota.name());
                    query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        self.writer.run(work, |()| ()).await?;
        // The limits are stored: an error must not look as if they were not. They are looked up again within seconds.
        let _ = self.update_event_usage().await;
        Ok(())
    }

    /// Refuses an event of a company that had more bytes of events than it may when this was last looked up, a few seconds ago.
    ///
    /// # Errors
    /// [`StoreError::Limit`].
    pub fn check_event_quota(&self, company: &str) -> Result<(), StoreError> {
        match self.event_usage.full(company) {
            Some(limit) => Err(exceeded(Quota::EventBytes, limit).into()),
            None => Ok(()),
        }
    }

    /// Adds to the database what this process has stored and removed of events since it did so last, and looks up which
    /// companies have more than they may.
    ///
    /// # Errors
    /// The database's.
    pub async fn update_event_usage(&self) -> Result<(), StoreError> {
        let changes = self.event_usage.take();
        if !changes.is_empty() {
            let adding = changes.clone();
            let work = transaction(move |connection| {
                Box::pin(async move {
                    // Nodes change the same rows.
                    connection.lock_exclusively().await?;
                    for (company, bytes) in adding {
                        // What is counted late of a company that has been removed brings it back no more.
                        let sql = "INSERT INTO company_usage (company, event_bytes) SELECT CAST($1 AS TEXT), \
                                   CASE WHEN CAST($2 AS BIGINT) > 0 THEN CAST($2 AS BIGINT) ELSE 0 END \
                                   WHERE EXISTS (SELECT 1 FROM events WHERE company = $1) ON CONFLICT (company) DO UPDATE SET event_bytes = CASE WHEN company_usage.event_bytes + $2 > 0 \
                                   THEN company_usage.event_bytes + $2 ELSE 0 END";
                        db::query(sql).bind(company).bind(bytes).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            });
            if let Err(error) = self.writer.run(work, |()| ()).await {
                self.event_usage.put_back(changes);
                return Err(error);
            }
        }
        self.refresh_event_quotas().await
    }

    async fn refresh_event_quotas(&self) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT u.company, COALESCE(l.value, $1) AS value FROM company_usage u LEFT JOIN company_limits l \
             ON l.company = u.company AND l.name = '{}' WHERE u.event_bytes >= COALESCE(l.value, $1)",
            Quota::EventBytes.name()
        );
        let limit = i64::try_from(self.quotas.event_bytes).unwrap_or(i64::MAX);
        let rows = db::query(AssertSqlSafe(sql)).bind(limit).fetch_all(&self.readers.background).await?;
        let full = rows.iter().map(|row| {
            let limit: i64 = row.try_get("value")?;
            Ok((row.try_get("company")?, u64::try_from(limit).unwrap_or(0)))
        });
        self.event_usage.set_full(full.collect::<Result<_, sqlx::Error>>()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_limit_and_what_makes_room() {
        for quota in Quota::ALL {
            let limit = exceeded(quota, 7);
            assert_eq!(limit.name, quota.name());
            assert!(limit.detail.contains('7') && limit.detail.contains("ask the operator"), "{limit}");
        }
    }
}
