//! The connection to the database and its settings.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::StoreError;
use crate::telemetry::Seldom;

static MIGRATOR: Migrator = sqlx::migrate!();

/// Connections that only read; SQLite lets them run beside the writer.
const READERS: u32 = 4;
/// Pages that a connection keeps in memory, in KiB, negative as SQLite wants it. The system keeps the file's as well, so
/// readers get by with few.
const WRITER_CACHE: &str = "-4096";
const READER_CACHE: &str = "-1024";
/// Prepared statements kept: the writer has three kinds in every size up to [`super::multi::MOST`], and some others.
const STATEMENTS: usize = 4 * super::multi::MOST;
/// How long a statement waits for another process that holds the database.
const BUSY: Duration = Duration::from_secs(5);
/// Pages (of 4 KiB) in the write-ahead log before a commit folds it back: 32 MiB. That is what makes the slowest commits
/// slow, so [`fold_back`] does most of it beforehand; but beside a busy writer it never gets to the end, and the log must
/// not grow without end.
const CHECKPOINT_PAGES: &str = "8192";
/// How often [`fold_back`] does it.
const FOLD_BACK: Duration = Duration::from_millis(200);

/// An open database at the newest schema.
pub(super) struct Backend {
    pub(super) options: SqliteConnectOptions,
    pub(super) readers: SqlitePool,
}

impl Backend {
    /// Opens `sqlite://FILE`, creating and migrating it where needed.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        let mut connection = options.connect().await.map_err(|error| setup(url, &error))?;
        MIGRATOR.run(&mut connection).await.map_err(|error| StoreError::Setup(format!("database {url}: {error}")))?;
        let pool = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(BUSY);
        let readers = pool.connect_lazy_with(options.clone().pragma("cache_size", READER_CACHE));
        Ok(Self { options, readers })
    }

    /// Claims the database for this process, for as long as the file lives: a second one would take the deliveries that
    /// the first has in memory for those of a crash.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let name = self.beside("lock");
        let failed = |error: std::io::Error| StoreError::Setup(format!("{}: {error}", name.display()));
        let file = File::options().create(true).append(true).open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Setup(format!(
                "another posthaste serves this database (it holds {}); one process serves one SQLite database",
                name.display()
            ))),
        }
    }

    /// A file beside the database.
    pub(super) fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.options.get_filename().as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        name.into()
    }

    /// A connection of the writer's own.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        Ok(self.options.connect().await?)
    }
}

fn options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    if !url.starts_with("sqlite:") {
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(StoreError::Setup(format!(
            "--database: `{scheme}:` is not a database that this version knows; use sqlite://FILE, for example \
             sqlite://posthaste.db"
        )));
    }
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StoreError::Setup(
            "--database: an in-memory database would lose accepted events; name a file".into(),
        ));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| setup(url, &error))?;
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
pub(super) async fn fold_back(mut connection: SqliteConnection, stop: CancellationToken) {
    let said = Seldom::default();
    while timeout(FOLD_BACK, stop.cancelled()).await.is_err() {
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await {
            said.warn("folding the write-ahead log back failed; a commit will do it", &error);
        }
    }
}

/// Whether there was no room on the disk: SQLITE_FULL.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "13")
}

fn setup(url: &str, error: &sqlx::Error) -> StoreError {
    StoreError::Setup(format!("database {url} cannot be opened: {error}; is its folder there and writable?"))
}
