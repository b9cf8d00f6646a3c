//! Walks over the delivery log, newest first, along the index that fits a filter best. A request examines a bounded number of
//! rows, however few of them match.

use sqlx::AssertSqlSafe;

use crate::domain::delivery::{Status, StatusFilter};
use crate::domain::event::PING;
use crate::domain::id;
use crate::store::db::{self, DatabaseKind, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::readers::LogReader;

/// Most rows that the steps of one request examine. The first is small because most requests fill their page from it.
const STEPS: [i64; 3] = [500, 2_000, 7_500];

/// Rows that one statement examines to count those of a selection.
const COUNT_STEP: i64 = 10_000;

/// The index along which a walk goes, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogIndex {
    /// Every event.
    Everything,
    /// Those of one type.
    Type(String),
    /// Those of one type, and the tests: those that a webhook of this type can have.
    TypeAndTests(String),
    /// The failed, filtered or cancelled deliveries.
    Ended(Status),
    /// The pending deliveries that are in no node's memory.
    Pending,
    /// Those of [`LogIndex::Pending`] that have failed at least once.
    Retrying,
    /// The events without a delivery, perhaps of one type.
    Unmatched(Option<String>),
}

impl LogIndex {
    /// Returns the index for deliveries of a status and of a type.
    pub(super) fn of(status: Option<StatusFilter>, event_type: Option<&str>) -> Self {
        match (status, event_type) {
            (Some(StatusFilter::Retrying), _) => Self::Retrying,
            (Some(StatusFilter::Is(Status::Pending)), _) => Self::Pending,
            (Some(StatusFilter::Is(status @ (Status::Failed | Status::Filtered | Status::Cancelled))), _) => {
                Self::Ended(status)
            }
            (Some(StatusFilter::Is(Status::Delivered)) | None, Some(name)) => Self::Type(name.into()),
            (Some(StatusFilter::Is(Status::Delivered)) | None, None) => Self::Everything,
        }
    }

    /// Returns the condition that selects this index; `key` is the parameter that holds its key.
    ///
    /// Statuses are literals, because SQLite uses a partial index only if it can see that its condition holds.
    pub(super) fn condition(&self, key: &str) -> String {
        let keyless = format!("CAST({key} AS TEXT) IS NULL");
        match self {
            Self::Everything => keyless,
            Self::Type(_) | Self::TypeAndTests(_) => format!("event_type = {key}"),
            Self::Ended(_) => format!("status IN ('failed', 'filtered', 'cancelled') AND status = {key}"),
            Self::Pending => format!("{keyless} AND status = 'pending' AND lease IS NULL"),
            Self::Retrying => {
                format!("{keyless} AND status = 'pending' AND lease IS NULL AND attempt_count > attempt_base")
            }
            Self::Unmatched(None) => format!("{keyless} AND matched = 0"),
            Self::Unmatched(Some(_)) => format!("matched = 0 AND event_type = {key}"),
        }
    }

    /// Returns the hint for this index.
    pub(super) fn hint(&self, kind: DatabaseKind) -> String {
        let name = match self {
            // The primary key.
            Self::Everything => return String::new(),
            Self::Type(_) | Self::TypeAndTests(_) => "event_deliveries_type",
            Self::Ended(_) => "event_deliveries_ended",
            Self::Pending => "event_deliveries_pending",
            Self::Retrying => "event_deliveries_retrying",
            Self::Unmatched(None) => "events_unmatched",
            Self::Unmatched(Some(_)) => "events_unmatched_type",
        };
        kind.index_hint(name)
    }

    /// Returns the table, and its column that orders the log.
    fn table(&self) -> (&'static str, &'static str) {
        match self {
            Self::Unmatched(_) => ("events", "place"),
            _ => ("event_deliveries", "id"),
        }
    }

    /// Returns the key.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Type(name) | Self::TypeAndTests(name) | Self::Unmatched(Some(name)) => Some(name),
            Self::Ended(status) => Some(status.name()),
            Self::Everything | Self::Pending | Self::Retrying | Self::Unmatched(None) => None,
        }
    }

    /// Returns the statement that selects `columns` of the rows of one step that meet `condition`; its rows come in no
    /// particular order. Binds: the company, the id before which the step begins, its least id, the number of rows, the key.
    /// `condition` may use further parameters.
    pub(super) fn rows_sql(&self, kind: DatabaseKind, columns: &str, condition: &str) -> String {
        let (table, id) = self.table();
        let select = |hint: String, index: &str| {
            format!(
                "SELECT * FROM (SELECT {columns} FROM {table} {hint}WHERE company = $1 AND {id} < $2 AND {id} >= $3 \
                 AND {index} AND {condition} ORDER BY {id} DESC LIMIT $4) AS rows_of_index"
            )
        };
        let rows = select(self.hint(kind), &self.condition("$5"));
        // These are few, whatever the size of the log: the rows in some node's memory, and the tests, which people make.
        let (hint, few) = match self {
            Self::Pending => ("event_deliveries_leased", "lease IS NOT NULL".to_owned()),
            Self::Retrying => {
                ("event_deliveries_leased", "lease IS NOT NULL AND attempt_count > attempt_base".to_owned())
            }
            Self::TypeAndTests(_) => ("event_deliveries_type", format!("event_type = '{PING}'")),
            _ => return rows,
        };
        format!("{rows} UNION ALL {}", select(kind.index_hint(hint), &few))
    }

    /// Finds the last row that a step examines, and how many it examines. Binds: the company, the id before which the step
    /// begins, the least id, the most rows, the key.
    pub(super) fn floor_sql(&self, kind: DatabaseKind) -> String {
        let (table, id) = self.table();
        format!(
            "SELECT MIN({id}) AS floor, COUNT(*) AS examined FROM (SELECT {id} FROM {table} {}WHERE company = $1 \
             AND {id} < $2 AND {id} >= $3 AND {} ORDER BY {id} DESC LIMIT $4) AS examined_rows",
            self.hint(kind),
            self.condition("$5")
        )
    }

    /// Finds the last row that a step of a replay or of a cancellation examines, from the oldest on. Binds: the company, the id
    /// at which the step begins, the id before which all ends, the most rows, the key.
    pub(super) fn step_end_sql(&self, kind: DatabaseKind) -> String {
        format!(
            "SELECT MAX(id) FROM (SELECT id FROM event_deliveries {}WHERE company = $1 AND id >= $2 AND id < $3 AND {} \
             ORDER BY id LIMIT $4) AS looked_at",
            self.hint(kind),
            self.condition("$5")
        )
    }
}

/// Which events to find.
#[derive(Debug, Clone, Copy)]
pub(super) enum OldestEvents {
    All,
    NotErased,
}

/// Returns the statement that finds the next events of a company from the oldest on, those with deliveries by the first of them, which
/// has the place of the event for an id, and those without. Selects the place, the event's id, its type, its creation and when it was
/// erased. Binds: the company, the first place, the place before which to stop, the number of events, the type or NULL.
pub(super) fn oldest_events_sql(event_type: Option<&str>, which: OldestEvents, kind: DatabaseKind) -> String {
    // A transient delivery may be erased before its event.
    const ERASED_AT: &str = "CASE WHEN erased_at IS NULL THEN NULL ELSE (SELECT e.erased_at FROM events e WHERE e.company = $1 \
        AND e.id = event_deliveries.event_id) END";
    const COLUMNS: &str = "event_type, created_at";
    let kept = |erased_at: &str| match which {
        OldestEvents::All => "1 = 1".to_owned(),
        OldestEvents::NotErased => format!("{erased_at} IS NULL"),
    };
    let matched = event_type.map_or(LogIndex::Everything, |name| LogIndex::Type(name.into()));
    let unmatched = LogIndex::Unmatched(event_type.map(str::to_owned));
    format!(
        "SELECT * FROM (SELECT * FROM (SELECT id AS place, event_id, {COLUMNS}, {ERASED_AT} AS erased_at FROM event_deliveries \
         {}WHERE company = $1 AND id >= $2 AND id < $3 AND {} AND LENGTH(id) = {} AND {} ORDER BY id LIMIT $4) AS matched \
         UNION ALL SELECT * FROM (SELECT place, id AS event_id, {COLUMNS}, erased_at FROM events {}WHERE company = $1 \
         AND place >= $2 AND place < $3 AND {} AND {} ORDER BY place LIMIT $4) AS unmatched) AS oldest \
         ORDER BY place LIMIT $4",
        matched.hint(kind),
        matched.condition("$5"),
        id::LENGTH,
        kept(ERASED_AT),
        unmatched.hint(kind),
        unmatched.condition("$5"),
        kept("erased_at")
    )
}

/// The part of a company's log from the id `least` up to, but without, the id `before`.
#[derive(Debug, Clone)]
pub(super) struct LogRange<'c> {
    pub(super) company: &'c str,
    pub(super) before: String,
    pub(super) least: String,
}

impl<'c> LogRange<'c> {
    /// Keeps the deliveries of the event at this place.
    pub(super) fn of_event(self, place: String) -> Self {
        let before = self.before.min(id::deliveries_end(&place));
        Self { before, least: self.least.max(place), ..self }
    }

    /// Binds what [`LogIndex::rows_sql`] and [`LogIndex::floor_sql`] have in common.
    pub(super) fn bind(&self, sql: String, limit: i64, index: &LogIndex) -> db::DatabaseQuery<'c> {
        db::query(AssertSqlSafe(sql))
            .bind(self.company)
            .bind(self.before.clone())
            .bind(self.least.clone())
            .bind(limit)
            .bind(index.key().map(str::to_owned))
    }

    /// Cuts off the next `rows` rows of the index, the newest. `None`: there are no more than these, and the range is used up.
    pub(super) async fn split(
        &mut self,
        index: &LogIndex,
        rows: i64,
        log: &LogReader<'_>,
    ) -> Result<(Self, bool), StoreError> {
        let found = self.bind(index.floor_sql(log.kind()), rows, index).fetch_one(log).await?;
        let floor: Option<String> = found.try_get("floor")?;
        let examined: i64 = found.try_get("examined")?;
        let last = examined < rows;
        let least = floor.filter(|_| !last).unwrap_or_else(|| self.least.clone());
        let step = Self { least: least.clone(), ..self.clone() };
        self.before = least;
        Ok((step, last))
    }
}

/// A page of the log.
#[derive(Debug)]
pub struct LogPage<T> {
    /// The entries, newest first. There may be fewer than the page has room for, and even none, although more follow: one
    /// request examines 10,000 rows at most.
    pub entries: Vec<T>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Merges the pages of the parts of a selection, each read from the same place, into one with at most `limit` entries. An entry that
/// is in several is shown once.
pub(super) fn merged<T: LogEntry>(pages: Vec<LogPage<T>>, limit: usize) -> LogPage<T> {
    // Below this id a part has not been examined.
    let examined = pages.iter().filter_map(|page| page.next.clone()).max();
    let mut entries: Vec<T> = pages.into_iter().flat_map(|page| page.entries).collect();
    entries.retain(|entry| examined.as_deref().is_none_or(|least| entry.row_id() >= least));
    entries.sort_unstable_by(|a, b| b.row_id().cmp(a.row_id()));
    entries.dedup_by(|a, b| a.row_id() == b.row_id());
    if entries.len() > limit {
        entries.truncate(limit);
        let next = entries.last().map(|last| last.row_id().to_owned());
        return LogPage { entries, next };
    }
    LogPage { entries, next: examined }
}

/// An entry of a page.
pub(super) trait LogEntry: Sized {
    /// Reads the entry from its row.
    fn from_row(row: &DatabaseRow) -> Result<Self, sqlx::Error>;
    /// Returns the id of its row.
    fn row_id(&self) -> &str;
}

/// The rows that a page, or a count, selects.
pub(super) struct LogSelection<'c> {
    pub(super) index: LogIndex,
    pub(super) range: LogRange<'c>,
    /// The statement around [`LogIndex::rows_sql`].
    pub(super) sql: String,
    /// The parameters of its conditions.
    pub(super) parameters: Vec<String>,
}

impl Store {
    /// Returns whether one request can examine all rows of the range along this index.
    pub(super) async fn is_short(&self, index: &LogIndex, range: &LogRange<'_>) -> Result<bool, StoreError> {
        let log = self.log_reader(range.company).await?;
        let (_, last) = range.clone().split(index, STEPS.iter().sum(), &log).await?;
        Ok(last)
    }

    /// Counts the rows of a selection, in steps between which others have their turns at the log. The statement counts the rows
    /// of one step.
    pub(super) async fn count(&self, selection: LogSelection<'_>) -> Result<u64, StoreError> {
        let LogSelection { index, mut range, sql, parameters } = selection;
        let (mut count, mut last) = (0, false);
        while !last {
            let log = self.log_reader(range.company).await?;
            let step;
            (step, last) = range.split(&index, COUNT_STEP, &log).await?;
            let query = step.bind(sql.clone(), i64::MAX, &index);
            let query = parameters.iter().fold(query, |query, parameter| query.bind(parameter.clone()));
            count += query.value::<i64>(&log).await?;
        }
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Reads a page.
    pub(super) async fn walk<T: LogEntry>(
        &self,
        selection: LogSelection<'_>,
        limit: u32,
    ) -> Result<LogPage<T>, StoreError> {
        let LogSelection { index, mut range, sql, parameters } = selection;
        let log = self.log_reader(range.company).await?;
        let limit = limit as usize;
        let mut entries: Vec<T> = Vec::new();
        for rows in STEPS {
            let (step, last) = range.split(&index, rows, &log).await?;
            let wanted = i64::try_from(limit + 1 - entries.len()).unwrap_or(i64::MAX);
            let query = step.bind(sql.clone(), wanted, &index);
            let query = parameters.iter().fold(query, |query, parameter| query.bind(parameter.clone()));
            let rows = query.fetch_all(&log).await?;
            let mut found = rows.iter().map(T::from_row).collect::<Result<Vec<_>, _>>()?;
            found.sort_unstable_by(|a, b| b.row_id().cmp(a.row_id()));
            entries.extend(found);
            if entries.len() > limit {
                entries.truncate(limit);
                let next = entries.last().map(|last| last.row_id().to_owned());
                return Ok(LogPage { entries, next });
            }
            if last {
                return Ok(LogPage { entries, next: None });
            }
        }
        Ok(LogPage { entries, next: Some(range.before) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(&'static str);

    impl LogEntry for Entry {
        fn from_row(_: &DatabaseRow) -> Result<Self, sqlx::Error> {
            Err(sqlx::Error::RowNotFound)
        }

        fn row_id(&self) -> &str {
            self.0
        }
    }

    fn of(pages: &[(&[&'static str], Option<&str>)], limit: usize) -> (Vec<&'static str>, Option<String>) {
        let page = |(entries, next): &(&[&'static str], Option<&str>)| LogPage {
            entries: entries.iter().map(|id| Entry(id)).collect(),
            next: next.map(str::to_owned),
        };
        let LogPage { entries, next } = merged(pages.iter().map(page).collect(), limit);
        (entries.into_iter().map(|entry| entry.0).collect(), next)
    }

    #[test]
    fn merged_page_ends_where_a_part_has_not_been_examined() {
        assert_eq!(of(&[(&["9", "5"], None), (&["7", "5"], None)], 9), (vec!["9", "7", "5"], None));
        assert_eq!(
            of(&[(&["9", "5"], None), (&["7", "4"], Some("4"))], 9),
            (vec!["9", "7", "5", "4"], Some("4".into()))
        );
        assert_eq!(of(&[(&["9", "5"], None), (&["8"], Some("6"))], 9), (vec!["9", "8"], Some("6".into())));
        assert_eq!(of(&[(&["9", "5"], Some("5")), (&["8", "7"], Some("7"))], 2), (vec!["9", "8"], Some("8".into())));
        assert_eq!(of(&[(&[], Some("3")), (&["8"], None)], 2), (vec!["8"], Some("3".into())));
        assert_eq!(of(&[], 2), (Vec::new(), None));
    }
}
