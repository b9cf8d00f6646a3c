//! One of the two databases of a transfer: its rows, its marks, and the other processes that are connected to it.

use std::fs::File;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use tokio::time::sleep;

use super::tables::{ColumnType, TABLES, TransferTable, insert_statement};
use crate::store::backend::Backend;
use crate::store::db::{self, DatabaseConnection, DatabaseKind, DatabaseQuery, DatabaseRow, QueryParameter};
use crate::store::delivery_writes::{LeaseHorizon, release_leases};
use crate::store::error::StoreError;

/// Most times that PostgreSQL is queried for other connections: one that was closed a moment ago may still be listed.
const CONNECTION_CHECKS: u32 = 10;
/// Pause between two such queries.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

/// One value of a [`TransferRow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ColumnValue {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl ColumnValue {
    fn read(row: &DatabaseRow, column: &'static str, kind: ColumnType) -> Result<Self, sqlx::Error> {
        Ok(match kind {
            ColumnType::Number => Self::Number(row.try_get(column)?),
            ColumnType::Text => {
                Self::Text(row.try_get::<Option<String>>(column)?.map(|text| db::without_nul(text.into()).into_owned()))
            }
            ColumnType::Bytes => Self::Bytes(row.try_get(column)?),
        })
    }

    fn parameter(&self) -> QueryParameter<'_> {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_deref().into(),
            Self::Bytes(bytes) => bytes.clone().into(),
        }
    }
}

/// One row, in the order of the table's columns.
pub(super) type TransferRow = Vec<ColumnValue>;

/// Returns the statement with the values bound.
fn bind_all<'v>(sql: impl SqlSafeStr, values: impl Iterator<Item = &'v ColumnValue>) -> DatabaseQuery<'v> {
    values.fold(db::query(sql), |query, value| query.bind(value.parameter()))
}

/// A mark in `meta`.
pub(super) struct TransferMark {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// One of the two databases.
pub(super) struct TransferEndpoint {
    connection: DatabaseConnection,
    _lock: Option<File>,
}

impl TransferEndpoint {
    /// Opens the database at the newest schema, and locks it if it is a file.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let (backend, lock) = Backend::open_locked(url).await?;
        Ok(Self { connection: backend.connect().await?, _lock: lock })
    }

    /// Returns the next rows of a table after `after`, in the order of the key; none at the end.
    pub(super) async fn rows(
        &mut self,
        table: &TransferTable,
        after: Option<&TransferRow>,
    ) -> Result<Vec<TransferRow>, StoreError> {
        let query = db::query(AssertSqlSafe(table.select(after.is_some())));
        let key = after.into_iter().flatten().take(table.key().len());
        let rows =
            key.fold(query, |query, value| query.bind(value.parameter())).fetch_all(&mut self.connection).await?;
        let read =
            |row: &DatabaseRow| table.columns.iter().map(|(name, kind)| ColumnValue::read(row, name, *kind)).collect();
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Inserts rows into the table of this index in [`TABLES`] and sets a mark, in one transaction.
    pub(super) async fn insert(
        &mut self,
        table: usize,
        rows: &[TransferRow],
        mark: TransferMark,
    ) -> Result<(), StoreError> {
        self.run("BEGIN").await?;
        let statement = insert_statement(table).ok_or(StoreError::NotCommitted)?;
        for (sql, rows) in statement.split(self.connection.kind(), rows) {
            bind_all(sql, rows.iter().flatten()).execute(&mut self.connection).await?;
        }
        self.mark(mark).await?;
        self.run("COMMIT").await
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        db::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Sets a mark.
    pub(super) async fn mark(&mut self, mark: TransferMark) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        db::query(sql).bind(mark.name).bind(mark.text.into_bytes()).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Returns the text of a mark; `None` if it is not set.
    pub(super) async fn mark_text(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let query = db::query("SELECT value FROM meta WHERE name = $1").bind(name);
        let value: Option<Vec<u8>> = query.value_if_any(&mut self.connection).await?;
        Ok(value.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Removes a mark.
    pub(super) async fn unmark(&mut self, name: &str) -> Result<(), StoreError> {
        db::query("DELETE FROM meta WHERE name = $1").bind(name).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Returns the first table that has rows; `None` if the database is empty.
    pub(super) async fn first_nonempty_table(&mut self) -> Result<Option<&'static str>, StoreError> {
        for table in &TABLES {
            if !self.rows(table, None).await?.is_empty() {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    /// Returns the number of connections of other Posthaste processes. Always 0 for a file, which is locked.
    pub(super) async fn other_connections(&mut self) -> Result<i64, StoreError> {
        if self.connection.kind() == DatabaseKind::Sqlite {
            return Ok(0);
        }
        let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
        let mut others = 0;
        for _ in 0..CONNECTION_CHECKS {
            others = db::query(sql).value(&mut self.connection).await?;
            if others == 0 {
                break;
            }
            sleep(CHECK_PAUSE).await;
        }
        Ok(others)
    }

    /// Updates PostgreSQL's statistics on the tables. It would do so itself only after a minute or more, and until then plan
    /// its queries for empty tables.
    pub(super) async fn analyze(&mut self) -> Result<(), StoreError> {
        match self.connection.kind() {
            DatabaseKind::Sqlite => Ok(()),
            DatabaseKind::Postgres => self.run("ANALYZE").await,
        }
    }

    /// Makes the deliveries that stopped nodes had in memory due at `now_ms`, as the next start of a node would.
    pub(super) async fn release_leases(&mut self, now_ms: i64) -> Result<(), StoreError> {
        // The caller has checked that no node runs.
        self.run("DELETE FROM nodes").await?;
        release_leases(&mut self.connection, LeaseHorizon { now_ms, latest_end_ms: i64::MAX }).await?;
        Ok(())
    }
}
