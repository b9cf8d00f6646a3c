//! The PostgreSQL server that the tests run on.

use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The environment variable that names an existing server: the URL of one of its databases, as a user who may create others.
const GIVEN: &str = "POSTHASTE_TEST_POSTGRES";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/postgres.sh");

/// The server's URL, and the server itself if this process started it: it ends when its standard input is closed.
static SERVER: LazyLock<(String, Option<PostgresServer>)> = LazyLock::new(|| match std::env::var(GIVEN) {
    Ok(url) if url.starts_with("postgres") => (url, None),
    Ok(url) => panic!("{GIVEN}: `{url}` is no URL like postgres://USER:PASSWORD@127.0.0.1:5432/postgres"),
    Err(_) => {
        let server = PostgresServer::start();
        (server.url.clone(), Some(server))
    }
});

/// A server of the test's own; it ends when this is dropped.
pub struct PostgresServer {
    /// Its one database.
    pub url: String,
    answers: BufReader<ChildStdout>,
    shell: Child,
}

impl PostgresServer {
    /// Starts one.
    pub fn start() -> Self {
        let mut command = Command::new("sh");
        // In its own process group, so that it can clean up after Ctrl-C.
        command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut shell = command.spawn().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap());
        let mut server = Self { url: String::new(), answers, shell };
        server.url = server.answer();
        assert!(server.url.starts_with("postgres://"), "{SCRIPT} started no PostgreSQL; see above");
        server
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Ends the server as a power failure would, and starts it again.
    pub fn crash(&mut self) {
        writeln!(self.shell.stdin.as_ref().unwrap(), "crash").unwrap();
        assert_eq!(self.answer(), "up");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // `wait` closes its standard input, which ends the server.
        let _ = self.shell.wait();
    }
}

/// Connects to a database.
pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Creates an empty database and returns its URL.
pub(crate) async fn create() -> String {
    // A random name, because an existing server may have databases of an earlier run.
    let name = format!("posthaste_test_{:016x}", std::hash::RandomState::new().build_hasher().finish());
    let server = &SERVER.0;
    run(server, &format!("CREATE DATABASE {name}")).await;
    let end = server.find('?').unwrap_or(server.len());
    let (address, parameters) = server.split_at(end);
    let (before, _) = address.rsplit_once('/').unwrap();
    format!("{before}/{name}{parameters}")
}

/// Removes a database that [`create`] made, even if there are connections to it.
///
/// Does not wait: PostgreSQL waits for clients that are connecting, and these may be tasks of the thread that would wait here.
/// If this process ends first, the database is removed with the server.
pub(crate) fn remove(url: &str) {
    let address = url.split('?').next().unwrap_or_default();
    let name = address.rsplit('/').next().unwrap_or_default();
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&SERVER.0, &drop));
    });
}

async fn run(url: &str, sql: &str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let _ = connection.close().await;
}
