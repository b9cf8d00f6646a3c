//! The connections that read beside the writer: one pool for each class of reads, so that none waits behind another class.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

use super::backend::{BUSY_TIMEOUT, DatabaseOptions, served};
use super::damage::Damage;
use super::db::{ConnectionPool, DatabaseKind, DriverPool, QueryTarget};
use crate::shares::{LOG_READS, Part};

/// Size of a reader's page cache, in KiB, which SQLite takes as a negative number. The operating system caches the file as
/// well, so readers need little.
const READER_CACHE: &str = "-1024";

/// What a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadClass {
    /// One small row, or a few, by a key: authentication, publishing and the readiness check wait for them.
    LookUps,
    /// What is large, or far apart, on behalf of a company: lists, counts, health, single deliveries.
    Log,
    /// What the engine and the commands need, at whose results no caller of the API waits.
    Background,
}

impl ReadClass {
    const fn connections(self) -> u32 {
        match self {
            Self::LookUps | Self::Background => 2,
            Self::Log => LOG_READS,
        }
    }

    /// Time after which a statement is interrupted. Until then it keeps SQLite from emptying its write-ahead log, and
    /// PostgreSQL from removing old rows.
    const fn time_limit(self) -> Duration {
        match self {
            Self::LookUps | Self::Log => Duration::from_secs(2),
            Self::Background => Duration::from_secs(10),
        }
    }
}

/// The pools.
pub(super) struct Readers {
    pub(super) look_ups: ConnectionPool,
    log: ConnectionPool,
    pub(super) background: ConnectionPool,
}

/// The connections that read the log, for the company whose turn it is, until this is dropped.
#[must_use = "the turn ends when it is dropped"]
pub(super) struct LogReader<'s> {
    connections: &'s ConnectionPool,
    _turn: Part,
}

impl LogReader<'_> {
    pub(super) fn kind(&self) -> DatabaseKind {
        self.connections.kind()
    }
}

impl<'r> From<&'r LogReader<'_>> for QueryTarget<'r> {
    fn from(reader: &'r LogReader<'_>) -> Self {
        reader.connections.into()
    }
}

impl Readers {
    /// Opens no connection before it is used.
    pub(super) fn new(options: &DatabaseOptions, damage: &Damage) -> Self {
        let pool = |class| pool(options, class, damage.clone());
        Self { look_ups: pool(ReadClass::LookUps), log: pool(ReadClass::Log), background: pool(ReadClass::Background) }
    }

    /// Returns the connections that read the log, for a part of [`Resource::LogReads`](crate::shares::Resource::LogReads): one
    /// statement at a time.
    pub(super) fn log(&self, turn: Part) -> LogReader<'_> {
        LogReader { connections: &self.log, _turn: turn }
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        self.background.kind()
    }

    /// The note of damage that all connections of the process share.
    pub(super) fn damage(&self) -> &Damage {
        &self.background.damage
    }
}

fn pool(options: &DatabaseOptions, class: ReadClass, damage: Damage) -> ConnectionPool {
    let time_limit = class.time_limit();
    let driver = match options {
        DatabaseOptions::Sqlite(options) => {
            let pool = SqlitePoolOptions::new().max_connections(class.connections()).acquire_timeout(BUSY_TIMEOUT);
            // A connection is tested when it comes back, and in this process nobody cuts it off meanwhile.
            let pool = pool.test_before_acquire(false);
            DriverPool::Sqlite(pool.connect_lazy_with(served(options).pragma("cache_size", READER_CACHE)))
        }
        DatabaseOptions::Postgres(options) => {
            let pool = PgPoolOptions::new().max_connections(class.connections()).acquire_timeout(BUSY_TIMEOUT);
            let options = options.clone().options([("statement_timeout", time_limit.as_millis())]);
            DriverPool::Postgres(pool.connect_lazy_with(options))
        }
    };
    ConnectionPool { driver, damage, time_limit }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tempfile::TempDir;

    use super::super::db;
    use super::super::error::StoreError;
    use super::*;

    const ENDLESS: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n WHERE i < 0";

    /// Returns a pool of one connection.
    fn lone_connection(time_limit: Duration) -> (ConnectionPool, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let options = DatabaseOptions::parse(&format!("sqlite://{}/x.db", folder.path().display())).unwrap();
        let DatabaseOptions::Sqlite(sqlite) = &options else { unreachable!("the URL names a file") };
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(60));
        let driver = DriverPool::Sqlite(pool.connect_lazy_with(served(sqlite)));
        (ConnectionPool { driver, damage: Damage::default(), time_limit }, folder)
    }

    async fn answers(pool: &ConnectionPool) {
        assert_eq!(db::query("SELECT 1").value::<i64>(pool).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn statement_that_exceeds_its_time_is_interrupted() {
        let (pool, _folder) = lone_connection(Duration::from_millis(10));
        let error = db::query(ENDLESS).value::<i64>(&pool).await.unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::TooSlow));
        // It would wait behind the statement if that went on.
        let pool = ConnectionPool { time_limit: Duration::from_secs(60), ..pool };
        answers(&pool).await;
    }

    #[tokio::test]
    async fn statement_whose_caller_has_gone_is_interrupted() {
        let (pool, _folder) = lone_connection(Duration::from_secs(3_600));
        answers(&pool).await;
        let mut running = Box::pin(db::query(ENDLESS).value::<i64>(&pool));
        for _ in 0..100 {
            assert!(running.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(running);
        answers(&pool).await;
    }

    #[tokio::test]
    async fn class_that_is_busy_delays_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let options = DatabaseOptions::parse(&format!("sqlite://{}/x.db", folder.path().display())).unwrap();
        let readers = Readers::new(&options, &Damage::default());
        let busy = futures_util::future::join_all((0..20).map(|_| db::query(ENDLESS).value::<i64>(&readers.log)));
        tokio::select! {
            _ = busy => panic!("the statements have no end"),
            () = answers(&readers.look_ups) => (),
        }
        answers(&readers.background).await;
    }
}
