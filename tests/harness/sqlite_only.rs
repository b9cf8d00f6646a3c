//! What of the suite is about SQLite alone.

use std::io::Write;

use crate::Kind;

/// Tests that PostgreSQL has nothing for, and why.
const SQLITE_ONLY: [(&str, &str); 3] = [
    ("a full disk", "it is the database server's disk that fills; what was written there is told by the server"),
    ("the lock file", "a PostgreSQL database may be served by many processes"),
    ("the write-ahead log", "PostgreSQL keeps its own log short: max_wal_size"),
];

/// True where the suite does not run on SQLite, and so not this test: the reason is printed.
pub fn sqlite_only(what: &str) -> bool {
    let entry = SQLITE_ONLY.iter().find(|(name, _)| *name == what);
    let (name, reason) = entry.unwrap_or_else(|| panic!("`{what}` is not in the list of what SQLite alone has"));
    if Kind::chosen() == Kind::Sqlite {
        return false;
    }
    let thread = std::thread::current();
    // Not by `println`, which a test that passes is not heard with.
    let _ = writeln!(std::io::stderr(), "not run: {}: {name}: {reason}", thread.name().unwrap_or("a test"));
    true
}
