//! Every statement of the store is executed by these tests, and each runs on both databases.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};

use posthaste_tests::{Home, Kind};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The beginnings of statements that run on one database only; the source says why.
const SQLITE_ONLY: [&str; 2] = ["BEGIN IMMEDIATE", "PRAGMA "];
const POSTGRES_ONLY: [&str; 4] = [
    "SELECT pg_notify(",
    "SELECT pg_advisory_xact_lock(",
    "SELECT COUNT(*) FROM pg_stat_activity",
    "SELECT pg_database_size(",
];
/// The part of statements that only PostgreSQL gets.
const LOCK: &str = "FOR UPDATE SKIP LOCKED";
/// The part of statements that only SQLite gets, before the name of an index.
const HINT: &str = "INDEXED BY ";

/// Records the texts of the statements that run.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<BTreeSet<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "posthaste::sql" {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Recorder {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "sql" {
            self.0.lock().unwrap().insert(numbered(&without_hints(&value.replace(LOCK, ""))));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// Numbers the parameters: those of SQLite's statements over several rows have no numbers.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap().to_owned();
    parts.enumerate().fold(first, |text, (before, part)| format!("{text}${}{part}", before + 1))
}

fn without_hints(sql: &str) -> String {
    let mut parts = sql.split(HINT);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once(' ').unwrap().1)
}

/// Returns the statements that the whole conformance suite runs on this database. All of it, including its tasks, runs on
/// this thread.
async fn recorded(kind: Kind) -> BTreeSet<String> {
    let recorder = Recorder::default();
    let _recording = tracing::subscriber::set_default(tracing_subscriber::registry().with(recorder.clone()));
    crate::all(kind).await;
    let texts = recorder.0.lock().unwrap();
    texts.clone()
}

#[tokio::test]
async fn every_statement_runs_on_both_databases() {
    let (sqlite, postgres) = (recorded(Kind::Sqlite).await, recorded(Kind::Postgres).await);
    // A statement that ran was prepared. The number of rows per statement varies between runs, so the sizes that ran on the
    // two databases differ.
    for (from, others, kind, own) in
        [(&sqlite, &postgres, Kind::Postgres, &SQLITE_ONLY[..]), (&postgres, &sqlite, Kind::Sqlite, &POSTGRES_ONLY[..])]
    {
        let home = Home::of(kind).await;
        home.migrated().await;
        for sql in from.difference(others).filter(|sql| !own.iter().any(|begin| sql.starts_with(begin))) {
            home.prepare(sql).await;
        }
    }
    let (mut missed, mut found) = (Vec::new(), 0);
    for (file, text) in sources() {
        for literal in literals(&text).into_iter().filter(|literal| is_statement(literal)) {
            found += 1;
            if !sqlite.union(&postgres).any(|sql| fits(&numbered(&literal), sql)) {
                missed.push(format!("{file}: {literal}"));
            }
        }
    }
    assert!(found > 70, "only {found} statements were found in the source");
    assert!(missed.is_empty(), "these never ran; call their methods in tests/store:\n{}", missed.join("\n"));
}

fn is_statement(literal: &str) -> bool {
    ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "LOCK "].iter().any(|verb| literal.starts_with(verb))
}

/// Returns whether a statement, or a subquery in parentheses, begins with this literal, where each `{…}` of the literal matches
/// any text.
fn fits(literal: &str, sql: &str) -> bool {
    let (literal, sql) = (format!("({literal}"), format!("({sql}"));
    let mut rest = &*sql;
    let mut parts = literal.split('{').enumerate();
    parts.all(|(number, part)| {
        let part = if number == 0 { part } else { part.split_once('}').map_or("", |(_, part)| part) };
        let found = rest.split_once(part);
        rest = found.map_or("", |(_, behind)| behind);
        found.is_some()
    })
}

/// Returns the names and texts of the files of the store, without their tests.
fn sources() -> Vec<(String, String)> {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/store");
    let (mut folders, mut files) = (vec![store.clone()], vec![store.with_extension("rs")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let code = |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap();
        text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned()
    };
    let files = files.into_iter().filter(|file| !file.ends_with("query_plans.rs") && !file.ends_with("tests.rs"));
    files.map(|file| (file.file_name().unwrap().to_string_lossy().into_owned(), code(&file))).collect()
}

/// Returns the string literals of Rust source, as they are at run time.
fn literals(source: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (begin, after) = rest[at..].split_at(1);
        rest = after;
        match begin {
            "/" if after.starts_with('/') => rest = after.split_once('\n').map_or("", |(_, lines)| lines),
            "'" => {
                rest = ["\"'", "'", "\\'"].iter().find_map(|character| after.strip_prefix(character)).unwrap_or(after)
            }
            "\"" => {
                let (mut text, mut characters) = (String::new(), after.chars());
                loop {
                    match characters.next().unwrap() {
                        '"' => break,
                        '\\' => match characters.next().unwrap() {
                            '\n' => characters = characters.as_str().trim_start().chars(),
                            escaped => text.push(escaped),
                        },
                        character => text.push(character),
                    }
                }
                found.push(text);
                rest = characters.as_str();
            }
            _ => (),
        }
    }
    found
}

#[test]
fn literals_are_found() {
    let source = "let a = \"SELECT 1 \\\n    FROM t\"; // \"no\"\n let b = '\"'; f(\"x \\\"y\\\"\", &'a str, 'c');";
    assert_eq!(literals(source), ["SELECT 1 FROM t", "x \"y\""]);
    assert_eq!(without_hints("SELECT a FROM t INDEXED BY i WHERE b"), "SELECT a FROM t WHERE b");
    assert!(fits("SELECT {COLUMNS} FROM t", "SELECT a, b FROM t WHERE c"));
    assert!(
        !fits("SELECT {COLUMNS} FROM t", "SELECT a, b FROM u") && !fits("SELECT 1 FROM t", "UPDATE SELECT 1 FROM t")
    );
}
