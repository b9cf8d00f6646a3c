//! The log of the version before, the table `deliveries`, where an event and its delivery were one row: its rows are moved into
//! `events` and `event_deliveries`, a few in one transaction.
//!
//! While the nodes of a cluster are upgraded one after the other, those of the version before go on with that table. A row that one
//! of them has in memory is moved once it lets go of it.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::db::{self, DatabaseConnection, DatabaseKind, DatabaseRow};
use super::delivery_rows::NewEventRow;
use super::delivery_writes::INSERT_EVENTS;
use super::multi_row::MultiRowStatement;

/// Most rows of one step.
const STEP: i64 = 256;
/// Most bytes of data in the rows of one step; at least one row is moved.
const STEP_BYTES: i64 = 4 << 20;
/// How often the writer looks whether the nodes of the version before have stored events since it found none.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const COLUMNS: &str = "company, id, event_id, event_type, webhook_id, status, attempt_count, attempt_base, due, parked, created_at, \
    finished_at, requested_count, occurred_at, headers, data";

/// The rows that no living node has in memory.
const FREE: &str = "(lease IS NULL OR lease NOT IN (SELECT id FROM nodes))";

static INSERT_DELIVERIES: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    MultiRowStatement::new(
        "INSERT INTO event_deliveries (company, id, event_id, event_type, webhook_id, status, attempt_count, attempt_base, \
         due, parked, created_at, finished_at, requested_count) VALUES",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
        "ON CONFLICT (company, id) DO NOTHING",
    )
});

/// The rows that a step takes out of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlierRows {
    /// Deliveries that wait.
    Waiting,
    /// Deliveries that a process had in memory that no longer runs.
    Abandoned,
    /// Any, in the order of the companies and of time.
    All,
}

impl EarlierRows {
    /// Binds: the number of rows, the bytes of their data.
    pub(super) fn take_sql(self, kind: DatabaseKind) -> String {
        let (index, condition, order) = match self {
            Self::Waiting => ("deliveries_pending", "status = 'pending' AND lease IS NULL", "company, id"),
            Self::Abandoned => {
                ("deliveries_leased", "lease IS NOT NULL AND lease NOT IN (SELECT id FROM nodes)", "due, company, id")
            }
            Self::All => ("", FREE, "company, id"),
        };
        let hint = if index.is_empty() { String::new() } else { kind.index_hint(index) };
        format!(
            "DELETE FROM deliveries WHERE (company, id) IN (SELECT company, id FROM (SELECT company, id, \
             SUM(length) OVER (ORDER BY {order}) - length AS before FROM (SELECT company, id, due, LENGTH(data) AS length \
             FROM deliveries {hint}WHERE {condition} ORDER BY {order} LIMIT $1 {}) AS first) AS taken WHERE before < $2) \
             RETURNING {COLUMNS}",
            kind.row_lock()
        )
    }
}

/// A row that was taken out.
struct EarlierRow {
    company: String,
    id: String,
    event_id: String,
    event_type: String,
    /// `None`: nobody subscribed, and the row is only an event.
    webhook: Option<String>,
    created_at: i64,
    row: DatabaseRow,
}

impl EarlierRow {
    fn read(row: DatabaseRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            company: row.try_get("company")?,
            id: row.try_get("id")?,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("event_type")?,
            webhook: row.try_get("webhook_id")?,
            created_at: row.try_get("created_at")?,
            row,
        })
    }

    fn bind_event<'r>(&'r self, query: db::DatabaseQuery<'r>) -> Result<db::DatabaseQuery<'r>, sqlx::Error> {
        let matched = i64::from(self.webhook.is_some());
        Ok(query
            .bind(self.company.as_str())
            .bind(self.event_id.as_str())
            .bind(self.id.as_str())
            .bind(self.event_type.as_str())
            .bind(self.row.try_get::<i64>("occurred_at")?)
            .bind(self.created_at)
            .bind(matched)
            .bind(matched)
            .bind(self.row.try_get::<String>("headers")?)
            .bind(self.row.try_get::<Vec<u8>>("data")?))
    }

    fn bind_delivery<'r>(&'r self, query: db::DatabaseQuery<'r>) -> Result<db::DatabaseQuery<'r>, sqlx::Error> {
        let number = |column: &'static str| self.row.try_get::<i64>(column);
        Ok(query
            .bind(self.company.as_str())
            .bind(self.id.as_str())
            .bind(self.event_id.as_str())
            .bind(self.event_type.as_str())
            .bind(self.webhook.as_deref())
            .bind(self.row.try_get::<String>("status")?)
            .bind(number("attempt_count")?)
            .bind(number("attempt_base")?)
            .bind(self.row.try_get::<Option<i64>>("due")?)
            .bind(number("parked")?)
            .bind(self.created_at)
            .bind(self.row.try_get::<Option<i64>>("finished_at")?)
            .bind(number("requested_count")?))
    }
}

/// Stores rows that were taken out. One that was leased becomes due when its lease would have ended.
async fn store(connection: &mut DatabaseConnection, rows: Vec<DatabaseRow>) -> Result<u64, sqlx::Error> {
    let rows = rows.into_iter().map(EarlierRow::read).collect::<Result<Vec<_>, _>>()?;
    for (sql, rows) in INSERT_EVENTS.split(connection.kind(), &rows) {
        let query = rows.iter().try_fold(db::query(sql), |query, row| row.bind_event(query))?;
        query.execute(&mut *connection).await?;
    }
    let deliveries: Vec<_> = rows.iter().filter(|row| row.webhook.is_some()).collect();
    for (sql, rows) in INSERT_DELIVERIES.split(connection.kind(), &deliveries) {
        let query = rows.iter().try_fold(db::query(sql), |query, row| row.bind_delivery(query))?;
        query.execute(&mut *connection).await?;
    }
    Ok(rows.len() as u64)
}

/// Has the writer find the events of the version before that have the ids of new ones, so that an id is accepted once.
#[derive(Debug, Default)]
pub(super) struct EarlierEvents {
    /// When the table was last found empty.
    empty_at: Option<Instant>,
}

impl EarlierEvents {
    /// Moves the events of the version before that have the id of a new one.
    pub(super) async fn move_same(
        &mut self,
        connection: &mut DatabaseConnection,
        rows: &[NewEventRow],
    ) -> Result<(), sqlx::Error> {
        if rows.is_empty() || !self.may_be_there(connection.kind(), Instant::now()) {
            return Ok(());
        }
        if is_empty(connection).await? {
            self.empty_at = Some(Instant::now());
            return Ok(());
        }
        for row in rows {
            let sql =
                format!("DELETE FROM deliveries WHERE company = $1 AND event_id = $2 AND {FREE} RETURNING {COLUMNS}");
            let query = db::query(AssertSqlSafe(sql)).bind(row.event.company.as_str()).bind(row.event.id.as_str());
            let taken = query.fetch_all(&mut *connection).await?;
            if !taken.is_empty() {
                store(connection, taken).await?;
            }
        }
        Ok(())
    }

    /// Nobody else writes to an SQLite database: once its table is empty it stays so.
    fn may_be_there(&self, kind: DatabaseKind, now: Instant) -> bool {
        self.empty_at.is_none_or(|at| kind == DatabaseKind::Postgres && now.duration_since(at) >= LOOK_EVERY)
    }
}

async fn is_empty(connection: &mut DatabaseConnection) -> Result<bool, sqlx::Error> {
    Ok(db::query("SELECT 1 AS one FROM deliveries LIMIT 1").fetch_optional(connection).await?.is_none())
}

/// Moves a few rows. Returns how many.
pub(super) async fn move_some(connection: &mut DatabaseConnection, rows: EarlierRows) -> Result<u64, sqlx::Error> {
    let sql = rows.take_sql(connection.kind());
    let taken = db::query(AssertSqlSafe(sql)).bind(STEP).bind(STEP_BYTES).fetch_all(&mut *connection).await?;
    store(connection, taken).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_table_is_looked_at_again_only_where_other_nodes_may_write() {
        let mut earlier = EarlierEvents::default();
        let now = Instant::now();
        assert!(earlier.may_be_there(DatabaseKind::Sqlite, now) && earlier.may_be_there(DatabaseKind::Postgres, now));
        earlier.empty_at = Some(now);
        assert!(!earlier.may_be_there(DatabaseKind::Sqlite, now + Duration::from_secs(99)));
        assert!(!earlier.may_be_there(DatabaseKind::Postgres, now + LOOK_EVERY / 2));
        assert!(earlier.may_be_there(DatabaseKind::Postgres, now + LOOK_EVERY));
    }
}
