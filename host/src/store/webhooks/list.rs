//! The webhooks of a company, page by page: the number of bytes of a page is bounded, and large configs are not read.

use sqlx::AssertSqlSafe;

use super::rows::{PLUGIN_JOIN, webhook_with_config};
use crate::domain::plugin::Digest;
use crate::domain::webhook::{MAX_INLINE_CONFIG_BYTES, Webhook};
use crate::store::db::{self, DatabaseRow};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::seal::Sealer;

/// Most bytes of the variable fields of a page; a page has at least one webhook.
const PAGE_BYTES: i64 = 4 << 20;
/// What a webhook counts besides its large fields.
const FIXED_BYTES: i64 = 1024;

/// A webhook as a list shows it.
#[derive(Clone)]
pub struct ListedWebhook {
    /// The webhook; its `config` is `null` if it has over [`MAX_INLINE_CONFIG_BYTES`]: that is not read.
    pub webhook: Webhook,
    /// The bytes of its config.
    pub config_size: usize,
}

/// Some of a company's webhooks.
pub struct WebhookPage {
    /// The webhooks, newest first.
    pub webhooks: Vec<ListedWebhook>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Finds the webhooks of a company and the bytes that each takes in a page. Binds: the company, the most bytes of a config that
/// is read.
pub(in crate::store) const SIZES: &str = "SELECT id, CAST(CASE WHEN octet_length(config) <= $2 THEN octet_length(config) ELSE 0 END \
    + octet_length(headers) + COALESCE(octet_length(sealed_headers), 0) + COALESCE(octet_length(tls_ca), 0) AS BIGINT) \
    AS bytes FROM webhooks WHERE company = $1 ORDER BY id DESC";

/// Returns the statement for the webhooks of a company whose ids lie in a range. Binds: the company, the first and the last id,
/// the most bytes of a config that is read.
pub(in crate::store) fn page_sql() -> String {
    // Every column but `config`.
    const COLUMNS: &str = "w.id, w.company, w.event_type, w.target_url, w.challenge, w.name, w.enabled, w.disabled_reason, \
        w.plugin_name, w.plugin_pin, w.on_error, w.headers, w.max_in_flight, w.rate_limit, w.ordered, w.signing_secret, \
        w.created_at, w.updated_at, w.config_digest, w.previous_secret, w.previous_until, w.failing_since, w.proven, \
        w.sealed_headers, w.tls_ca, w.tls_pin_sha256, w.timeout, w.rate, \
        COALESCE(w.plugin_pin, p.active_digest) AS plugin_digest";
    format!(
        "SELECT {COLUMNS}, CAST(octet_length(w.config) AS BIGINT) AS config_size, \
         CASE WHEN octet_length(w.config) <= $4 THEN w.config END AS config FROM webhooks w {PLUGIN_JOIN} \
         WHERE w.company = $1 AND w.id >= $2 AND w.id <= $3 ORDER BY w.id DESC"
    )
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

fn listed_from_row(sealer: &Sealer, row: &DatabaseRow) -> Result<ListedWebhook, StoreError> {
    let config: Option<String> = row.try_get("config")?;
    let digest: String = row.try_get("config_digest")?;
    let config = config.unwrap_or_else(|| "null".into());
    let size: i64 = row.try_get("config_size")?;
    let webhook = webhook_with_config(sealer, row, (config, Digest::stored(&digest)))?;
    Ok(ListedWebhook { webhook, config_size: usize::try_from(size).unwrap_or(0) })
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
            return Ok(WebhookPage { webhooks: Vec::new(), next: None });
        };
        let query = db::query(AssertSqlSafe(page_sql())).bind(company).bind(oldest.id.as_str());
        let rows = query.bind(newest.id.as_str()).bind(inline).fetch_all(&log).await?;
        let webhooks = rows.iter().map(|row| listed_from_row(&self.sealer, row)).collect::<Result<_, _>>()?;
        let next = (page.len() < sizes.len()).then(|| oldest.id.clone());
        Ok(WebhookPage { webhooks, next })
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
