//! Events, with or without a delivery, as the API shows them.

use sqlx::AssertSqlSafe;

use super::log::{LAST_ATTEMPT_COLUMNS, LAST_ATTEMPT_JOIN, LOG_COLUMNS, PageRequest};
use super::log_walk::{LogEntry, LogIndex, LogPage, LogSelection};
use crate::domain::delivery::DeliveryRecord;
use crate::domain::event::Event;
use crate::domain::id;
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::{EVENT_COLUMNS, event_from_row};
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
    /// When its data was erased, milliseconds since 1970.
    pub erased_at: Option<i64>,
    /// Its first delivery; `None`: nobody subscribed.
    pub delivery_id: Option<String>,
}

/// One event with its deliveries.
#[derive(Debug, Clone)]
pub struct EventDetail {
    /// The event; without data and headers if they were erased.
    pub event: Event,
    /// When it was accepted, milliseconds since 1970.
    pub created_at: i64,
    /// When its data was erased, milliseconds since 1970.
    pub erased_at: Option<i64>,
    /// Its deliveries, none if nobody subscribed.
    pub deliveries: Vec<DeliveryRecord>,
}

const RECORD_COLUMNS: &str = "place, company, id AS event_id, event_type, occurred_at, created_at, erased_at, matched";

/// Most deliveries that are shown of one event: as many as it can have at first, and as many again that a replay added.
const SHOWN_DELIVERIES: i64 = 200;

/// Returns the statement of a page. Binds as [`LogIndex::rows_sql`].
///
/// An event with deliveries is found by the first of them: the one whose id is its place.
pub(super) fn events_sql(index: &LogIndex, kind: DatabaseKind) -> String {
    let of_type = match index {
        LogIndex::Unmatched(_) => return index.rows_sql(kind, RECORD_COLUMNS, "1 = 1"),
        LogIndex::Type(name) => Some(name.clone()),
        _ => None,
    };
    format!(
        "SELECT e.place, e.company, e.id AS event_id, e.event_type, e.occurred_at, e.created_at, e.erased_at, \
         e.matched FROM ({}) AS d \
         JOIN events e ON e.company = d.company AND e.id = d.event_id UNION ALL {}",
        index.rows_sql(kind, "company, id, event_id", &format!("LENGTH(id) = {}", id::LENGTH)),
        LogIndex::Unmatched(of_type).rows_sql(kind, RECORD_COLUMNS, "1 = 1")
    )
}

impl LogEntry for EventRecord {
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error> {
        let (place, matched): (String, i64) = (row.try_get("place")?, row.try_get("matched")?);
        Ok(Self {
            id: row.try_get("event_id")?,
            company: row.try_get("company")?,
            event_type: row.try_get("event_type")?,
            occurred_at: row.try_get("occurred_at")?,
            created_at: row.try_get("created_at")?,
            erased_at: row.try_get("erased_at")?,
            delivery_id: (matched == 1).then(|| place.clone()),
            row_id: place,
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
            of_type if filter.unmatched => LogIndex::Unmatched(of_type.clone()),
            Some(name) => LogIndex::Type(name.clone()),
            None => LogIndex::Everything,
        };
        let selection = LogSelection {
            sql: events_sql(&index, self.readers.kind()),
            index,
            range: page.range(company, filter.since, filter.until),
            parameters: Vec::new(),
        };
        self.walk(selection, page.limit).await
    }

    /// Returns one event by its own id.
    ///
    /// # Errors
    /// The database's.
    pub async fn event(&self, company: &str, event_id: &str) -> Result<Option<EventDetail>, StoreError> {
        let log = self.log_reader(company).await?;
        let sql =
            format!("SELECT {EVENT_COLUMNS}, place, created_at, erased_at FROM events WHERE company = $1 AND id = $2");
        let Some(row) = db::query(AssertSqlSafe(sql)).bind(company).bind(event_id).fetch_optional(&log).await? else {
            return Ok(None);
        };
        let place: String = row.try_get("place")?;
        let sql = format!(
            "SELECT d.*, {LAST_ATTEMPT_COLUMNS} FROM (SELECT {LOG_COLUMNS} FROM event_deliveries \
             WHERE company = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT $4) AS d {LAST_ATTEMPT_JOIN}"
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(place.as_str());
        let rows = query.bind(id::deliveries_end(&place)).bind(SHOWN_DELIVERIES).fetch_all(&log).await?;
        let mut deliveries = rows.iter().map(DeliveryRecord::from_row).collect::<Result<Vec<_>, _>>()?;
        deliveries.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Some(EventDetail {
            event: event_from_row(&row)?,
            created_at: row.try_get("created_at")?,
            erased_at: row.try_get("erased_at")?,
            deliveries,
        }))
    }

    /// Returns an event, for the attempt of a delivery. `None`: it is no longer there, or was erased.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_to_send(&self, company: &str, event_id: &str) -> Result<Option<Event>, StoreError> {
        let sql = format!("SELECT {EVENT_COLUMNS} FROM events WHERE company = $1 AND id = $2 AND erased_at IS NULL");
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(event_id);
        Ok(query.fetch_optional(&self.readers.background).await?.as_ref().map(event_from_row).transpose()?)
    }
}
