//! Past events: those of a plugin, for comparing two of its versions, and one of a type, as an example.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::events_of::{DELIVERY_COLUMNS, claimed_delivery};
use crate::domain::event::Event;
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::{ClaimedDelivery, EVENT_COLUMNS, ID_END, event_from_row};
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

/// Returns the statement that finds the newest event of a type that was not erased, with a delivery or without. Binds: the company, the type.
pub(super) fn newest_of_type_sql(kind: DatabaseKind) -> String {
    format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE company = $1 AND id = (SELECT id FROM (\
         SELECT event_id AS id, place, erased_at FROM (SELECT event_id, id AS place, erased_at FROM event_deliveries {}\
         WHERE company = $1 AND event_type = $2 ORDER BY event_deliveries.id DESC LIMIT {EXAMINED_ROWS}) AS matched \
         UNION ALL SELECT * FROM (SELECT id, place, erased_at FROM events {}WHERE company = $1 AND event_type = $2 \
         AND matched = 0 ORDER BY place DESC LIMIT {EXAMINED_ROWS}) AS unmatched) AS newest WHERE erased_at IS NULL \
         ORDER BY place DESC LIMIT 1)",
        kind.index_hint("event_deliveries_type"),
        kind.index_hint("events_unmatched_type")
    )
}

fn claimed_from_row(row: &DatabaseRow) -> Result<ClaimedDelivery, sqlx::Error> {
    claimed_delivery(row, Arc::new(event_from_row(row)?))
}

impl Store {
    /// Returns the company's newest event of a type, among the last [`EXAMINED_ROWS`] deliveries of that type.
    ///
    /// # Errors
    /// The database's.
    pub async fn newest_event_of_type(&self, company: &str, event_type: &str) -> Result<Option<Event>, StoreError> {
        let log = self.log_reader(company).await?;
        let query = db::query(AssertSqlSafe(newest_of_type_sql(log.kind()))).bind(company).bind(event_type);
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
        let sql = "SELECT MIN(id) FROM (SELECT id FROM event_deliveries WHERE company = $1 AND id < $2 ORDER BY id DESC \
                   LIMIT $3) AS looked_at";
        let query = db::query(sql).bind(recorded.company.as_str()).bind(before.as_str()).bind(EXAMINED_ROWS);
        let Some(floor): Option<String> = query.value(&log).await? else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT d.*, e.event_type, e.occurred_at, e.headers, e.data FROM (SELECT {DELIVERY_COLUMNS} \
             FROM event_deliveries WHERE company = $1 AND id < $2 AND id >= $3 AND erased_at IS NULL AND webhook_id IN \
             (SELECT w.id FROM webhooks w WHERE w.company = $1 AND w.plugin_name = $4 \
             AND (CAST($5 AS TEXT) IS NULL OR w.id = $5) UNION ALL SELECT t.holder FROM chain_transforms t \
             WHERE t.company = $1 AND t.plugin_name = $4 AND (CAST($5 AS TEXT) IS NULL OR t.holder = $5)) ORDER BY id DESC LIMIT $6) AS d \
             JOIN events e ON e.company = d.company AND e.id = d.event_id ORDER BY d.id DESC"
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
