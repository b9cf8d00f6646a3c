//! Past events, read again to try a plugin on them.

use sqlx::AssertSqlSafe;

use super::super::db;
use super::{COLUMNS, Claimed, claimed};
use crate::store::{Store, StoreError};

/// Rows that one statement looks at, whether or not they are wanted: the log may be long, and what is wanted rare.
const LOOKED_AT: i64 = 1_000;
/// Events read at once: 4 MiB where each is as large as it may be by default.
const READ: i64 = 16;

/// Events of a company that went to webhooks of one plugin, newest first.
pub struct Recorded {
    company: String,
    plugin: String,
    webhook: Option<String>,
    /// The id before which to go on; `None` at the end.
    before: Option<String>,
}

impl Recorded {
    /// From the newest on; those of one webhook alone, where it is given.
    pub fn new(company: &str, plugin: &str, webhook: Option<String>) -> Self {
        Self { company: company.into(), plugin: plugin.into(), webhook, before: Some("dlv_~".into()) }
    }
}

impl Store {
    /// The next few, which may be none; `None` when there are no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_recorded(&self, recorded: &mut Recorded) -> Result<Option<Vec<Claimed>>, StoreError> {
        let Some(before) = recorded.before.take() else {
            return Ok(None);
        };
        let sql = "SELECT MIN(id) FROM (SELECT id FROM deliveries WHERE company = $1 AND id < $2 ORDER BY id DESC \
                   LIMIT $3) AS looked_at";
        let query = db::query(sql).bind(recorded.company.as_str()).bind(before.as_str()).bind(LOOKED_AT);
        let Some(floor): Option<String> = query.value(&self.readers).await? else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE company = $1 AND id < $2 AND id >= $3 AND webhook_id IN \
             (SELECT w.id FROM webhooks w WHERE w.company = $1 AND w.plugin_name = $4 \
             AND (CAST($5 AS TEXT) IS NULL OR w.id = $5)) ORDER BY id DESC LIMIT $6"
        );
        let rows = db::query(AssertSqlSafe(sql))
            .bind(recorded.company.as_str())
            .bind(before.as_str())
            .bind(floor.as_str())
            .bind(recorded.plugin.as_str())
            .bind(recorded.webhook.as_deref())
            .bind(READ)
            .fetch_all(&self.readers)
            .await?;
        let found = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
        let whole = i64::try_from(found.len()).is_ok_and(|count| count < READ);
        recorded.before = if whole { Some(floor) } else { found.last().map(|last| last.id.clone()) };
        Ok(Some(found))
    }
}
