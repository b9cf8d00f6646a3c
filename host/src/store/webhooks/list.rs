//! The webhooks of a company, page by page: the number of bytes of a page is bounded, and large configs are not read.

use sqlx::AssertSqlSafe;

use super::chains::{SEVERAL, completed};
use super::rows::{select_small_sql, small_webhook_from_row};
use crate::domain::webhook::{MAX_INLINE_CHAIN_CONFIG_BYTES, MAX_INLINE_CONFIG_BYTES, Webhook};
use crate::store::db::{self, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// Most bytes of the variable fields of a page; a page has at least one webhook.
const PAGE_BYTES: i64 = 4 << 20;
/// What a webhook counts besides its large fields.
const FIXED_BYTES: i64 = 1024;

/// Which webhooks a list has: all, unless a field says otherwise.
#[derive(Debug, Clone, Default)]
pub struct WebhookFilter {
    /// The one with this id.
    pub id: Option<String>,
    /// The one for this type.
    pub event_type: Option<String>,
    /// Those that are enabled, or those that are not.
    pub enabled: Option<bool>,
    /// Those without a label.
    pub unlabelled: bool,
}

impl WebhookFilter {
    /// Returns the conditions. Their binds, [`Self::values`], begin at `$number`.
    fn conditions(&self, number: usize) -> String {
        let columns = [("id", &self.id), ("event_type", &self.event_type)];
        let given = columns.iter().filter(|(_, value)| value.is_some()).enumerate();
        let equal = given.map(|(index, (column, _))| format!(" AND w.{column} = ${}", number + index));
        let enabled = self.enabled.map(|enabled| format!(" AND w.enabled = {}", i32::from(enabled)));
        let unlabelled = self.unlabelled.then(|| " AND w.label IS NULL".to_owned());
        equal.chain(enabled).chain(unlabelled).collect()
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        [&self.id, &self.event_type].into_iter().filter_map(Option::as_deref)
    }
}

/// Some of a company's webhooks.
pub struct WebhookPage {
    /// The webhooks, newest first.
    pub webhooks: Vec<Webhook>,
    /// The bytes that they take, about.
    pub bytes: u64,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
    /// How many webhooks all pages have.
    pub total: usize,
    /// Whether there is a page before.
    pub has_previous: bool,
}

/// Finds the webhooks of a company and the bytes that each takes in a page. Binds: the company, the most bytes of a config that
/// is read, the values of the filter.
pub(in crate::store) fn sizes_sql(filter: &WebhookFilter) -> String {
    let conditions = filter.conditions(3);
    format!(
        "SELECT id, CAST(CASE WHEN plugin_name = '{SEVERAL}' THEN {MAX_INLINE_CONFIG_BYTES} \
         WHEN octet_length(config) <= $2 THEN 2 * octet_length(config) ELSE 0 END \
         + octet_length(headers) + COALESCE(octet_length(sealed_headers), 0) + COALESCE(octet_length(tls_ca), 0) AS BIGINT) \
         AS bytes FROM webhooks w WHERE company = $1{conditions} ORDER BY id DESC"
    )
}

/// Returns the statement for the webhooks of a company whose ids lie in a range. Binds: the company, the first and the last id,
/// the values of the filter.
pub(in crate::store) fn page_sql(filter: &WebhookFilter) -> String {
    let (select, conditions) = (select_small_sql(MAX_INLINE_CONFIG_BYTES), filter.conditions(4));
    format!("{select} WHERE w.company = $1 AND w.id >= $2 AND w.id <= $3{conditions} ORDER BY w.id DESC")
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
    /// Returns all of a company's webhooks as [`Store::filtered_webhooks`] does.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn webhooks(&self, company: &str, after: Option<&str>, limit: usize) -> Result<WebhookPage, StoreError> {
        self.filtered_webhooks(company, &WebhookFilter::default(), after, limit).await
    }

    /// Returns the webhooks of a company that the filter selects, newest first: `limit` at most, after the id `after`, and no
    /// more than 4 MiB of them.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn filtered_webhooks(
        &self,
        company: &str,
        filter: &WebhookFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<WebhookPage, StoreError> {
        let log = self.log_reader(company).await?;
        let inline = i64::try_from(MAX_INLINE_CONFIG_BYTES).unwrap_or(i64::MAX);
        let query = db::query(AssertSqlSafe(sizes_sql(filter))).bind(company).bind(inline);
        let rows = filter.values().fold(query, |query, value| query.bind(value)).fetch_all(&log).await?;
        let size = |row: &DatabaseRow| Ok(Sized { id: row.try_get("id")?, bytes: row.try_get("bytes")? });
        let mut sizes = rows.iter().map(size).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let total = sizes.len();
        sizes.retain(|sized| after.is_none_or(|after| *sized.id < *after));
        let page = sizes.get(..fitting(&sizes, limit)).unwrap_or_default();
        let (Some(newest), Some(oldest)) = (page.first(), page.last()) else {
            return Ok(WebhookPage { webhooks: Vec::new(), bytes: 0, next: None, total, has_previous: total > 0 });
        };
        let query = db::query(AssertSqlSafe(page_sql(filter))).bind(company).bind(oldest.id.as_str());
        let query = query.bind(newest.id.as_str());
        let rows = filter.values().fold(query, |query, value| query.bind(value)).fetch_all(&log).await?;
        let rows = rows.iter().map(|row| small_webhook_from_row(&self.sealer, row)).collect::<Result<_, _>>()?;
        let webhooks = completed(&log, rows, MAX_INLINE_CHAIN_CONFIG_BYTES).await?;
        let next = (page.len() < sizes.len()).then(|| oldest.id.clone());
        let bytes = page.iter().map(|sized| sized.bytes.saturating_add(FIXED_BYTES).unsigned_abs()).sum();
        Ok(WebhookPage { webhooks, bytes, next, total, has_previous: sizes.len() < total })
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
