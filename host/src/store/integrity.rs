//! Checks of a whole SQLite database.

use super::database_file::DatabaseFile;
use super::db::{self, DatabaseConnection};
use super::error::{StoreError, is_malformed};

/// Checks every page, every row and every entry of the indexes: about 300 MiB a second.
const WHOLE_CHECK: &str = "PRAGMA integrity_check(1)";
/// The same without comparing indexes with their tables: about four times as fast.
const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
/// Largest databases, in bytes, that are checked in either way after a crash, so that the start is delayed by some seconds at
/// most.
const MAX_WHOLE_CHECK: u64 = 1 << 30;
const MAX_QUICK_CHECK: u64 = 8 << 30;

/// Runs the full check; returns the first fault.
///
/// # Errors
/// The database cannot be read, for another reason than a fault.
pub(super) async fn find_fault(connection: &mut DatabaseConnection) -> Result<Option<String>, StoreError> {
    fault_by(WHOLE_CHECK, connection).await
}

async fn fault_by(check: &'static str, connection: &mut DatabaseConnection) -> Result<Option<String>, StoreError> {
    match db::query(check).value::<String>(connection).await {
        Ok(verdict) => Ok(Some(verdict).filter(|verdict| verdict != "ok")),
        Err(error) if is_malformed(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Returns the check after a crash of a database of this size, in bytes.
fn check_after_crash_of(size: u64) -> Option<&'static str> {
    if size <= MAX_WHOLE_CHECK { Some(WHOLE_CHECK) } else { (size <= MAX_QUICK_CHECK).then_some(QUICK_CHECK) }
}

/// Checks a database with a write-ahead log that the last process left behind: SQLite would apply it also to a file that was
/// copied there meanwhile, to which it does not belong. `connect` opens a connection that only reads: nothing is changed, so
/// that both can still be told apart.
///
/// # Errors
/// [`StoreError::Setup`]: the database is malformed, or cannot be read.
pub(super) async fn check_after_crash(
    file: &DatabaseFile,
    connect: impl Future<Output = Result<DatabaseConnection, sqlx::Error>>,
) -> Result<(), StoreError> {
    let Some(size) = std::fs::metadata(file.path()).ok().filter(|_| file.has_log()).map(|file| file.len()) else {
        return Ok(());
    };
    let Some(check) = check_after_crash_of(size) else {
        tracing::warn!(size, "too large to be checked after a crash; `posthaste backup` checks its copy completely");
        return Ok(());
    };
    let fault = match connect.await {
        Ok(mut connection) => fault_by(check, &mut connection).await?,
        Err(error) if is_malformed(&error) => Some(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let Some(fault) = fault else { return Ok(()) };
    let path = file.path().display();
    Err(StoreError::Setup(format!(
        "the database {path} is malformed ({fault}). Nothing was changed. Restore a backup with `posthaste restore --from FILE`. \
         If this file is a backup that was copied here while {path}-wal lay beside it, move it elsewhere and restore it from \
         there"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_after_a_crash_depends_on_the_size() {
        assert_eq!(check_after_crash_of(0), Some(WHOLE_CHECK));
        assert_eq!(check_after_crash_of(1 << 30), Some(WHOLE_CHECK));
        assert_eq!(check_after_crash_of((1 << 30) + 1), Some(QUICK_CHECK));
        assert_eq!(check_after_crash_of((8 << 30) + 1), None);
    }
}
