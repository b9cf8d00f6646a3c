//! One set of words for both databases: a statement is written once and runs on either.
//!
//! sqlx has such a thing, its `Any` driver. But that one sets no pragmas and no size for the cache of prepared statements,
//! and copies every row once more; what the store needs of it is this file.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    ColumnIndex, Decode, PgConnection, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection,
};
use sqlx::{SqlitePool, Type};
use tokio::time::timeout;

/// How long a statement beside the writer may take on a database that is elsewhere: nobody waits longer for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The advisory lock of [`Connection::alone`]: "posthast" in ASCII.
const ALONE: i64 = 0x706f_7374_6861_7374;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// What a statement ends with that picks rows to change: what another node is just changing is left to that one, and
    /// what it has changed since is looked at again. Of SQLite's transactions only one writes at a time.
    pub(super) fn lock(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }
}

/// One connection.
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// Until the end of the transaction no other that asks for this goes on: for those that look first and change
    /// accordingly, which are few. SQLite has one writer in any case.
    pub(super) async fn alone(&mut self) -> Result<(), sqlx::Error> {
        if self.kind() == Kind::Postgres {
            query("SELECT pg_advisory_xact_lock($1)").bind(ALONE).execute(self).await?;
        }
        Ok(())
    }
}

/// Connections that are shared.
#[derive(Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }
}

/// Where a statement runs.
pub(super) enum Target<'c> {
    Connection(&'c mut Connection),
    Pool(&'c Pool),
}

impl<'c> From<&'c mut Connection> for Target<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Connection(connection)
    }
}

impl<'c> From<&'c Pool> for Target<'c> {
    fn from(pool: &'c Pool) -> Self {
        Self::Pool(pool)
    }
}

/// One row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What both databases can answer.
pub(super) trait Value:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Value for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

impl Row {
    /// The value of a column, by name or by number from 0.
    pub(super) fn try_get<T: Value>(
        &self,
        column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    ) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// What a statement's parameter may be.
pub(super) enum Parameter<'q> {
    Number(Option<i64>),
    Text(Option<&'q str>),
    OwnText(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Parameter<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Parameter<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl<'q> From<&'q str> for Parameter<'q> {
    fn from(text: &'q str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'q> From<&'q String> for Parameter<'q> {
    fn from(text: &'q String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'q> From<Option<&'q str>> for Parameter<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Parameter<'_> {
    fn from(text: String) -> Self {
        Self::OwnText(Some(text))
    }
}

impl From<Option<String>> for Parameter<'_> {
    fn from(text: Option<String>) -> Self {
        Self::OwnText(text)
    }
}

impl From<Vec<u8>> for Parameter<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl From<Option<Vec<u8>>> for Parameter<'_> {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self::Bytes(bytes)
    }
}

/// A statement with its parameters. Placeholders are `$1` and so on.
pub(super) struct Query<'q> {
    sql: SqlStr,
    parameters: Vec<Parameter<'q>>,
}

/// A statement.
pub(super) fn query<'q>(sql: impl SqlSafeStr) -> Query<'q> {
    Query { sql: sql.into_sql_str(), parameters: Vec::new() }
}

/// PostgreSQL's text has no NUL, and a receiver may answer with one: what is not stored for that would be tried for ever.
pub(super) fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

/// The same with the parameters bound, for one driver; each text as the last argument makes it.
macro_rules! bound {
    ($query:expr, $text:expr) => {{
        let Query { sql, parameters } = $query;
        parameters.into_iter().fold(sqlx::query(sql), |query, parameter| match parameter {
            Parameter::Number(number) => query.bind(number),
            Parameter::Text(text) => query.bind(text.map(|text| $text(Cow::Borrowed(text)))),
            Parameter::OwnText(text) => query.bind(text.map(|text| $text(Cow::<'q, str>::Owned(text)))),
            Parameter::Bytes(bytes) => query.bind(bytes),
        })
    }};
}

impl<'q> Query<'q> {
    /// Gives the next parameter.
    pub(super) fn bind(mut self, parameter: impl Into<Parameter<'q>>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// For who wants to see what runs: `RUST_LOG=posthaste::sql=trace`.
    fn told(self) -> Self {
        tracing::trace!(target: "posthaste::sql", sql = self.sql.as_str());
        self
    }

    fn sqlite(self) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
        bound!(self.told(), |text| text)
    }

    fn postgres(self) -> sqlx::query::Query<'q, Postgres, PgArguments> {
        bound!(self.told(), without_nul)
    }

    /// Runs it; answers how many rows it changed.
    pub(super) async fn execute(self, on: impl Into<Target<'_>>) -> Result<u64, sqlx::Error> {
        Ok(match on.into() {
            Target::Connection(Connection::Sqlite(on)) => self.sqlite().execute(on).await?.rows_affected(),
            Target::Connection(Connection::Postgres(on)) => self.postgres().execute(on).await?.rows_affected(),
            Target::Pool(Pool::Sqlite(on)) => self.sqlite().execute(on).await?.rows_affected(),
            Target::Pool(Pool::Postgres(on)) => in_time(self.postgres().execute(on)).await?.rows_affected(),
        })
    }

    /// All rows of its answer.
    pub(super) async fn fetch_all(self, on: impl Into<Target<'_>>) -> Result<Vec<Row>, sqlx::Error> {
        let sqlite = |rows: Vec<_>| rows.into_iter().map(Row::Sqlite).collect();
        let postgres = |rows: Vec<_>| rows.into_iter().map(Row::Postgres).collect();
        Ok(match on.into() {
            Target::Connection(Connection::Sqlite(on)) => sqlite(self.sqlite().fetch_all(on).await?),
            Target::Connection(Connection::Postgres(on)) => postgres(self.postgres().fetch_all(on).await?),
            Target::Pool(Pool::Sqlite(on)) => sqlite(self.sqlite().fetch_all(on).await?),
            Target::Pool(Pool::Postgres(on)) => postgres(in_time(self.postgres().fetch_all(on)).await?),
        })
    }

    /// The first row of its answer, if it has one.
    pub(super) async fn fetch_optional(self, on: impl Into<Target<'_>>) -> Result<Option<Row>, sqlx::Error> {
        Ok(match on.into() {
            Target::Connection(Connection::Sqlite(on)) => self.sqlite().fetch_optional(on).await?.map(Row::Sqlite),
            Target::Connection(Connection::Postgres(on)) => {
                self.postgres().fetch_optional(on).await?.map(Row::Postgres)
            }
            Target::Pool(Pool::Sqlite(on)) => self.sqlite().fetch_optional(on).await?.map(Row::Sqlite),
            Target::Pool(Pool::Postgres(on)) => in_time(self.postgres().fetch_optional(on)).await?.map(Row::Postgres),
        })
    }

    /// The first row of its answer.
    pub(super) async fn fetch_one(self, on: impl Into<Target<'_>>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// The first column of all rows.
    pub(super) async fn values<T: Value>(self, on: impl Into<Target<'_>>) -> Result<Vec<T>, sqlx::Error> {
        self.fetch_all(on).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// The first column of the first row.
    pub(super) async fn value<T: Value>(self, on: impl Into<Target<'_>>) -> Result<T, sqlx::Error> {
        self.fetch_one(on).await?.try_get(0)
    }

    /// The same, if there is a row.
    pub(super) async fn value_if_any<T: Value>(self, on: impl Into<Target<'_>>) -> Result<Option<T>, sqlx::Error> {
        self.fetch_optional(on).await?.map(|row| row.try_get(0)).transpose()
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
