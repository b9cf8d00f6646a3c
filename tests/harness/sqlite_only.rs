//! The parts of the suite that concern only SQLite.

use std::io::Write;

use crate::Kind;

/// Features without a counterpart on PostgreSQL, with the reason.
const SQLITE_ONLY: [(&str, &str); 4] = [
    ("a full disk", "the disk of the database server fills, and the server reports what it wrote"),
    ("the database file", "PostgreSQL has backups and checks of its own"),
    ("the lock file", "many processes may serve a PostgreSQL database"),
    ("the write-ahead log", "PostgreSQL bounds its own log: max_wal_size"),
];

/// Returns whether the suite runs on another database, so that the calling test has to be skipped, and prints the reason.
pub fn sqlite_only(what: &str) -> bool {
    let entry = SQLITE_ONLY.iter().find(|(name, _)| *name == what);
    let (name, reason) = entry.unwrap_or_else(|| panic!("`{what}` is not in the list of features of SQLite"));
    if Kind::chosen() == Kind::Sqlite {
        return false;
    }
    let thread = std::thread::current();
    // Not with `println`, whose output is hidden if the test passes.
    let _ = writeln!(std::io::stderr(), "not run: {}: {name}: {reason}", thread.name().unwrap_or("a test"));
    true
}
