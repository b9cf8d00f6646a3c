//! The webhooks of a company, page by page: the number of bytes of a page is bounded, and large configs are not read.

use sqlx::AssertSqlSafe;

use super::rows::{select_small_sql, small_webhook_from_row};
use crate::domain::webhook::{MAX_INLINE_CONFIG_BYTES, Webhook};
use crate::store::db::{self, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Most bytes of the variable fields of a page; a page has at least one webhook.
const PAGE_BYTES: i64 = 4 << 20;
/// What a webhook counts besides its large fields.
const FIXED_BYTES: i64 = 1024;

/// Some of a company's webhooks.
pub struct WebhookPage {
    /// The webhooks, newest first.
    pub webhooks: Vec<Webhook>,
    /// The bytes that they take, about.
    pub bytes: u64,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Finds the webhooks of a company and the bytes that each takes in a page. Binds: the company, the most bytes of a config that
/// is read.
pub(in crate::store) const SIZES: &str = "SELECT id, CAST(CASE WHEN octet_length(config) <= $2 THEN octet_length(config) ELSE 0 END \
    + octet_length(headers) + COALESCE(octet_length(sealed_headers), 0) + COALESCE(octet_length(tls_ca), 0) AS BIGINT) \
    AS bytes FROM webhooks WHERE company = $1 ORDER BY id DESC";

/// Returns the statement for the webhooks of a company whose ids lie in a range. Binds: the company, the first and the last id.
pub(in crate::store) fn page_sql() -> String {
    let select = select_small_sql(MAX_INLINE_CONFIG_BYTES);
    format!("{select} WHERE w.company = $1 AND w.id >= $2 AND w.id <= $3 ORDER BY w.id DESC")
}

/// The size of a webhook in a page.
struct Sized {
    id: String,
    bytes: i64,
}

/// Returns how many of these, at least one, fit into a page.
fn fitting(sizes: &[Sized], limit: usize) -> usize {
    let mut sum = 0_i64;
    let fits = |sized: &&Sized| {
        sum = sum.saturating_add(sized.bytes).saturating_add(FIXED_BYTES);
        sum <= PAGE_BYTES
    };
    sizes.iter().take(limit).take_while(fits).count().max(1).min(sizes.len())
}

impl Store {
    /// Returns a company's webhooks, newest first: `limit` at most, after the id `after`, and no more than 4 MiB of them.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn webhooks(&self, company: &str, after: Option<&str>, limit: usize) -> Result<WebhookPage, StoreError> {
        let log = self.log_reader(company).await?;
        let inline = i64::try_from(MAX_INLINE_CONFIG_BYTES).unwrap_or(i64::MAX);
        let rows = db::query(SIZES).bind(company).bind(inline).fetch_all(&log).await?;
        let size = |row: &DatabaseRow| Ok(Sized { id: row.try_get("id")?, bytes: row.try_get("bytes")? });
        let mut sizes = rows.iter().map(size).collect::<Result<Vec<_>, sqlx::Error>>()?;
        sizes.retain(|sized| after.is_none_or(|after| *sized.id < *after));
        let page = sizes.get(..fitting(&sizes, limit)).unwrap_or_default();
        let (Some(newest), Some(oldest)) = (page.first(), page.last()) else {
            return Ok(WebhookPage { webhooks: Vec::new(), bytes: 0, next: None });
        };
        let query = db::query(AssertSqlSafe(page_sql())).bind(company).bind(oldest.id.as_str());
        let rows = query.bind(newest.id.as_str()).fetch_all(&log).await?;
        let webhooks = rows.iter().map(|row| small_webhook_from_row(&self.sealer, row)).collect::<Result<_, _>>()?;
        let next = (page.len() < sizes.len()).then(|| oldest.id.clone());
        let bytes = page.iter().map(|sized| sized.bytes.saturating_add(FIXED_BYTES).unsigned_abs()).sum();
        Ok(WebhookPage { webhooks, bytes, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: &[i64]) -> Vec<Sized> {
        bytes.iter().map(|bytes| Sized { id: String::new(), bytes: *bytes }).collect()
    }

    #[test]
    fn page_ends_at_its_number_of_webhooks_or_of_bytes_and_has_one_at_least() {
        assert_eq!(fitting(&sizes(&[]), 10), 0);
        assert_eq!(fitting(&sizes(&[1, 1, 1]), 10), 3);
        assert_eq!(fitting(&sizes(&[1, 1, 1]), 2), 2);
        assert_eq!(fitting(&sizes(&[2 << 20, 1 << 20, 1 << 20, 1]), 10), 2);
        assert_eq!(fitting(&sizes(&[9 << 20, 1]), 10), 1);
    }
}
