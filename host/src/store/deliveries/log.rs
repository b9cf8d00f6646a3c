//! The delivery log: lists and single deliveries.

use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;

use super::log_walk::{LogEntry, LogIndex, LogPage, LogRange, LogSelection, merged};
use super::selection_sql::SelectionSql;
use crate::domain::delivery::{Attempt, DeliveryRecord, LastAttempt, Status, StatusFilter};
use crate::domain::delivery_selection::DeliverySelection;
use crate::domain::event::{Event, PING};
use crate::domain::subscription::is_pattern;
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::delivery_rows::{ID_END, event_from_row, first_id};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::readers::LogReader;

/// Selects the deliveries of a list. `None` does not filter.
#[derive(Debug, Default, Clone)]
pub struct DeliveryFilter {
    /// The conditions that they meet.
    pub selection: DeliverySelection,
    /// Selects those of the event with this id.
    pub event: Option<String>,
    /// Selects deliveries created at this instant or later: milliseconds since 1970.
    pub since: Option<i64>,
    /// Selects deliveries created before this instant: milliseconds since 1970.
    pub until: Option<i64>,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// The most entries.
    pub limit: u32,
    /// The id after which, in the list's order, the page begins.
    pub after: Option<String>,
}

impl PageRequest {
    /// Returns the part of the log in which the page and those after it are: `since` to `until`, milliseconds since 1970.
    pub(super) fn range<'c>(&self, company: &'c str, since: Option<i64>, until: Option<i64>) -> LogRange<'c> {
        let until = until.map_or_else(|| ID_END.into(), first_id);
        let before = self.after.clone().map_or(until.clone(), |after| after.min(until));
        LogRange { company, before, least: first_id(since.unwrap_or(0)) }
    }
}

pub(super) const LOG_COLUMNS: &str = "id, company, event_id, event_type, webhook_id, label, status, attempt_count, due, lease, \
                     created_at, finished_at, erased_at";

pub(super) const LAST_ATTEMPT_COLUMNS: &str =
    "a.started_at AS last_attempt_at, a.status_code AS last_status_code, a.error AS last_error";
/// Joins a subquery `d` of deliveries.
pub(super) const LAST_ATTEMPT_JOIN: &str =
    "LEFT JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempt_count";
/// Most attempts of one delivery that are shown: the last ones.
const SHOWN_ATTEMPTS: i64 = 100;
/// Most bytes of the attempts that are shown; the last one is shown in any case.
const SHOWN_ATTEMPT_BYTES: i64 = 1 << 20;

/// Finds the last attempts of a delivery, newest first, and their bytes. Binds: the delivery, its last attempt, the most attempts.
const ATTEMPT_SIZES: &str = "SELECT number, CAST(COALESCE(octet_length(error), 0) + COALESCE(octet_length(response_body), 0) \
    + COALESCE(octet_length(url), 0) + COALESCE(octet_length(request_headers), 0) + COALESCE(octet_length(response_headers), 0) \
    + COALESCE(octet_length(plugin), 0) AS BIGINT) AS bytes FROM attempts WHERE delivery_id = $1 AND number <= $2 \
    ORDER BY number DESC LIMIT $3";

/// Returns the statement of a page of the rows that meet `condition`; the last attempts are looked up for its rows alone. Binds as
/// [`LogIndex::rows_sql`], then the parameters of the condition.
pub(super) fn list_sql(index: &LogIndex, condition: &str, kind: DatabaseKind) -> String {
    let rows = index.rows_sql(kind, LOG_COLUMNS, condition);
    format!("SELECT d.*, {LAST_ATTEMPT_COLUMNS} FROM ({rows}) AS d {LAST_ATTEMPT_JOIN}")
}

pub(super) fn last_attempt_from_row(row: &DatabaseRow) -> Result<Option<LastAttempt>, sqlx::Error> {
    let Some(started_at) = row.try_get::<Option<i64>>("last_attempt_at")? else { return Ok(None) };
    let status_code: Option<i64> = row.try_get("last_status_code")?;
    let status_code = status_code.and_then(|code| u16::try_from(code).ok());
    Ok(Some(LastAttempt { started_at, status_code, error: row.try_get("last_error")? }))
}

pub(super) fn delivery_from_row(row: &DatabaseRow) -> Result<DeliveryRecord, sqlx::Error> {
    let status: String = row.try_get("status")?;
    let attempts: i64 = row.try_get("attempt_count")?;
    let lease: Option<String> = row.try_get("lease")?;
    let due: Option<i64> = row.try_get("due")?;
    Ok(DeliveryRecord {
        id: row.try_get("id")?,
        event_id: row.try_get("event_id")?,
        company: row.try_get("company")?,
        event_type: row.try_get("event_type")?,
        webhook: row.try_get("webhook_id")?,
        label: row.try_get("label")?,
        status: Status::named(&status).unwrap_or(Status::Pending),
        attempt_count: u32::try_from(attempts).unwrap_or(u32::MAX),
        // A leased delivery is being attempted or about to be; its `due` is the end of the lease.
        next_attempt_at: due.filter(|_| lease.is_none()),
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        erased_at: row.try_get("erased_at")?,
        last_attempt: None,
    })
}

impl LogEntry for DeliveryRecord {
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error> {
        Ok(Self { last_attempt: last_attempt_from_row(row)?, ..delivery_from_row(row)? })
    }

    fn row_id(&self) -> &str {
        &self.id
    }
}

/// Splits a selection into parts each of which goes along an index of its own: one for each status, or else one for each type.
fn parts(selection: &DeliverySelection) -> Vec<DeliverySelection> {
    let part = |statuses: &[StatusFilter], types: &[String]| DeliverySelection {
        statuses: statuses.to_vec(),
        types: types.to_vec(),
        ..selection.clone()
    };
    match (&selection.statuses[..], &selection.types[..]) {
        ([], [] | [_]) => vec![selection.clone()],
        ([], types) => types.chunks(1).map(|one| part(&[], one)).collect(),
        (statuses, types) => statuses.chunks(1).map(|one| part(one, types)).collect(),
    }
}

fn attempt_from_row(row: &DatabaseRow) -> Result<Attempt, sqlx::Error> {
    let number: i64 = row.try_get("number")?;
    let status_code: Option<i64> = row.try_get("status_code")?;
    let raw = |column| -> Result<Option<Box<RawValue>>, sqlx::Error> {
        let text: Option<String> = row.try_get(column)?;
        text.map(RawValue::from_string).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
    };
    Ok(Attempt {
        number: u32::try_from(number).unwrap_or(u32::MAX),
        started_at: row.try_get("started_at")?,
        duration_ms: row.try_get("duration_ms")?,
        status_code: status_code.and_then(|code| u16::try_from(code).ok()),
        error: row.try_get("error")?,
        response_body: row.try_get("response_body")?,
        url: row.try_get("url")?,
        request_headers: raw("request_headers")?,
        response_headers: raw("response_headers")?,
        plugin: raw("plugin")?,
    })
}

impl Store {
    /// Returns a page of a company's deliveries.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn deliveries(
        &self,
        company: &str,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<LogPage<DeliveryRecord>, StoreError> {
        let mut range = page.range(company, filter.since, filter.until);
        if let Some(event) = &filter.event {
            let Some(place) = self.place_of_event(company, event).await? else {
                return Ok(LogPage { entries: Vec::new(), next: None });
            };
            range = range.of_event(place);
        }
        let mut pages = Vec::new();
        for part in parts(&filter.selection) {
            let index = self.index(company, &part, &range).await?;
            let SelectionSql { sql, parameters } = SelectionSql::new(&part, 6);
            let sql = list_sql(&index, &sql, self.readers.kind());
            let selection = LogSelection { sql, index, range: range.clone(), parameters };
            pages.push(self.walk(selection, page.limit).await?);
        }
        Ok(merged(pages, page.limit as usize))
    }

    /// Returns the place of an event in the log.
    ///
    /// # Errors
    /// The database's.
    pub async fn place_of_event(&self, company: &str, event: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT place FROM events WHERE company = $1 AND id = $2";
        Ok(db::query(sql).bind(company).bind(event).value_if_any(&self.readers.look_ups).await?)
    }

    /// Returns the index along which to look for the deliveries of a list: of one type or any, and of one status or any.
    async fn index(
        &self,
        company: &str,
        selection: &DeliverySelection,
        range: &LogRange<'_>,
    ) -> Result<LogIndex, StoreError> {
        let by_type = match (selection.only_type(), &selection.webhook) {
            (Some(name), _) => Some(LogIndex::Type(name.to_owned())),
            (None, Some(id)) if selection.types.is_empty() => {
                let webhook = self.webhook(company, id).await?;
                let webhook = webhook.filter(|hook| hook.event_type != PING && !is_pattern(&hook.event_type));
                webhook.map(|webhook| LogIndex::TypeAndTests(webhook.event_type))
            }
            (None, _) => None,
        };
        let by_status = LogIndex::of(selection.only_status(), None);
        let Some(by_type) = by_type else { return Ok(by_status) };
        // A rare type finds all in one page, a common one is better than many rows of other types.
        let is_better = match by_status {
            LogIndex::Ended(_) | LogIndex::Pending => {
                !self.is_short(&by_status, range).await? && self.is_short(&by_type, range).await?
            }
            LogIndex::Retrying => false,
            _ => true,
        };
        Ok(if is_better { by_type } else { by_status })
    }

    /// Returns one delivery, without its event.
    ///
    /// # Errors
    /// The database's.
    pub async fn delivery_record(&self, company: &str, id: &str) -> Result<Option<DeliveryRecord>, StoreError> {
        let sql = format!(
            "SELECT d.*, {LAST_ATTEMPT_COLUMNS} FROM (SELECT {LOG_COLUMNS} FROM event_deliveries WHERE company = $1 AND id = $2) \
             AS d {LAST_ATTEMPT_JOIN}"
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(id);
        let row = query.fetch_optional(&self.readers.look_ups).await?;
        Ok(row.as_ref().map(DeliveryRecord::from_row).transpose()?)
    }

    /// Returns one delivery with its event, and its last attempts, oldest first: 100 at most, and no more than 1 MiB of them.
    /// An attempt that ended after the delivery was read is not among them.
    ///
    /// # Errors
    /// The database's.
    pub async fn delivery(
        &self,
        company: &str,
        id: &str,
    ) -> Result<Option<(DeliveryRecord, Event, Vec<Attempt>)>, StoreError> {
        let sql = format!(
            "SELECT d.*, e.occurred_at, e.headers, e.data FROM (SELECT {LOG_COLUMNS} FROM event_deliveries \
             WHERE company = $1 AND id = $2) AS d JOIN events e ON e.company = d.company AND e.id = d.event_id"
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(id);
        let log = self.log_reader(company).await?;
        let Some(row) = query.fetch_optional(&log).await? else {
            return Ok(None);
        };
        let attempts = last_attempts(&log, id, row.try_get("attempt_count")?).await?;
        let last_attempt = attempts.last().map(|last: &Attempt| LastAttempt {
            started_at: last.started_at,
            status_code: last.status_code,
            error: last.error.clone(),
        });
        let delivery = DeliveryRecord { last_attempt, ..delivery_from_row(&row)? };
        Ok(Some((delivery, event_from_row(&row)?, attempts)))
    }
}

/// Returns the attempts that are shown of a delivery with `count` attempts, oldest first.
async fn last_attempts(log: &LogReader<'_>, delivery: &str, count: i64) -> Result<Vec<Attempt>, StoreError> {
    let query = db::query(ATTEMPT_SIZES).bind(delivery).bind(count).bind(SHOWN_ATTEMPTS);
    let (mut first, mut sum) = (count, 0_i64);
    for row in query.fetch_all(log).await? {
        sum = sum.saturating_add(row.try_get("bytes")?);
        let number: i64 = row.try_get("number")?;
        if sum > SHOWN_ATTEMPT_BYTES && number < count {
            break;
        }
        first = number;
    }
    let sql = "SELECT number, started_at, duration_ms, status_code, error, response_body, url, request_headers, \
               response_headers, plugin FROM attempts WHERE delivery_id = $1 AND number >= $2 AND number <= $3 \
               ORDER BY number";
    let rows = db::query(sql).bind(delivery).bind(first).bind(count).fetch_all(log).await?;
    Ok(rows.iter().map(attempt_from_row).collect::<Result<_, _>>()?)
}
