//! Rows of webhooks: reading, finding and writing them.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::chains::{self, SEVERAL, WebhookRow, completed};
use super::configs::hold;
use crate::domain::attempt_timeout::AttemptTimeout;
use crate::domain::payload_retention::PayloadRetention;
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::plugin_config::PluginConfig;
use crate::domain::quota::{Quota, Quotas};
use crate::domain::rate_limit::RateLimit;
use crate::domain::subscription::Subscription;
use crate::domain::tls::TlsSettings;
use crate::domain::transform::OnError;
use crate::domain::webhook::{PreviousSecret, Recipient, Webhook};
use crate::store::db::{self, DatabaseConnection, DatabaseQuery, DatabaseRow, QueryTarget};
use crate::store::error::StoreError;
use crate::store::plugins::{RunningVersion, check_version_to_run};
use crate::store::quotas::check;
use crate::store::seal::{SealedPlace, Sealer};
use crate::store::subscription_key::{subscription_key, subscription_of};

/// Joins the plugin `p` of a webhook `w`. Its owner is decided as in `domain::plugin::owner`.
pub(super) const PLUGIN_JOIN: &str = "LEFT JOIN plugins p ON p.name = w.plugin_name \
                      AND p.company = CASE WHEN substr(w.plugin_name, 1, 4) = 'std-' THEN '' ELSE w.company END";

/// Selects webhooks with the alias `w`, with configs of any size.
pub(super) fn select_sql() -> String {
    format!("SELECT w.*, COALESCE(w.plugin_pin, p.active_digest) AS plugin_digest FROM webhooks w {PLUGIN_JOIN}")
}

/// Selects webhooks with the alias `w`, without reading configs of more than `most_bytes`.
pub(super) fn select_small_sql(most_bytes: usize) -> String {
    format!("{} FROM webhooks w {PLUGIN_JOIN}", small_columns_sql(most_bytes))
}

/// The part of [`select_small_sql`] before `FROM`.
pub(super) fn small_columns_sql(most_bytes: usize) -> String {
    // Every column but `config`.
    const COLUMNS: &str = "w.id, w.company, w.event_type, w.target_url, w.challenge, w.name, w.enabled, w.disabled_reason, \
        w.plugin_name, w.plugin_pin, w.on_error, w.headers, w.max_in_flight, w.rate_limit, w.ordered, w.signing_secret, \
        w.created_at, w.updated_at, w.config_digest, w.previous_secret, w.previous_until, w.failing_since, w.proven, \
        w.sealed_headers, w.tls_ca, w.tls_pin_sha256, w.timeout, w.rate, w.label, w.failing_announced, w.api_version, w.delivery, \
        w.keep_payload, \
        COALESCE(w.plugin_pin, p.active_digest) AS plugin_digest";
    format!(
        "SELECT {COLUMNS}, CAST(octet_length(w.config) AS BIGINT) AS config_size, \
         CASE WHEN octet_length(w.config) <= {most_bytes} OR w.config_digest = '' THEN w.config END AS config"
    )
}

// An overwritten webhook starts without failures. A previous secret that no longer signs is removed with the next change.
const UPSERT: &str = "INSERT INTO webhooks (id, company, event_type, target_url, challenge, name, enabled, \
    disabled_reason, plugin_name, plugin_pin, config, on_error, headers, max_in_flight, rate_limit, ordered, \
    signing_secret, created_at, updated_at, config_digest, sealed_headers, \
    tls_ca, tls_pin_sha256, timeout, rate, label, api_version, delivery, keep_payload) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $19, $8, $9, $10, $11, '[]', $12, $13, $14, $15, $16, $16, $17, $18, $20, $21, $22, $23, $24, $25, $26, $27) \
    ON CONFLICT (company, event_type) DO UPDATE SET target_url = excluded.target_url, \
    challenge = excluded.challenge, name = excluded.name, enabled = excluded.enabled, \
    disabled_reason = excluded.disabled_reason, failing_since = NULL, proven = 0, \
    plugin_name = excluded.plugin_name, plugin_pin = excluded.plugin_pin, config = excluded.config, \
    on_error = excluded.on_error, headers = excluded.headers, sealed_headers = excluded.sealed_headers, \
    tls_ca = excluded.tls_ca, tls_pin_sha256 = excluded.tls_pin_sha256, max_in_flight = excluded.max_in_flight, \
    rate_limit = excluded.rate_limit, ordered = excluded.ordered, updated_at = excluded.updated_at, \
    config_digest = excluded.config_digest, timeout = excluded.timeout, rate = excluded.rate, \
    api_version = excluded.api_version, delivery = excluded.delivery, keep_payload = excluded.keep_payload, \
    previous_secret = CASE WHEN webhooks.previous_until > excluded.updated_at THEN webhooks.previous_secret END, \
    previous_until = CASE WHEN webhooks.previous_until > excluded.updated_at THEN webhooks.previous_until END \
    RETURNING id";

/// Most webhooks whose headers are encrypted in one transaction.
const SEAL_STEP: i64 = 256;

/// The primary key of a webhook, with its company, so that a company finds only its own webhooks.
#[derive(Debug, Clone, Copy)]
pub struct WebhookKey<'k> {
    /// The company that the webhook belongs to.
    pub company: &'k str,
    /// The webhook's id.
    pub id: &'k str,
}

fn open_secret(sealer: &Sealer, sealed: &[u8], place: SealedPlace<'_>) -> Result<Arc<[u8]>, StoreError> {
    let secret = sealer
        .open(sealed, place)
        .ok_or_else(|| StoreError::Setup("a webhook's signing secret was encrypted with another secret key".into()))?;
    Ok(secret.into())
}

/// Reads the headers of a webhook. Rows from before they were encrypted have them in clear.
fn headers_from_row(
    sealer: &Sealer,
    row: &DatabaseRow,
    place: SealedPlace<'_>,
) -> Result<Vec<(String, String)>, StoreError> {
    let json = match row.try_get::<Option<Vec<u8>>>("sealed_headers")? {
        Some(sealed) => open_secret(sealer, &sealed, place)?.to_vec(),
        None => row.try_get::<String>("headers")?.into_bytes(),
    };
    Ok(serde_json::from_slice(&json).map_err(|error| sqlx::Error::Decode(error.into()))?)
}

/// Encrypts the headers of a webhook, if it has any.
fn seal_headers(sealer: &Sealer, webhook: &Webhook) -> Result<Option<Vec<u8>>, StoreError> {
    if webhook.headers.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_vec(&webhook.headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let key = subscription_key(webhook.subscription());
    sealer.seal(&json, SealedPlace::Headers(&webhook.company, &key)).map(Some)
}

/// Reads a row of [`select_sql`].
fn webhook_from_row(sealer: &Sealer, row: &DatabaseRow) -> Result<WebhookRow, StoreError> {
    let config: String = row.try_get("config")?;
    read_webhook(sealer, row, config.into())
}

/// Reads a row of [`select_small_sql`].
pub(super) fn small_webhook_from_row(sealer: &Sealer, row: &DatabaseRow) -> Result<WebhookRow, StoreError> {
    let config = match row.try_get::<Option<String>>("config")? {
        Some(text) => text.into(),
        None => PluginConfig::Stored { bytes: usize::try_from(row.try_get::<i64>("config_size")?).unwrap_or(0) },
    };
    read_webhook(sealer, row, config)
}

fn read_webhook(sealer: &Sealer, row: &DatabaseRow, config: PluginConfig) -> Result<WebhookRow, StoreError> {
    let (company, key): (String, String) = (row.try_get("company")?, row.try_get("event_type")?);
    let Subscription { event_type, label } = subscription_of(&key);
    let secret = SealedPlace::Secret(&company, &key);
    let config_digest: String = row.try_get("config_digest")?;
    // Nodes of an earlier version store none.
    let config_digest = match config.text().filter(|_| config_digest.is_empty()) {
        Some(text) => Digest::of(text.as_bytes()),
        None => Digest::stored(&config_digest),
    };
    let on_error: String = row.try_get("on_error")?;
    let sealed: Vec<u8> = row.try_get("signing_secret")?;
    let plugin: Option<String> = row.try_get("plugin_name")?;
    let has_several = plugin.as_deref() == Some(SEVERAL);
    let plugin = plugin.filter(|_| !has_several);
    let pin: Option<String> = row.try_get("plugin_pin")?;
    let digest: Option<String> = row.try_get("plugin_digest")?;
    let number = |column| -> Result<u32, sqlx::Error> {
        let number: i64 = row.try_get(column)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    };
    let (ca, pin_sha256): (Option<String>, Option<String>) = (row.try_get("tls_ca")?, row.try_get("tls_pin_sha256")?);
    let rate_limit: Option<i64> = row.try_get("rate_limit")?;
    let rate: Option<String> = row.try_get("rate")?;
    let timeout: Option<String> = row.try_get("timeout")?;
    let keep_payload: Option<String> = row.try_get("keep_payload")?;
    let previous: Option<Vec<u8>> = row.try_get("previous_secret")?;
    let until: Option<i64> = row.try_get("previous_until")?;
    let previous = previous.zip(until).map(|(sealed, until)| -> Result<_, StoreError> {
        Ok(PreviousSecret { secret: open_secret(sealer, &sealed, secret)?, until })
    });
    let webhook = Webhook {
        id: row.try_get("id")?,
        recipient: match row.try_get::<Option<String>>("delivery")?.as_deref() {
            Some(Recipient::PULL) => Recipient::Consumer,
            _ => Recipient::Url(row.try_get("target_url")?),
        },
        challenge: row.try_get("challenge")?,
        name: row.try_get("name")?,
        enabled: number("enabled")? == 1,
        disabled_reason: row.try_get("disabled_reason")?,
        plugin_digest: digest.as_deref().filter(|_| plugin.is_some()).map(Digest::stored),
        plugin: plugin.map(|name| PluginRef { name, digest_prefix: pin }),
        config_digest,
        config,
        on_error: OnError::named(&on_error).unwrap_or_default(),
        chain: Vec::new(),
        headers: headers_from_row(sealer, row, SealedPlace::Headers(&company, &key))?,
        tls: TlsSettings::new(ca.as_deref(), pin_sha256.as_deref()).map(Arc::new),
        max_in_flight: number("max_in_flight")?,
        rate_limit: rate_limit.map(|number| RateLimit::stored(number, rate.as_deref())),
        ordered: number("ordered")? == 1,
        timeout: timeout.and_then(|text| AttemptTimeout::parse(&text).ok()),
        keep_payload: keep_payload.and_then(|name| PayloadRetention::named(&name)).unwrap_or_default(),
        api_version: row.try_get("api_version")?,
        failing_since: row.try_get("failing_since")?,
        proven: number("proven")? == 1,
        failing_announced: number("failing_announced")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        signing_secret: open_secret(sealer, &sealed, secret)?,
        previous_secret: previous.transpose()?,
        event_type: event_type.to_owned(),
        label: label.map(str::to_owned),
        company,
    };
    Ok(WebhookRow { webhook, has_several })
}

/// Runs a query of [`select_sql`] for one webhook.
async fn find_by(
    database: impl Into<QueryTarget<'_>>,
    sealer: &Sealer,
    query: DatabaseQuery<'_>,
) -> Result<Option<Webhook>, StoreError> {
    let mut database = database.into();
    let row = query.fetch_optional(database.reborrow()).await?;
    let row = row.as_ref().map(|row| webhook_from_row(sealer, row)).transpose()?;
    Ok(completed(database, row.into_iter().collect(), usize::MAX).await?.pop())
}

/// Finds one webhook.
pub(super) async fn find(
    database: impl Into<QueryTarget<'_>>,
    sealer: &Sealer,
    key: WebhookKey<'_>,
) -> Result<Option<Webhook>, StoreError> {
    let sql = format!("{} WHERE w.company = $1 AND w.id = $2", select_sql());
    find_by(database, sealer, db::query(AssertSqlSafe(sql)).bind(key.company).bind(key.id)).await
}

/// Finds the webhook of a company that has this subscription.
pub(super) async fn find_subscription(
    database: impl Into<QueryTarget<'_>>,
    sealer: &Sealer,
    company: &str,
    subscription: Subscription<'_>,
) -> Result<Option<Webhook>, StoreError> {
    let sql = format!("{} WHERE w.company = $1 AND w.event_type = $2", select_sql());
    let query = db::query(AssertSqlSafe(sql)).bind(company).bind(subscription_key(subscription));
    find_by(database, sealer, query).await
}

/// Returns the config of a webhook that is to be stored.
///
/// # Errors
/// It was not read, so that storing the webhook would lose it.
pub(super) fn config_text(webhook: &Webhook) -> Result<&Arc<str>, StoreError> {
    let unread = || StoreError::Setup("a webhook whose config was not read cannot be stored".into());
    webhook.config.text().ok_or_else(unread)
}

/// Inserts the webhook, or overwrites every field but `id`, `created_at` and the secrets of the one with its company, type and
/// label. Returns the id of the row.
///
/// # Errors
/// [`StoreError::Limit`]: the company has too many bytes of configs. [`StoreError::Changed`]: the webhook would run another version of its plugin than the one that checked its config.
pub(super) async fn write(
    connection: &mut DatabaseConnection,
    sealer: &Sealer,
    quotas: &Quotas,
    webhook: &Webhook,
) -> Result<String, StoreError> {
    if let Some(plugin) = &webhook.plugin {
        let digest = webhook.plugin_digest.as_ref();
        check_version_to_run(connection, RunningVersion { company: &webhook.company, plugin, digest }).await?;
    }
    let config = config_text(webhook)?;
    let is_new = hold(connection, &webhook.company, &webhook.config_digest, config).await?;
    let key = subscription_key(webhook.subscription());
    // Bound to the company and the subscription, because an overwritten row keeps its id.
    let secret = sealer.seal(&webhook.signing_secret, SealedPlace::Secret(&webhook.company, &key))?;
    let headers = seal_headers(sealer, webhook)?;
    let only = webhook.plugin.as_ref().map(|plugin| plugin.name.as_str());
    let id: String = db::query(UPSERT)
        .bind(webhook.id.as_str())
        .bind(webhook.company.as_str())
        .bind(key)
        .bind(webhook.recipient.url().unwrap_or_default())
        .bind(webhook.challenge.as_deref())
        .bind(webhook.name.as_deref())
        .bind(i64::from(webhook.enabled))
        .bind(if webhook.chain.is_empty() { only } else { Some(SEVERAL) })
        .bind(webhook.plugin.as_ref().and_then(|plugin| plugin.digest_prefix.as_deref()))
        .bind(&**config)
        .bind(webhook.on_error.name())
        .bind(i64::from(webhook.max_in_flight))
        .bind(webhook.rate_limit.map(|rate| i64::from(rate.number())))
        .bind(i64::from(webhook.ordered))
        .bind(secret)
        .bind(webhook.updated_at)
        .bind(webhook.config_digest.as_str())
        .bind(headers)
        .bind(webhook.disabled_reason.as_deref())
        .bind(webhook.tls.as_ref().and_then(|tls| tls.ca()))
        .bind(webhook.tls.as_ref().and_then(|tls| tls.pin_sha256()))
        .bind(webhook.timeout.as_ref().map(AttemptTimeout::text))
        .bind(webhook.rate_limit.and_then(RateLimit::text))
        .bind(webhook.label.as_deref())
        .bind(webhook.api_version.as_deref())
        .bind(webhook.is_pulled().then_some(Recipient::PULL))
        .bind((webhook.keep_payload != PayloadRetention::default()).then(|| webhook.keep_payload.name()))
        .value(&mut *connection)
        .await?;
    let is_new = chains::replace(connection, &webhook.company, &id, &webhook.chain).await? || is_new;
    if is_new {
        check(connection, &webhook.company, Quota::ConfigBytes, quotas).await?;
    }
    Ok(id)
}

/// Encrypts the headers of a few webhooks that have them in clear. Returns whether there may be more.
pub(super) async fn seal_plain_headers(
    connection: &mut DatabaseConnection,
    sealer: &Sealer,
) -> Result<bool, StoreError> {
    let sql = "SELECT id, company, event_type, headers FROM webhooks WHERE sealed_headers IS NULL AND headers <> '[]' ORDER BY id LIMIT $1";
    let rows = db::query(sql).bind(SEAL_STEP).fetch_all(&mut *connection).await?;
    for row in &rows {
        let (id, headers): (String, String) = (row.try_get("id")?, row.try_get("headers")?);
        let (company, key): (String, String) = (row.try_get("company")?, row.try_get("event_type")?);
        let sealed = sealer.seal(headers.as_bytes(), SealedPlace::Headers(&company, &key))?;
        let sql = "UPDATE webhooks SET sealed_headers = $3, headers = '[]' WHERE id = $1 AND headers = $2";
        let query = db::query(sql).bind(id).bind(headers.as_str()).bind(sealed);
        query.execute(&mut *connection).await?;
    }
    Ok(i64::try_from(rows.len()).is_ok_and(|count| count == SEAL_STEP))
}
