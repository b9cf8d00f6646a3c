//! Pages of what a company has requested, newest first.

use sqlx::AssertSqlSafe;

use crate::store::db::{self, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// A table of requests, whose ids ascend with their creation.
pub(super) struct NewestFirst<T> {
    pub(super) table: &'static str,
    pub(super) columns: &'static str,
    pub(super) from_row: fn(&DatabaseRow) -> Result<T, sqlx::Error>,
}

impl<T> NewestFirst<T> {
    /// Returns a page of a company's requests, and whether there are more.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub(super) async fn page(
        &self,
        store: &Store,
        company: &str,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<T>, bool), StoreError> {
        let Self { table, columns, from_row } = self;
        let sql = format!(
            "SELECT {columns} FROM {table} WHERE company = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3"
        );
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(after).bind(i64::from(limit) + 1);
        let rows = query.fetch_all(&store.log_reader(company).await?).await?;
        let mut found = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        Ok((found, more))
    }
}
