//! Events, with or without a delivery, as the API shows them.

use sqlx::AssertSqlSafe;

use super::log::{LAST_ATTEMPT_COLUMNS, LAST_ATTEMPT_JOIN, LOG_COLUMNS, PageRequest};
use super::log_walk::{LogEntry, LogIndex, LogPage, LogSelection};
use crate::domain::delivery::DeliveryRecord;
use crate::domain::event::Event;
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::event_from_row;
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Selects the events of a list. `None` does not filter.
#[derive(Debug, Default, Clone)]
pub struct EventFilter {
    /// The event type.
    pub event_type: Option<String>,
    /// Selects events accepted at this instant or later: milliseconds since 1970.
    pub since: Option<i64>,
    /// Selects events accepted before this instant: milliseconds since 1970.
    pub until: Option<i64>,
    /// Selects only events for whose type nobody subscribed.
    pub unmatched: bool,
}

/// An event in a list.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// The id of its row, which is its place in the list.
    pub row_id: String,
    /// The event's id.
    pub id: String,
    /// The company.
    pub company: String,
    /// The type.
    pub event_type: String,
    /// When it happened, milliseconds since 1970.
    pub occurred_at: i64,
    /// When it was accepted, milliseconds since 1970.
    pub created_at: i64,
    /// Its delivery; `None`: nobody subscribed.
    pub delivery_id: Option<String>,
}

/// One event, and its delivery if somebody subscribed.
#[derive(Debug, Clone)]
pub struct EventDetail {
    /// The event.
    pub event: Event,
    /// When it was accepted, milliseconds since 1970.
    pub created_at: i64,
    /// Its delivery.
    pub delivery: Option<DeliveryRecord>,
}

const EVENT_COLUMNS: &str = "id, company, event_id, event_type, occurred_at, created_at, \
                             CAST(CASE WHEN webhook_id IS NULL THEN 0 ELSE 1 END AS BIGINT) AS routed";

/// Binds: the type.
const CONDITION: &str = "(CAST($6 AS TEXT) IS NULL OR event_type = $6)";

/// Returns the statement of a page. Binds as [`LogIndex::rows_sql`], then as [`CONDITION`].
pub(super) fn events_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    index.rows_sql(kind, EVENT_COLUMNS, CONDITION)
}

impl LogEntry for EventRecord {
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error> {
        let (row_id, routed): (String, i64) = (row.try_get("id")?, row.try_get("routed")?);
        Ok(Self {
            id: row.try_get("event_id")?,
            company: row.try_get("company")?,
            event_type: row.try_get("event_type")?,
            occurred_at: row.try_get("occurred_at")?,
            created_at: row.try_get("created_at")?,
            delivery_id: (routed == 1).then(|| row_id.clone()),
            row_id,
        })
    }

    fn row_id(&self) -> &str {
        &self.row_id
    }
}

impl Store {
    /// Returns a page of a company's events.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn events(
        &self,
        company: &str,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<LogPage<EventRecord>, StoreError> {
        let index = match &filter.event_type {
            _ if filter.unmatched => LogIndex::Unmatched,
            Some(name) => LogIndex::Type(name.clone()),
            None => LogIndex::Everything,
        };
        let selection = LogSelection {
            sql: events_sql(&index, self.readers.kind()),
            index,
            range: page.range(company, filter.since, filter.until),
            parameters: vec![filter.event_type.clone()],
        };
        self.walk(selection, page.limit).await
    }

    /// Returns one event by its own id.
    ///
    /// # Errors
    /// The database's.
    pub async fn event(&self, company: &str, event_id: &str) -> Result<Option<EventDetail>, StoreError> {
        let sql = format!(
            "SELECT d.*, {LAST_ATTEMPT_COLUMNS} FROM (SELECT {LOG_COLUMNS}, occurred_at, headers, data FROM deliveries \
             WHERE company = $1 AND event_id = $2) AS d {LAST_ATTEMPT_JOIN}"
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(event_id);
        let log = self.log_reader(company).await?;
        let Some(row) = query.fetch_optional(&log).await? else {
            return Ok(None);
        };
        let delivery = match row.try_get::<Option<String>>("webhook_id")? {
            Some(_) => Some(DeliveryRecord::from_row(&row)?),
            None => None,
        };
        Ok(Some(EventDetail { event: event_from_row(&row)?, created_at: row.try_get("created_at")?, delivery }))
    }

    /// Returns the event of a delivery, for its attempt. `None`: the delivery is no longer there.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_to_send(&self, company: &str, delivery_id: &str) -> Result<Option<Event>, StoreError> {
        let sql = "SELECT company, event_id, event_type, occurred_at, headers, data FROM deliveries \
                   WHERE company = $1 AND id = $2";
        let query = db::query(sql).bind(company).bind(delivery_id);
        Ok(query.fetch_optional(&self.readers.background).await?.as_ref().map(event_from_row).transpose()?)
    }
}
