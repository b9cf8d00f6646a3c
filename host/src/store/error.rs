//! The errors of the store.

use super::damage::is_malformed;

/// Why the store did not do what a caller asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be set up: the text says why, and how to fix it.
    #[error("{0}")]
    Setup(String),
    /// A limit of the store was reached: the text says which one.
    #[error("{0}")]
    Limit(String),
    /// The company does too much of this at once: the text says of what, and how much is too much.
    #[error("{0}")]
    Busy(String),
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
        if is_malformed(&error) { Self::Malformed } else { Self::Database(error) }
    }
}
