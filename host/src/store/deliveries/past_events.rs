//! Past events: those of a plugin, for comparing two of its versions, and one of a type, as an example.

use sqlx::AssertSqlSafe;

use crate::domain::event::Event;
use crate::store::db;
use crate::store::delivery_rows::{CLAIMED_COLUMNS, ClaimedDelivery, ID_END, claimed_from_row, event_from_row};
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Most rows that one statement examines, whether or not they match: the log may be long, and matches rare.
const EXAMINED_ROWS: i64 = 1_000;
/// Most events read at once: 4 MiB if each has the largest size that the default settings allow.
const READ_STEP: i64 = 16;

/// A cursor over the events of a company for webhooks of one plugin, newest first.
pub struct PastEvents {
    company: String,
    plugin: String,
    webhook: Option<String>,
    /// The id before which the next step begins; `None` at the end.
    before: Option<String>,
}

impl PastEvents {
    /// Returns a cursor at the newest event; with a `webhook`, only over that webhook's events.
    pub fn new(company: &str, plugin: &str, webhook: Option<String>) -> Self {
        Self { company: company.into(), plugin: plugin.into(), webhook, before: Some(ID_END.into()) }
    }
}

impl Store {
    /// Returns the company's newest event of a type.
    ///
    /// # Errors
    /// The database's.
    pub async fn newest_event_of_type(&self, company: &str, event_type: &str) -> Result<Option<Event>, StoreError> {
        let sql = format!(
            "SELECT company, event_id, event_type, occurred_at, headers, data FROM deliveries {}\
             WHERE company = $1 AND event_type = $2 ORDER BY id DESC LIMIT 1",
            self.readers.kind().index_hint("deliveries_type")
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(event_type);
        let log = self.log_reader(company).await?;
        Ok(query.fetch_optional(&log).await?.as_ref().map(event_from_row).transpose()?)
    }

    /// Returns the next few events, possibly none; `None` at the end.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_past_events(
        &self,
        recorded: &mut PastEvents,
    ) -> Result<Option<Vec<ClaimedDelivery>>, StoreError> {
        let Some(before) = recorded.before.take() else {
            return Ok(None);
        };
        let log = self.log_reader(&recorded.company).await?;
        let sql = "SELECT MIN(id) FROM (SELECT id FROM deliveries WHERE company = $1 AND id < $2 ORDER BY id DESC \
                   LIMIT $3) AS looked_at";
        let query = db::query(sql).bind(recorded.company.as_str()).bind(before.as_str()).bind(EXAMINED_ROWS);
        let Some(floor): Option<String> = query.value(&log).await? else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT {CLAIMED_COLUMNS} FROM deliveries WHERE company = $1 AND id < $2 AND id >= $3 AND webhook_id IN \
             (SELECT w.id FROM webhooks w WHERE w.company = $1 AND w.plugin_name = $4 \
             AND (CAST($5 AS TEXT) IS NULL OR w.id = $5)) ORDER BY id DESC LIMIT $6"
        );
        let rows = db::query(AssertSqlSafe(sql))
            .bind(recorded.company.as_str())
            .bind(before.as_str())
            .bind(floor.as_str())
            .bind(recorded.plugin.as_str())
            .bind(recorded.webhook.as_deref())
            .bind(READ_STEP)
            .fetch_all(&log)
            .await?;
        let found = rows.iter().map(claimed_from_row).collect::<Result<Vec<_>, _>>()?;
        let exhausted = i64::try_from(found.len()).is_ok_and(|count| count < READ_STEP);
        recorded.before = if exhausted { Some(floor) } else { found.last().map(|last| last.id.clone()) };
        Ok(Some(found))
    }
}
