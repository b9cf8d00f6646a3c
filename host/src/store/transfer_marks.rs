//! The two marks in `meta` that keep nodes away from a database: from a target whose copy is not complete, and from a source
//! that was moved, whose pending deliveries would otherwise be delivered a second time.

use super::db::{self, ConnectionPool};
use super::error::StoreError;

/// In a target whose copy is not complete: the position of the copy.
pub(super) const UNFINISHED: &str = "unfinished_copy";
/// In a source: the database that holds the data now.
pub(super) const MOVED: &str = "moved_to";

/// Refuses a database that has one of the marks.
///
/// # Errors
/// [`StoreError::Setup`]: it has one; the text says how to go on. The database's.
pub(super) async fn check_marks(pool: &ConnectionPool) -> Result<(), StoreError> {
    let query = db::query("SELECT name, value FROM meta WHERE name IN ($1, $2)").bind(UNFINISHED).bind(MOVED);
    let Some(row) = query.fetch_optional(pool).await? else {
        return Ok(());
    };
    if row.try_get::<String>("name")? == UNFINISHED {
        return Err(StoreError::Setup(
            "a copy into this database is not complete: run the same `posthaste migrate` again".into(),
        ));
    }
    let target = String::from_utf8_lossy(&row.try_get::<Vec<u8>>("value")?).into_owned();
    Err(StoreError::Setup(format!(
        "this database was moved to {target}: serving it again would repeat the deliveries that were pending then. If \
         that is what you want, run this on it: DELETE FROM meta WHERE name = '{MOVED}'"
    )))
}
