//! Connections to the database: settings and migration.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqlSafeStr};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::damage::Damage;
use super::database_file::DatabaseFile;
use super::db::{self, ConnectionPool, DatabaseConnection, DatabaseKind, DriverConnection, DriverPool};
use super::disk_reserve::DiskReserve;
use super::error::{StoreError, is_malformed};
use super::integrity::check_after_crash;
use super::migrations;
use super::multi_row::MAX_ROWS;
use super::readers::{ReadClass, Readers};
use crate::telemetry::ThrottledLog;

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(migrations::migrator);

/// The same migrations for PostgreSQL, with a collation: by default it compares text by the rules of a language, but
/// identifiers, names and pages of them are ordered byte by byte, as in SQLite.
static POSTGRES_MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let byte_by_byte = |migration: &Migration| {
        let sql = migration.sql.as_str().replace(" TEXT", " TEXT COLLATE \"C\"");
        Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..migration.clone() }
    };
    let migrations: Vec<_> = MIGRATOR.migrations.iter().map(byte_by_byte).collect();
    // While nodes are upgraded one after the other, a node of the earlier version may start beside those of the later one:
    // the migrations of the later version do not affect it.
    Migrator { migrations: Cow::Owned(migrations), ignore_missing: true, ..Migrator::DEFAULT }
});

/// Size of a connection's page cache, in KiB; SQLite takes KiB as a negative number. The operating system caches the file as
/// well, so readers need little.
const WRITER_CACHE: &str = "-4096";
const READER_CACHE: &str = "-1024";
/// Prepared statements per connection: the writer has three kinds in every size up to [`MAX_ROWS`], and some others.
const STATEMENT_CACHE: usize = 4 * MAX_ROWS;
/// Time that a statement waits for another process that has locked the database, and a caller for a connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to migrate an SQLite database, which has no lock for that: another process may migrate it at the same moment.
const MIGRATION_ATTEMPTS: u32 = 5;
/// Pause between two attempts to migrate.
const MIGRATION_PAUSE: Duration = Duration::from_millis(200);
/// Pages (of 4 KiB) in the write-ahead log at which a commit runs a checkpoint: 32 MiB. Checkpoints cause the slowest
/// commits, so [`checkpoint_wal`] does most of the work beforehand. Beside a busy writer that never completes one, and the
/// log has to stay bounded.
const CHECKPOINT_PAGES: &str = "8192";
/// Interval of [`checkpoint_wal`].
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(200);
/// Time after which PostgreSQL ends the transaction of a process that hangs in the middle of it, and so releases its locks:
/// other processes would wait for them.
const IDLE_IN_TRANSACTION: &str = "5s";
/// The name of this program in PostgreSQL's views.
const APPLICATION: &str = "posthaste";

/// The settings with which connections are opened.
#[derive(Clone)]
pub(super) enum DatabaseOptions {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl DatabaseOptions {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        match url.split(':').next().unwrap_or_default() {
            "sqlite" => Ok(Self::Sqlite(sqlite_options(url)?)),
            "postgres" | "postgresql" => {
                let options = PgConnectOptions::from_str(url).map_err(|error| {
                    StoreError::Setup(format!(
                        "--database: not a PostgreSQL URL: {error}; the form is postgres://USER:PASSWORD@HOST/DATABASE"
                    ))
                })?;
                let options = options.application_name(APPLICATION).statement_cache_capacity(STATEMENT_CACHE);
                // JIT compilation takes longer than any statement of the store.
                let settings = [("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION), ("jit", "off")];
                let options = options.options(settings);
                Ok(Self::Postgres(options.disable_statement_logging()))
            }
            scheme => Err(StoreError::Setup(format!(
                "--database: `{scheme}:` is not a database that this version knows; use sqlite://FILE, for example \
                 sqlite://posthaste.db, or postgres://USER:PASSWORD@HOST/DATABASE"
            ))),
        }
    }

    pub(super) fn kind(&self) -> DatabaseKind {
        match self {
            Self::Sqlite(_) => DatabaseKind::Sqlite,
            Self::Postgres(_) => DatabaseKind::Postgres,
        }
    }

    /// Opens a connection, whose errors that show damage are noted in `damage`.
    pub(super) async fn connect(&self, damage: &Damage) -> Result<DatabaseConnection, sqlx::Error> {
        let connected = match self {
            Self::Sqlite(options) => served(options).connect().await.map(DriverConnection::Sqlite),
            Self::Postgres(options) => match timeout(BUSY_TIMEOUT, options.connect()).await {
                Ok(connected) => connected.map(DriverConnection::Postgres),
                Err(_) => Err(sqlx::Error::PoolTimedOut),
            },
        };
        Ok(DatabaseConnection { driver: damage.noted(connected)?, damage: damage.clone() })
    }

    /// Opens a connection as [`DatabaseOptions::connect`] does, which builds large indexes on disk.
    async fn connect_to_migrate(&self, damage: &Damage) -> Result<DatabaseConnection, sqlx::Error> {
        let Self::Sqlite(options) = self else { return self.connect(damage).await };
        let connected = served(options).pragma("temp_store", "FILE").connect().await.map(DriverConnection::Sqlite);
        Ok(DatabaseConnection { driver: damage.noted(connected)?, damage: damage.clone() })
    }

    /// Returns the settings for this file, which has to exist and is not put into the mode in which databases are served.
    pub(super) fn of_file(path: &Path) -> Self {
        Self::Sqlite(SqliteConnectOptions::new().filename(path).disable_statement_logging())
    }

    /// Opens a connection to a file that no other process knows, without the settings of a database that is served.
    pub(super) async fn connect_plain(&self, damage: &Damage) -> Result<DatabaseConnection, sqlx::Error> {
        let Self::Sqlite(options) = self else { return self.connect(damage).await };
        let connected = options.connect().await.map(DriverConnection::Sqlite);
        Ok(DatabaseConnection { driver: damage.noted(connected)?, damage: damage.clone() })
    }

    /// Opens a connection that only reads. It changes no file, not even by a checkpoint when it is closed.
    pub(super) async fn connect_read_only(&self, damage: &Damage) -> Result<DatabaseConnection, sqlx::Error> {
        let Self::Sqlite(options) = self else { return self.connect(damage).await };
        let connected = options.clone().read_only(true).connect().await.map(DriverConnection::Sqlite);
        Ok(DatabaseConnection { driver: damage.noted(connected)?, damage: damage.clone() })
    }

    /// Returns the file of the database; `None` for PostgreSQL.
    pub(super) fn file(&self) -> Option<DatabaseFile> {
        match self {
            Self::Sqlite(options) => Some(DatabaseFile::at(options.get_filename())),
            Self::Postgres(_) => None,
        }
    }

    /// Returns the pool of a class. It opens no connection before it is used.
    pub(super) fn pool(&self, class: ReadClass, damage: Damage) -> ConnectionPool {
        let time_limit = class.time_limit();
        let driver = match self {
            Self::Sqlite(options) => {
                let pool = SqlitePoolOptions::new().max_connections(class.connections()).acquire_timeout(BUSY_TIMEOUT);
                // A connection is tested when it comes back, and in this process nobody cuts it off meanwhile.
                let pool = pool.test_before_acquire(false);
                DriverPool::Sqlite(pool.connect_lazy_with(served(options).pragma("cache_size", READER_CACHE)))
            }
            Self::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(class.connections()).acquire_timeout(BUSY_TIMEOUT);
                let options = options.clone().options([("statement_timeout", time_limit.as_millis())]);
                DriverPool::Postgres(pool.connect_lazy_with(options))
            }
        };
        ConnectionPool { driver, damage, time_limit }
    }

    /// Returns a pool of one connection for notifications; `None` for a database without them.
    pub(super) fn listener_pool(&self) -> Option<sqlx::PgPool> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(BUSY_TIMEOUT);
                Some(pool.connect_lazy_with(options.clone()))
            }
        }
    }
}

/// An open database at the newest schema.
pub(super) struct Backend {
    pub(super) options: DatabaseOptions,
    pub(super) readers: Readers,
    /// It had no tables: this process made the database.
    pub(super) is_new: bool,
}

impl Backend {
    /// Opens a connection that only reads; `None` if the database is a file that does not exist.
    pub(super) async fn connect_read_only(url: &str) -> Result<Option<DatabaseConnection>, StoreError> {
        let options = DatabaseOptions::parse(url)?;
        options.file().map_or(Ok(()), |file| file.check_complete())?;
        if is_missing(url)? {
            return Ok(None);
        }
        let opened = options.connect_read_only(&Damage::default()).await;
        opened.map(Some).map_err(|error| open_error(url, &options, &error))
    }

    /// Opens `sqlite://FILE`, creating it where needed, or `postgres://…`, and brings its schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let options = DatabaseOptions::parse(url)?;
        if let Some(file) = options.file() {
            file.check_complete()?;
            file.make_private();
        }
        let damage = Damage::default();
        let mut connection =
            options.connect_to_migrate(&damage).await.map_err(|error| open_error(url, &options, &error))?;
        let is_new = is_empty(&mut connection).await?;
        let mut attempts = 1;
        loop {
            let migrated = match &mut connection.driver {
                DriverConnection::Sqlite(connection) => MIGRATOR.run(connection).await,
                // sqlx takes an advisory lock, so any number of nodes can start at once.
                DriverConnection::Postgres(connection) => POSTGRES_MIGRATOR.run(connection).await,
            };
            match migrated {
                Ok(()) => break,
                Err(_) if options.kind() == DatabaseKind::Sqlite && attempts < MIGRATION_ATTEMPTS => {
                    attempts += 1;
                    sleep(MIGRATION_PAUSE).await;
                }
                Err(error) => return Err(StoreError::Setup(format!("database {}: {error}", redacted_url(url)))),
            }
        }
        Ok(Self { readers: Readers::new(|class| options.pool(class, damage.clone())), options, is_new })
    }

    /// As [`Backend::open`], for this process alone: returns the lock of a database in a file, and `None` for PostgreSQL.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: as [`Backend::open`]; another process serves the database; the last one left it malformed.
    pub(super) async fn open_locked(url: &str) -> Result<(Self, Option<File>), StoreError> {
        let options = DatabaseOptions::parse(url)?;
        let Some(file) = options.file() else {
            return Ok((Self::open(url).await?, None));
        };
        let lock = file.lock()?;
        DiskReserve::make_room_to_start(&file.beside(".reserve"));
        check_after_crash(&file, options.connect_read_only(&Damage::default())).await?;
        Ok((Self::open(url).await?, Some(lock)))
    }

    /// Opens a connection for the caller alone.
    pub(super) async fn connect(&self) -> Result<DatabaseConnection, StoreError> {
        Ok(self.options.connect(self.readers.damage()).await?)
    }
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StoreError::Setup(
            "--database: an in-memory database would lose accepted events; use a file".into(),
        ));
    }
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Setup(format!("--database: {url}: {error}; the form is sqlite://FILE")))?;
    Ok(options.busy_timeout(BUSY_TIMEOUT).statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging())
}

/// Adds the settings of connections that write, or that read beside the writer.
pub(super) fn served(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", WRITER_CACHE)
        // Statements and savepoints keep little, and otherwise need a folder for temporary files that is not full.
        .pragma("temp_store", "MEMORY")
        // What is erased must not stay in the file: by default, pages that become free keep their bytes.
        .pragma("secure_delete", "ON")
}

/// Runs checkpoints of SQLite's write-ahead log beside the writer, until `stop`.
pub(super) async fn checkpoint_wal(mut connection: DatabaseConnection, stop: CancellationToken) {
    let throttled_log = ThrottledLog::default();
    while timeout(CHECKPOINT_INTERVAL, stop.cancelled()).await.is_err() {
        if let Err(error) = db::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await {
            throttled_log.warn("a checkpoint of the write-ahead log failed; a commit will run it", &error);
        }
    }
}

/// Returns whether the disk was full: SQLITE_FULL (13), or PostgreSQL's `disk_full` (53100).
pub(super) fn is_disk_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "13" | "53100"))
}

fn open_error(url: &str, options: &DatabaseOptions, error: &sqlx::Error) -> StoreError {
    let hint = match options {
        _ if is_malformed(error) => {
            "the file is malformed, or not an SQLite database: restore a backup with `posthaste restore`"
        }
        DatabaseOptions::Sqlite(_) => "does its folder exist, and is it writable?",
        DatabaseOptions::Postgres(_) => "is the server running, and are host, user, password and database name right?",
    };
    StoreError::Setup(format!("database {} cannot be opened: {error}; {hint}", redacted_url(url)))
}

/// Returns whether the URL names a file that does not exist.
pub(super) fn is_missing(url: &str) -> Result<bool, StoreError> {
    Ok(DatabaseOptions::parse(url)?.file().is_some_and(|file| !file.path().exists()))
}

/// Returns whether the database has no tables of Posthaste.
async fn is_empty(connection: &mut DatabaseConnection) -> Result<bool, StoreError> {
    match db::query("SELECT 1 FROM meta LIMIT 1").fetch_optional(connection).await {
        Ok(_) => Ok(false),
        Err(error) if is_malformed(&error) => Err(error.into()),
        Err(sqlx::Error::Database(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Returns the name of a database for messages: its URL with the absolute path of a file, and without a password.
pub fn database_name(url: &str) -> String {
    match DatabaseOptions::parse(url).ok().and_then(|options| options.file()) {
        Some(file) => format!("sqlite://{}", std::path::absolute(file.path()).unwrap_or_default().display()),
        None => redacted_url(url),
    }
}

/// Returns the kind of the database at this URL: `sqlite` or `postgres`.
///
/// # Errors
/// [`StoreError::Setup`]: the URL is not one of a database.
pub fn database_kind(url: &str) -> Result<&'static str, StoreError> {
    Ok(match DatabaseOptions::parse(url)?.kind() {
        DatabaseKind::Sqlite => "sqlite",
        DatabaseKind::Postgres => "postgres",
    })
}

/// Returns the URL without its password, for messages.
pub(super) fn redacted_url(url: &str) -> String {
    // The parameters may name a password as well. A `?` before the `@` is part of a password.
    let without_parameters = |rest: &str| rest.split('?').next().unwrap_or_default().to_owned();
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'), rest)) {
        Some((scheme, Some((login, rest)), _)) => {
            let user = login.split([':', '/', '?']).next().unwrap_or_default();
            format!("{scheme}://{user}@{}", without_parameters(rest))
        }
        Some((scheme, None, rest)) => format!("{scheme}://{}", without_parameters(rest)),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_show_a_url_without_its_password() {
        assert_eq!(redacted_url("postgres://user:pa@ss@host/name"), "postgres://user@host/name");
        assert_eq!(redacted_url("postgres://user@host/name"), "postgres://user@host/name");
        assert_eq!(redacted_url("postgres://user:pa?ss@host/name?sslmode=require"), "postgres://user@host/name");
        assert_eq!(redacted_url("postgres://host/name?user=a&password=secret"), "postgres://host/name");
        assert_eq!(redacted_url("sqlite://posthaste.db"), "sqlite://posthaste.db");
    }

    #[test]
    fn unusable_urls_are_refused_with_a_reason() {
        let refusal = |url| DatabaseOptions::parse(url).err().unwrap().to_string();
        assert!(refusal("mysql://a/b").contains("`mysql:` is not a database that this version knows"));
        assert!(refusal("sqlite::memory:").contains("in-memory"));
        assert!(refusal("sqlite://x?mode=memory").contains("in-memory"));
        assert!(refusal("postgres://user:x@host:port/").contains("postgres://USER:PASSWORD@HOST/DATABASE"));
    }

    #[test]
    fn only_a_database_in_a_file_can_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let url = format!("sqlite://{}", path.display());
        assert!(is_missing(&url).unwrap());
        File::create(&path).unwrap();
        assert!(!is_missing(&url).unwrap());
        assert!(!is_missing("postgres://user@host/name").unwrap());
    }
}
