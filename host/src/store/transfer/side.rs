//! One of the two databases: its rows, its marks, and whether anybody serves it.

use std::fs::File;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use tokio::time::sleep;

use super::tables::{TABLES, Table, Type, inserts};
use crate::store::backend::Backend;
use crate::store::db::{self, Connection, Kind, Parameter, Query};
use crate::store::{StoreError, deliveries};

/// How often PostgreSQL is asked whether others are connected, and the rest between two looks: a connection that was
/// closed a moment ago may still stand in the list.
const LOOKS: u32 = 10;
const REST: Duration = Duration::from_millis(100);

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Value {
    fn read(row: &db::Row, column: &'static str, kind: Type) -> Result<Self, sqlx::Error> {
        Ok(match kind {
            Type::Number => Self::Number(row.try_get(column)?),
            Type::Text => {
                Self::Text(row.try_get::<Option<String>>(column)?.map(|text| db::without_nul(text.into()).into_owned()))
            }
            Type::Bytes => Self::Bytes(row.try_get(column)?),
        })
    }

    fn parameter(&self) -> Parameter<'_> {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_deref().into(),
            Self::Bytes(bytes) => bytes.clone().into(),
        }
    }
}

/// One row, in the order of the table's columns.
pub(super) type Row = Vec<Value>;

fn bound<'v>(sql: impl SqlSafeStr, values: impl Iterator<Item = &'v Value>) -> Query<'v> {
    values.fold(db::query(sql), |query, value| query.bind(value.parameter()))
}

/// One of the two databases.
pub(super) struct Side {
    connection: Connection,
    _lock: Option<File>,
}

impl Side {
    /// Opens the database at the newest schema and holds its lock where it is a file.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let backend = Backend::open(url).await?;
        let lock = backend.lock()?;
        Ok(Self { connection: backend.connect().await?, _lock: lock })
    }

    /// The next rows of a table, in the order of the key; none at its end.
    pub(super) async fn rows(&mut self, table: &Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError> {
        let query = db::query(AssertSqlSafe(table.select(after.is_some())));
        let key = after.into_iter().flatten().take(table.key().len());
        let rows =
            key.fold(query, |query, value| query.bind(value.parameter())).fetch_all(&mut self.connection).await?;
        let read = |row: &db::Row| table.columns.iter().map(|(name, kind)| Value::read(row, name, *kind)).collect();
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Inserts rows into the table of this place in [`TABLES`] and sets a mark, both or neither.
    pub(super) async fn insert(&mut self, place: usize, rows: &[Row], mark: (&str, String)) -> Result<(), StoreError> {
        self.run("BEGIN").await?;
        let multi = inserts(place).ok_or(StoreError::NotCommitted)?;
        for (sql, rows) in multi.cut(self.connection.kind(), rows) {
            bound(sql, rows.iter().flatten()).execute(&mut self.connection).await?;
        }
        self.mark(mark.0, mark.1).await?;
        self.run("COMMIT").await
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        db::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Sets a mark in `meta`.
    pub(super) async fn mark(&mut self, name: &str, text: String) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        db::query(sql).bind(name).bind(text.into_bytes()).execute(&mut self.connection).await?;
        Ok(())
    }

    /// The mark of this name.
    pub(super) async fn marked(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let query = db::query("SELECT value FROM meta WHERE name = $1").bind(name);
        let value: Option<Vec<u8>> = query.value_if_any(&mut self.connection).await?;
        Ok(value.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Takes the mark off.
    pub(super) async fn unmark(&mut self, name: &str) -> Result<(), StoreError> {
        db::query("DELETE FROM meta WHERE name = $1").bind(name).execute(&mut self.connection).await?;
        Ok(())
    }

    /// The first table that has rows.
    pub(super) async fn not_empty(&mut self) -> Result<Option<&'static str>, StoreError> {
        for table in &TABLES {
            if !self.rows(table, None).await?.is_empty() {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    /// How many connections of other posthastes there are. A file's lock says that by itself.
    pub(super) async fn others(&mut self) -> Result<i64, StoreError> {
        if self.connection.kind() == Kind::Sqlite {
            return Ok(0);
        }
        let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
        let mut others = 0;
        for _ in 0..LOOKS {
            others = db::query(sql).value(&mut self.connection).await?;
            if others == 0 {
                break;
            }
            sleep(REST).await;
        }
        Ok(others)
    }

    /// Tells PostgreSQL how large the tables are now: it would find out by itself only after a minute or more, and until
    /// then takes them for empty.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        match self.connection.kind() {
            Kind::Sqlite => Ok(()),
            Kind::Postgres => self.run("ANALYZE").await,
        }
    }

    /// Lets go of what nodes that ended had in memory, as their next start would.
    pub(super) async fn release(&mut self, now: i64) -> Result<(), StoreError> {
        // None of them runs: that was looked at before.
        self.run("DELETE FROM nodes").await?;
        deliveries::release(&mut self.connection, now, i64::MAX).await?;
        Ok(())
    }
}
