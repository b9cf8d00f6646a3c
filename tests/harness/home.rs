//! The storage of a host: a folder and a database on SQLite or PostgreSQL.

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, SqlSafeStr, Sqlite, SqliteConnection};
use tempfile::TempDir;

use crate::postgres::{self, PostgresServer};

/// The environment variable that selects the database of the suite.
const CHOSEN: &str = "POSTHASTE_TEST_DATABASE";

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file in the folder.
    Sqlite,
    /// A database on a server that the tests start.
    Postgres,
}

impl Kind {
    /// Returns the kind that the suite runs on.
    pub fn chosen() -> Self {
        match std::env::var(CHOSEN).as_deref() {
            Err(_) | Ok("sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("{CHOSEN}: `{other}` is neither `sqlite` nor `postgres`"),
        }
    }

    /// Returns SQL that formats a number with this many hexadecimal digits.
    pub fn hex(self, number: &str, digits: usize) -> String {
        match self {
            Self::Sqlite => format!("printf('%0{digits}x', {number})"),
            Self::Postgres => format!("lpad(to_hex({number}), {digits}, '0')"),
        }
    }
}

/// A folder and a database of one test; both are removed when it is dropped.
pub struct Home {
    folder: TempDir,
    kind: Kind,
    database: String,
    /// The database belongs to a server of the test, which removes it.
    external: bool,
}

impl Home {
    /// Creates a database of the kind that the suite runs on.
    pub async fn new() -> Self {
        Self::of(Kind::chosen()).await
    }

    /// Creates a database of this kind.
    pub async fn of(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = match kind {
            Kind::Sqlite => format!("sqlite://{}", folder.path().join("posthaste.db").display()),
            Kind::Postgres => postgres::create().await,
        };
        Self { folder, kind, database, external: false }
    }

    /// Uses the only database of this server.
    pub fn on(server: &PostgresServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, kind: Kind::Postgres, database: server.url.clone(), external: true }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The database's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The database's URL.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs statements directly on the database, in its own dialect.
    pub async fn sql(&self, sql: &str) {
        self.connect().await.run(sql).await;
    }

    /// Has the database refuse the deliveries that meet this condition on the row `NEW`, until [`Home::accept_deliveries`].
    pub async fn refuse_deliveries(&self, condition: &str) {
        let refuse = match self.kind {
            Kind::Sqlite => format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON event_deliveries WHEN {condition} \
                 BEGIN SELECT RAISE(ABORT, 'no'); END"
            ),
            Kind::Postgres => format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON event_deliveries FOR EACH ROW WHEN ({condition}) \
                 EXECUTE FUNCTION refuse()"
            ),
        };
        self.sql(&refuse).await;
    }

    /// Has the database take all deliveries again.
    pub async fn accept_deliveries(&self) {
        self.sql(match self.kind {
            Kind::Sqlite => "DROP TRIGGER refuse",
            Kind::Postgres => "DROP TRIGGER refuse ON event_deliveries",
        })
        .await;
    }

    /// Stores events of company `acme`, each with a delivery. `rows` selects their columns `id`, `event_id`, `event_type`,
    /// `webhook_id`, `status`, `attempt_count`, `due`, `parked`, `created_at`, `finished_at` and `data`, the last one as text.
    pub async fn fill_log(&self, rows: &str) {
        let data = match self.kind {
            Kind::Sqlite => "CAST(data AS BLOB)",
            Kind::Postgres => "convert_to(data, 'UTF8')",
        };
        let fill = format!(
            "CREATE TEMPORARY TABLE filled AS {rows}; \
             INSERT INTO events (company, id, place, event_type, occurred_at, created_at, delivery_count, matched, headers, \
             data) SELECT 'acme', event_id, id, event_type, created_at, created_at, 1, 1, '[]', {data} FROM filled; \
             INSERT INTO event_deliveries (company, id, event_id, event_type, webhook_id, status, attempt_count, \
             attempt_base, due, parked, created_at, finished_at) SELECT 'acme', id, event_id, event_type, webhook_id, status, \
             attempt_count, 0, due, parked, created_at, finished_at FROM filled"
        );
        self.sql(&fill).await;
    }

    /// Returns the single value of a query.
    pub async fn value<T: Value>(&self, sql: &str) -> T {
        let answer = match self.connect().await {
            Database::Sqlite(mut database) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut database).await,
            Database::Postgres(mut database) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut database).await,
        };
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Migrates an empty database to the newest schema.
    pub async fn migrated(&self) {
        posthaste::store::KeyStore::open(&self.database).await.unwrap();
    }

    /// Prepares a statement without running it.
    pub async fn prepare(&self, sql: &str) {
        let text = AssertSqlSafe(sql.to_owned()).into_sql_str();
        let prepared = match self.connect().await {
            Database::Sqlite(mut database) => database.prepare(text).await.map(drop),
            Database::Postgres(mut database) => database.prepare(text).await.map(drop),
        };
        prepared.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Locks the database against writes until the result is closed or dropped, as a backup tool would.
    pub async fn hold(&self) -> Database {
        let mut database = self.connect().await;
        let tables = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'";
        let hold = match self.kind {
            Kind::Sqlite => "BEGIN EXCLUSIVE".to_owned(),
            Kind::Postgres => format!("BEGIN; LOCK TABLE {} IN EXCLUSIVE MODE", self.value::<String>(tables).await),
        };
        database.run(&hold).await;
        database
    }

    /// Recreates the database with these migrations. `copy` runs afterwards and finds the previous content in the schema
    /// `later`.
    pub async fn go_back(&self, migrations: &Path, copy: &str) {
        let migrator = Migrator::new(migrations).await.unwrap();
        match self.kind {
            Kind::Sqlite => {
                let file = self.path().join("posthaste.db").display().to_string();
                let later = self.path().join("later.db").display().to_string();
                for end in ["", "-wal", "-shm"] {
                    let _ = std::fs::rename(format!("{file}{end}"), format!("{later}{end}"));
                }
                let mut database = SqliteConnection::connect(&format!("{}?mode=rwc", self.database)).await.unwrap();
                migrator.run(&mut database).await.unwrap();
                let mut database = Database::Sqlite(database);
                database.run(&format!("ATTACH '{later}' AS later; {copy}; DETACH later")).await;
                database.close().await;
            }
            Kind::Postgres => {
                self.sql("ALTER SCHEMA public RENAME TO later; CREATE SCHEMA public").await;
                migrator.run(&mut postgres::connect(&self.database).await).await.unwrap();
                self.sql(&format!("{copy}; DROP SCHEMA later CASCADE")).await;
            }
        }
    }

    async fn connect(&self) -> Database {
        match self.kind {
            Kind::Sqlite => {
                let mut database = SqliteConnection::connect(&self.database).await.unwrap();
                // The writes of tests need not survive a power failure.
                sqlx::raw_sql("PRAGMA synchronous = OFF").execute(&mut database).await.unwrap();
                Database::Sqlite(database)
            }
            Kind::Postgres => Database::Postgres(postgres::connect(&self.database).await),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.kind == Kind::Postgres && !self.external {
            postgres::remove(&self.database);
        }
    }
}

/// A connection to the database.
pub enum Database {
    /// To the file.
    Sqlite(SqliteConnection),
    /// To the server.
    Postgres(PgConnection),
}

impl Database {
    async fn run(&mut self, sql: &str) {
        let done = match self {
            Self::Sqlite(database) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(database).await.map(drop),
            Self::Postgres(database) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(database).await.map(drop),
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        match self {
            Self::Sqlite(database) => database.close().await.unwrap(),
            Self::Postgres(database) => database.close().await.unwrap(),
        }
    }
}

/// A value that both databases can return.
pub trait Value:
    for<'r> sqlx::Decode<'r, Sqlite>
    + sqlx::Type<Sqlite>
    + for<'r> sqlx::Decode<'r, Postgres>
    + sqlx::Type<Postgres>
    + Send
    + Unpin
{
}

impl<T> Value for T where
    T: for<'r> sqlx::Decode<'r, Sqlite>
        + sqlx::Type<Sqlite>
        + for<'r> sqlx::Decode<'r, Postgres>
        + sqlx::Type<Postgres>
        + Send
        + Unpin
{
}
