//! The errors of the store.

use crate::domain::Invalid;
use crate::domain::company_limit::CompanyLimit;

/// Why the store did not do what a caller asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be set up: the text says why, and how to fix it.
    #[error("{0}")]
    Setup(String),
    /// The company has reached a limit.
    #[error(transparent)]
    Limit(#[from] CompanyLimit),
    /// What was to be stored breaks a rule that depends on what is stored already.
    #[error("{}", .0.detail)]
    Rule(Invalid),
    /// The object is in use: the text says by what.
    #[error("{0}")]
    InUse(String),
    /// A finding made before the transaction no longer holds: the text says which one.
    #[error("{0}")]
    Changed(String),
    /// The transaction did not commit; none of it is stored.
    #[error("the database did not take the write")]
    NotCommitted,
    /// The connection was lost before the database answered: the write may or may not be stored.
    #[error("the database went away before it answered")]
    Unanswered,
    /// The disk is full; nothing of the write is stored.
    #[error("the disk is full")]
    Full,
    /// The statement took longer than its time limit and was stopped.
    #[error("the database took longer for this than it may")]
    TooSlow,
    /// The database is malformed: it takes no writes until the process is started again.
    #[error(
        "the database is malformed and takes no writes; the operator has to restore a backup and restart the service"
    )]
    Malformed,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    Closed,
    /// Any other error of the database.
    #[error("database: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_malformed(&error) {
            Self::Malformed
        } else if is_interrupted(&error) {
            Self::TooSlow
        } else {
            Self::Database(error)
        }
    }
}

/// The statement was interrupted.
#[derive(Debug, thiserror::Error)]
#[error("the statement took too long")]
struct Interrupted;

/// Returns the error of a statement that exceeded its time limit.
pub(super) fn interrupted() -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(Interrupted))
}

/// Returns whether the error is that of [`interrupted`], or PostgreSQL's `query_canceled` (57014).
fn is_interrupted(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::AnyDriverError(error) => error.is::<Interrupted>(),
        error => error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "57014"),
    }
}

/// Returns whether the error shows that the database is malformed: SQLITE_CORRUPT (11) or SQLITE_NOTADB (26), whose extended
/// codes have more in the higher bits; or PostgreSQL's `data_corrupted` (XX001) or `index_corrupted` (XX002).
pub(super) fn is_malformed(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| is_code_of_damage(&code))
}

fn is_code_of_damage(code: &str) -> bool {
    match code.len() {
        // A SQLSTATE has five characters, and no code of SQLite has more than four digits.
        5 => matches!(code, "XX001" | "XX002"),
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 11 | 26)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_recognised_by_its_code_on_both_databases() {
        for code in ["11", "26", "267", "523", "779", "XX001", "XX002"] {
            assert!(is_code_of_damage(code), "{code}");
        }
        for code in ["5", "13", "10", "522", "XX000", "53100", "00011", ""] {
            assert!(!is_code_of_damage(code), "{code}");
        }
    }
}
