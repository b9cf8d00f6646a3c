//! The connection to the database and its settings.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqlSafeStr};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::db::{self, Connection, Kind, Pool};
use super::{StoreError, migrations};
use crate::telemetry::Seldom;

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(migrations::migrator);

/// The same for PostgreSQL, which compares text by the rules of a language where it is not told otherwise: identifiers,
/// names and pages of them go byte by byte, as in SQLite.
static BYTE_BY_BYTE: LazyLock<Migrator> = LazyLock::new(|| {
    let byte_by_byte = |migration: &Migration| {
        let sql = migration.sql.as_str().replace(" TEXT", " TEXT COLLATE \"C\"");
        Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..migration.clone() }
    };
    let migrations: Vec<_> = MIGRATOR.migrations.iter().map(byte_by_byte).collect();
    // While nodes are upgraded one after the other, one of the earlier version may start beside those of the later: what a
    // later version adds does not disturb it.
    Migrator { migrations: Cow::Owned(migrations), ignore_missing: true, ..Migrator::DEFAULT }
});

/// Connections that only read; SQLite lets them run beside the writer.
const READERS: u32 = 4;
/// Pages that a connection keeps in memory, in KiB, negative as SQLite wants it. The system keeps the file's as well, so
/// readers get by with few.
const WRITER_CACHE: &str = "-4096";
const READER_CACHE: &str = "-1024";
/// Prepared statements kept: the writer has three kinds in every size up to [`super::multi::MOST`], and some others.
const STATEMENTS: usize = 4 * super::multi::MOST;
/// How long a statement waits for another process that holds the database, and anybody for a connection.
const BUSY: Duration = Duration::from_secs(5);
/// Times that the schema is brought up to date where that fails, and the rest between two of them: another process may be
/// doing it at the same moment, and SQLite has no lock for that.
const TRIES: u32 = 5;
const REST: Duration = Duration::from_millis(200);
/// Pages (of 4 KiB) in the write-ahead log before a commit folds it back: 32 MiB. That is what makes the slowest commits
/// slow, so [`fold_back`] does most of it beforehand; but beside a busy writer it never gets to the end, and the log must
/// not grow without end.
const CHECKPOINT_PAGES: &str = "8192";
/// How often [`fold_back`] does it.
const FOLD_BACK: Duration = Duration::from_millis(200);
/// A process that stands still in the middle of a transaction loses it after this, with its locks: the others would wait
/// for them.
const IDLE_IN_TRANSACTION: &str = "5s";
/// How this program is called in PostgreSQL's views.
const APPLICATION: &str = "posthaste";

/// How to connect.
#[derive(Clone)]
pub(super) enum Options {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Options {
    fn of(url: &str) -> Result<Self, StoreError> {
        match url.split(':').next().unwrap_or_default() {
            "sqlite" => Ok(Self::Sqlite(sqlite(url)?)),
            "postgres" | "postgresql" => {
                let options = PgConnectOptions::from_str(url).map_err(|error| {
                    StoreError::Setup(format!(
                        "--database: not a URL of PostgreSQL: {error}; it looks like postgres://USER:PASSWORD@HOST/DATABASE"
                    ))
                })?;
                let options = options.application_name(APPLICATION).statement_cache_capacity(STATEMENTS);
                // Compiling a statement takes longer than any of these.
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

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres(_) => Kind::Postgres,
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Sqlite(options) => Ok(Connection::Sqlite(options.connect().await?)),
            Self::Postgres(options) => match timeout(BUSY, options.connect()).await {
                Ok(connection) => Ok(Connection::Postgres(connection?)),
                Err(_) => Err(sqlx::Error::PoolTimedOut),
            },
        }
    }

    fn pool(&self) -> Pool {
        match self {
            Self::Sqlite(options) => {
                let pool = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(BUSY);
                Pool::Sqlite(pool.connect_lazy_with(options.clone().pragma("cache_size", READER_CACHE)))
            }
            Self::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(BUSY);
                Pool::Postgres(pool.connect_lazy_with(options.clone()))
            }
        }
    }

    /// A pool of one connection that only listens; `None`: this database tells nobody anything.
    pub(super) fn ear(&self) -> Option<sqlx::PgPool> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(BUSY);
                Some(pool.connect_lazy_with(options.clone()))
            }
        }
    }
}

/// An open database at the newest schema.
pub(super) struct Backend {
    pub(super) options: Options,
    pub(super) readers: Pool,
}

impl Backend {
    /// Opens `sqlite://FILE`, creating it where needed, or `postgres://…`, and brings its schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let options = Options::of(url)?;
        let mut connection = options.connect().await.map_err(|error| unopened(url, &options, &error))?;
        let mut tries = 1;
        loop {
            let migrated = match &mut connection {
                Connection::Sqlite(connection) => MIGRATOR.run(connection).await,
                // Under an advisory lock, so that any number of nodes can start at once.
                Connection::Postgres(connection) => BYTE_BY_BYTE.run(connection).await,
            };
            match migrated {
                Ok(()) => break,
                Err(_) if options.kind() == Kind::Sqlite && tries < TRIES => {
                    tries += 1;
                    sleep(REST).await;
                }
                Err(error) => return Err(StoreError::Setup(format!("database {}: {error}", shown(url)))),
            }
        }
        Ok(Self { readers: options.pool(), options })
    }

    /// Claims a database in a file for this process, for as long as the lock lives: a second one would take the
    /// deliveries that the first has in memory for those of a crash.
    pub(super) fn lock(&self) -> Result<Option<File>, StoreError> {
        let Some(name) = self.beside("lock") else {
            return Ok(None);
        };
        let failed = |error: std::io::Error| StoreError::Setup(format!("{}: {error}", name.display()));
        let file = File::options().create(true).append(true).open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Setup(format!(
                "another posthaste serves this database (it holds {}); one process serves one SQLite database, and \
                 several one of PostgreSQL",
                name.display()
            ))),
        }
    }

    /// A file beside the database, where that is a file.
    pub(super) fn beside(&self, extension: &str) -> Option<PathBuf> {
        let Options::Sqlite(options) = &self.options else {
            return None;
        };
        let mut name = options.get_filename().as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        Some(name.into())
    }

    /// A connection of the caller's own.
    pub(super) async fn connect(&self) -> Result<Connection, StoreError> {
        Ok(self.options.connect().await?)
    }
}

fn sqlite(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StoreError::Setup(
            "--database: an in-memory database would lose accepted events; name a file".into(),
        ));
    }
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Setup(format!("--database: {url}: {error}; it looks like sqlite://FILE")))?;
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", WRITER_CACHE)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging())
}

/// Folds the write-ahead log back while the writer goes on, until `stop`.
pub(super) async fn fold_back(mut connection: Connection, stop: CancellationToken) {
    let said = Seldom::default();
    while timeout(FOLD_BACK, stop.cancelled()).await.is_err() {
        if let Err(error) = db::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await {
            said.warn("folding the write-ahead log back failed; a commit will do it", &error);
        }
    }
}

/// Whether there was no room on the disk: SQLITE_FULL, and PostgreSQL's `disk_full`.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "13" | "53100"))
}

fn unopened(url: &str, options: &Options, error: &sqlx::Error) -> StoreError {
    let mend = match options {
        Options::Sqlite(_) => "is its folder there and writable?",
        Options::Postgres(_) => "is it running, and do host, user, password and database name fit?",
    };
    StoreError::Setup(format!("database {} cannot be opened: {error}; {mend}", shown(url)))
}

/// Whether the URL names a file, and there is none.
pub(super) fn is_missing(url: &str) -> Result<bool, StoreError> {
    Ok(match Options::of(url)? {
        Options::Sqlite(options) => !options.get_filename().exists(),
        Options::Postgres(_) => false,
    })
}

/// The URL without a password, for messages.
pub(super) fn shown(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (login, rest))) => {
            format!("{scheme}://{}@{rest}", login.split(':').next().unwrap_or_default())
        }
        None => url.to_owned(),
    }
}
