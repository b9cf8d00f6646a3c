//! One interface to both databases: a statement is written once and runs on either.
//!
//! sqlx's `Any` driver does the same, but it sets neither pragmas nor the size of the cache of prepared statements, and it
//! copies every row once more. This file holds the part of it that the store needs.

mod parameter;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments as _, ColumnIndex, Connection as _, Decode, PgConnection, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr,
    Sqlite, SqliteConnection,
};
use sqlx::{SqlitePool, Type};
use tokio::time::timeout;

use super::damage::Damage;
use super::error::interrupted;
use super::interrupt::WaitingCaller;

pub(super) use parameter::QueryParameter;

/// Bounds how long a caller waits for the answer of a remote database, which interrupts statements itself.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The key of the advisory lock of [`DatabaseConnection::lock_exclusively`]: "posthast" in ASCII.
const EXCLUSIVE_LOCK: i64 = 0x706f_7374_6861_7374;

/// The two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatabaseKind {
    Sqlite,
    Postgres,
}

impl DatabaseKind {
    /// Returns the end of a query that selects rows to change. It skips rows that another node is changing, and makes
    /// PostgreSQL evaluate the condition again for rows changed since. SQLite needs none: one transaction writes at a time.
    pub(super) fn row_lock(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// Returns what follows the table's name to make SQLite use this index. Without statistics, which it would have to keep up
    /// to date, it takes the primary key instead. PostgreSQL knows no such hint, and has statistics.
    pub(super) fn index_hint(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!("INDEXED BY {index} "),
            Self::Postgres => String::new(),
        }
    }
}

/// One connection.
pub(super) struct DatabaseConnection {
    pub(super) driver: DriverConnection,
    /// Takes a note of each error of this connection that shows damage.
    pub(super) damage: Damage,
}

/// The connection of either driver.
pub(super) enum DriverConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl DatabaseConnection {
    pub(super) fn kind(&self) -> DatabaseKind {
        match self.driver {
            DriverConnection::Sqlite(_) => DatabaseKind::Sqlite,
            DriverConnection::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// Closes the connection; an SQLite file without others then has no companions.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self.driver {
            DriverConnection::Sqlite(connection) => connection.close().await,
            DriverConnection::Postgres(connection) => connection.close().await,
        }
    }

    /// Takes a lock that one transaction of all nodes holds until its end: for the few transactions that read first and
    /// then write depending on what they read. SQLite has one writer in any case.
    pub(super) async fn lock_exclusively(&mut self) -> Result<(), sqlx::Error> {
        if self.kind() == DatabaseKind::Postgres {
            query("SELECT pg_advisory_xact_lock($1)").bind(EXCLUSIVE_LOCK).execute(self).await?;
        }
        Ok(())
    }
}

/// Shared connections.
#[derive(Clone)]
pub(super) struct ConnectionPool {
    pub(super) driver: DriverPool,
    /// As in [`DatabaseConnection`].
    pub(super) damage: Damage,
    /// Time after which a statement is interrupted.
    pub(super) time_limit: Duration,
}

/// The connections of either driver.
#[derive(Clone)]
pub(super) enum DriverPool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl ConnectionPool {
    pub(super) fn kind(&self) -> DatabaseKind {
        match self.driver {
            DriverPool::Sqlite(_) => DatabaseKind::Sqlite,
            DriverPool::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    async fn acquire<'c>(&self) -> Result<AcquiredConnection<'c>, sqlx::Error> {
        Ok(match &self.driver {
            DriverPool::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                let caller = WaitingCaller::of(&mut connection).await?;
                AcquiredConnection::Sqlite { connection, time_limit: self.time_limit, _caller: caller }
            }
            DriverPool::Postgres(pool) => AcquiredConnection::Postgres(pool.acquire().await?),
        })
    }
}

/// The connection or pool on which a statement runs.
pub(super) struct QueryTarget<'c> {
    connections: TargetConnections<'c>,
    damage: &'c Damage,
}

enum TargetConnections<'c> {
    Own(&'c mut DriverConnection),
    Pool(&'c ConnectionPool),
}

impl QueryTarget<'_> {
    /// Returns the same target, for one of several statements.
    pub(super) fn reborrow(&mut self) -> QueryTarget<'_> {
        let connections = match &mut self.connections {
            TargetConnections::Own(connection) => TargetConnections::Own(connection),
            TargetConnections::Pool(pool) => TargetConnections::Pool(pool),
        };
        QueryTarget { connections, damage: self.damage }
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        match &self.connections {
            TargetConnections::Own(DriverConnection::Sqlite(_)) => DatabaseKind::Sqlite,
            TargetConnections::Own(DriverConnection::Postgres(_)) => DatabaseKind::Postgres,
            TargetConnections::Pool(pool) => pool.kind(),
        }
    }
}

impl<'c> From<&'c mut DatabaseConnection> for QueryTarget<'c> {
    fn from(DatabaseConnection { driver, damage }: &'c mut DatabaseConnection) -> Self {
        Self { connections: TargetConnections::Own(driver), damage }
    }
}

impl<'c> From<&'c ConnectionPool> for QueryTarget<'c> {
    fn from(pool: &'c ConnectionPool) -> Self {
        Self { connections: TargetConnections::Pool(pool), damage: &pool.damage }
    }
}

impl<'c> TargetConnections<'c> {
    async fn acquire(self) -> Result<AcquiredConnection<'c>, sqlx::Error> {
        match self {
            Self::Own(connection) => Ok(AcquiredConnection::Own(connection)),
            // Boxed: otherwise the future of every statement has room for it, also on a connection of its own.
            Self::Pool(pool) => Box::pin(pool.acquire()).await,
        }
    }
}

/// A connection for one statement.
enum AcquiredConnection<'c> {
    Own(&'c mut DriverConnection),
    Sqlite {
        connection: PoolConnection<Sqlite>,
        time_limit: Duration,
        _caller: WaitingCaller,
    },
    /// The server knows its time limit. If the caller goes away, the connection returns to the pool when the server has ended
    /// the statement.
    Postgres(PoolConnection<Postgres>),
}

enum DriverTarget<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl AcquiredConnection<'_> {
    fn driver(&mut self) -> DriverTarget<'_> {
        match self {
            Self::Own(DriverConnection::Sqlite(connection)) => DriverTarget::Sqlite(connection),
            Self::Own(DriverConnection::Postgres(connection)) => DriverTarget::Postgres(connection),
            Self::Sqlite { connection, .. } => DriverTarget::Sqlite(connection),
            Self::Postgres(connection) => DriverTarget::Postgres(connection),
        }
    }

    /// Returns the longest time to wait for an answer, and the error after it.
    fn time_limit(&self) -> Option<(Duration, sqlx::Error)> {
        match self {
            Self::Own(_) => None,
            Self::Sqlite { time_limit, .. } => Some((*time_limit, interrupted())),
            Self::Postgres(_) => Some((READ_TIMEOUT, sqlx::Error::PoolTimedOut)),
        }
    }
}

/// Runs a statement, whose future `$run` makes of a [`DriverTarget`], on a connection of the target.
macro_rules! run_on {
    ($on:expr, $run:expr) => {{
        let QueryTarget { connections, damage } = $on.into();
        let mut acquired = damage.noted(connections.acquire().await)?;
        let time_limit = acquired.time_limit();
        let answer = $run(acquired.driver());
        damage.noted(match time_limit {
            None => answer.await,
            Some((limit, error)) => timeout(limit, answer).await.unwrap_or(Err(error)),
        })
    }};
}

/// One row of a result.
pub(super) enum DatabaseRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that both drivers decode from a column.
pub(super) trait ColumnDecode:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> ColumnDecode for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl DatabaseRow {
    /// Returns the value of a column, by name or by number from 0.
    pub(super) fn try_get<T: ColumnDecode>(
        &self,
        column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    ) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// A statement with its parameters. Placeholders are `$1`, `$2` and so on.
pub(super) struct DatabaseQuery<'q> {
    sql: SqlStr,
    parameters: Vec<QueryParameter<'q>>,
}

/// Returns a statement without parameters yet.
pub(super) fn query<'q>(sql: impl SqlSafeStr) -> DatabaseQuery<'q> {
    DatabaseQuery { sql: sql.into_sql_str(), parameters: Vec::new() }
}

/// Replaces NUL by U+FFFD: PostgreSQL's text cannot hold NUL. A receiver may answer with one, and a completion that can
/// never be stored would be retried forever.
pub(super) fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

/// Builds the query of one driver with all parameters bound, each text passed through one of the functions.
macro_rules! driver_query {
    ($query:expr, $arguments:ty, $borrowed:expr, $shared:expr, $owned:expr) => {{
        let DatabaseQuery { sql, parameters } = $query;
        let mut arguments = <$arguments>::default();
        arguments.reserve(parameters.len(), 0);
        parameters.into_iter().fold(sqlx::query_with(sql, arguments), |query, parameter| match parameter {
            QueryParameter::Number(number) => query.bind(number),
            QueryParameter::Text(text) => query.bind(text.map($borrowed)),
            QueryParameter::SharedText(text) => query.bind(text.map($shared)),
            QueryParameter::OwnedText(text) => query.bind(text.map($owned)),
            QueryParameter::Bytes(bytes) => query.bind(bytes),
        })
    }};
}

impl<'q> DatabaseQuery<'q> {
    /// Binds the next parameter.
    pub(super) fn bind(mut self, parameter: impl Into<QueryParameter<'q>>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// Logs the statement: `RUST_LOG=posthaste::sql=trace` shows them.
    fn traced(self) -> Self {
        tracing::trace!(target: "posthaste::sql", sql = self.sql.as_str());
        self
    }

    fn sqlite(self) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
        // The driver copies a text into two allocations, and a shared one into none.
        driver_query!(self.traced(), SqliteArguments, Arc::<str>::from, |text| text, |text| text)
    }

    fn postgres(self) -> sqlx::query::Query<'q, Postgres, PgArguments> {
        driver_query!(
            self.traced(),
            PgArguments,
            |text| without_nul(Cow::Borrowed(text)),
            |text: Arc<str>| without_nul(Cow::<'q, str>::Owned(text.to_string())),
            |text| without_nul(Cow::<'q, str>::Owned(text))
        )
    }

    /// Runs the statement and returns how many rows it changed.
    pub(super) async fn execute(self, on: impl Into<QueryTarget<'_>>) -> Result<u64, sqlx::Error> {
        run_on!(on, |on| self.execute_on(on))
    }

    async fn execute_on(self, on: DriverTarget<'_>) -> Result<u64, sqlx::Error> {
        Ok(match on {
            DriverTarget::Sqlite(on) => self.sqlite().execute(on).await?.rows_affected(),
            DriverTarget::Postgres(on) => self.postgres().execute(on).await?.rows_affected(),
        })
    }

    /// Returns all rows.
    pub(super) async fn fetch_all(self, on: impl Into<QueryTarget<'_>>) -> Result<Vec<DatabaseRow>, sqlx::Error> {
        run_on!(on, |on| self.fetch_all_from(on))
    }

    async fn fetch_all_from(self, on: DriverTarget<'_>) -> Result<Vec<DatabaseRow>, sqlx::Error> {
        Ok(match on {
            DriverTarget::Sqlite(on) => {
                self.sqlite().fetch_all(on).await?.into_iter().map(DatabaseRow::Sqlite).collect()
            }
            DriverTarget::Postgres(on) => {
                self.postgres().fetch_all(on).await?.into_iter().map(DatabaseRow::Postgres).collect()
            }
        })
    }

    /// Returns the first row, if there is one.
    pub(super) async fn fetch_optional(
        self,
        on: impl Into<QueryTarget<'_>>,
    ) -> Result<Option<DatabaseRow>, sqlx::Error> {
        run_on!(on, |on| self.fetch_optional_from(on))
    }

    async fn fetch_optional_from(self, on: DriverTarget<'_>) -> Result<Option<DatabaseRow>, sqlx::Error> {
        Ok(match on {
            DriverTarget::Sqlite(on) => self.sqlite().fetch_optional(on).await?.map(DatabaseRow::Sqlite),
            DriverTarget::Postgres(on) => self.postgres().fetch_optional(on).await?.map(DatabaseRow::Postgres),
        })
    }

    /// Returns the first row; [`sqlx::Error::RowNotFound`] if there is none.
    pub(super) async fn fetch_one(self, on: impl Into<QueryTarget<'_>>) -> Result<DatabaseRow, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Returns the first column of all rows.
    pub(super) async fn values<T: ColumnDecode>(self, on: impl Into<QueryTarget<'_>>) -> Result<Vec<T>, sqlx::Error> {
        self.fetch_all(on).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// Returns the first column of the first row.
    pub(super) async fn value<T: ColumnDecode>(self, on: impl Into<QueryTarget<'_>>) -> Result<T, sqlx::Error> {
        self.fetch_one(on).await?.try_get(0)
    }

    /// Returns the first column of the first row, if there is one.
    pub(super) async fn value_if_any<T: ColumnDecode>(
        self,
        on: impl Into<QueryTarget<'_>>,
    ) -> Result<Option<T>, sqlx::Error> {
        self.fetch_optional(on).await?.map(|row| row.try_get(0)).transpose()
    }
}
