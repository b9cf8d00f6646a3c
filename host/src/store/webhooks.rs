//! Webhooks: at most one per company and event type.

mod failing;

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::changes::{Change, tell};
use super::db::{self, Connection, Row, Target};
use super::plugins::check_runs;
use super::writer::work;
use super::{Sealer, Store, StoreError, WebhookCache};
use crate::domain::delivery::Status;
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::webhook::{OnError, PreviousSecret, Webhook};

/// Webhooks that one company may have.
const PER_COMPANY: i64 = 1_000;
/// Deliveries cancelled in one transaction, so that nobody waits long behind a webhook with a great backlog.
const CANCEL_STEP: i64 = 5_000;

// Whose plugin a name means, as `domain::plugin::owner` decides it.
const SELECT: &str = "SELECT w.*, COALESCE(w.plugin_pin, p.active_digest) AS plugin_digest FROM webhooks w \
                      LEFT JOIN plugins p ON p.name = w.plugin_name \
                      AND p.company = CASE WHEN substr(w.plugin_name, 1, 4) = 'std-' THEN '' ELSE w.company END";

// What was stored anew has not failed yet. A previous secret that no longer signs goes with the next change.
const UPSERT: &str = "INSERT INTO webhooks (id, company, event_type, target_url, challenge, name, enabled, \
    disabled_reason, plugin_name, plugin_pin, config, on_error, headers, max_in_flight, rate_limit, ordered, \
    signing_secret, created_at, updated_at, config_digest) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $19, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17, $18) \
    ON CONFLICT (company, event_type) DO UPDATE SET target_url = excluded.target_url, \
    challenge = excluded.challenge, name = excluded.name, enabled = excluded.enabled, \
    disabled_reason = excluded.disabled_reason, failing_since = NULL, proven = 0, \
    plugin_name = excluded.plugin_name, plugin_pin = excluded.plugin_pin, config = excluded.config, \
    on_error = excluded.on_error, headers = excluded.headers, max_in_flight = excluded.max_in_flight, \
    rate_limit = excluded.rate_limit, ordered = excluded.ordered, updated_at = excluded.updated_at, \
    config_digest = excluded.config_digest, \
    previous_secret = CASE WHEN webhooks.previous_until > excluded.updated_at THEN webhooks.previous_secret END, \
    previous_until = CASE WHEN webhooks.previous_until > excluded.updated_at THEN webhooks.previous_until END \
    RETURNING id";

// The secret that signed until now becomes the previous one, unless its time is over already.
const ROTATE: &str = "UPDATE webhooks SET signing_secret = $3, \
    previous_secret = CASE WHEN CAST($5 AS BIGINT) > CAST($4 AS BIGINT) THEN signing_secret END, \
    previous_until = CASE WHEN CAST($5 AS BIGINT) > CAST($4 AS BIGINT) THEN CAST($5 AS BIGINT) END, \
    updated_at = $4 WHERE company = $1 AND id = $2";

/// A signing secret that takes over.
pub struct Rotation {
    /// Raw bytes.
    pub secret: Arc<[u8]>,
    /// When it takes over: milliseconds since 1970.
    pub now: i64,
    /// Until when the one before signs too: milliseconds since 1970.
    pub until: i64,
}

impl Sealer {
    fn open_secret(&self, sealed: &[u8]) -> Result<Arc<[u8]>, StoreError> {
        let secret = self.open(sealed).ok_or_else(|| {
            StoreError::Setup("a webhook's signing secret was encrypted with another secret key".into())
        })?;
        Ok(secret.into())
    }

    fn webhook_of(&self, row: &Row) -> Result<Webhook, StoreError> {
        let on_error: String = row.try_get("on_error")?;
        let headers: String = row.try_get("headers")?;
        let config: String = row.try_get("config")?;
        let sealed: Vec<u8> = row.try_get("signing_secret")?;
        let plugin: Option<String> = row.try_get("plugin_name")?;
        let pin: Option<String> = row.try_get("plugin_pin")?;
        let digest: Option<String> = row.try_get("plugin_digest")?;
        let number = |column| -> Result<u32, sqlx::Error> {
            let number: i64 = row.try_get(column)?;
            Ok(u32::try_from(number).unwrap_or(u32::MAX))
        };
        let rate_limit: Option<i64> = row.try_get("rate_limit")?;
        let previous: Option<Vec<u8>> = row.try_get("previous_secret")?;
        let until: Option<i64> = row.try_get("previous_until")?;
        let previous = previous.zip(until).map(|(sealed, until)| -> Result<_, StoreError> {
            Ok(PreviousSecret { secret: self.open_secret(&sealed)?, until })
        });
        Ok(Webhook {
            id: row.try_get("id")?,
            company: row.try_get("company")?,
            event_type: row.try_get("event_type")?,
            target_url: row.try_get("target_url")?,
            challenge: row.try_get("challenge")?,
            name: row.try_get("name")?,
            enabled: number("enabled")? == 1,
            disabled_reason: row.try_get("disabled_reason")?,
            plugin_digest: digest.as_deref().filter(|_| plugin.is_some()).map(Digest::stored),
            plugin: plugin.map(|name| PluginRef { name, digest_prefix: pin }),
            config_digest: Digest::of(config.as_bytes()),
            config: config.into(),
            on_error: OnError::named(&on_error).unwrap_or_default(),
            headers: serde_json::from_str(&headers).map_err(|error| sqlx::Error::Decode(error.into()))?,
            max_in_flight: number("max_in_flight")?,
            rate_limit: rate_limit.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
            ordered: number("ordered")? == 1,
            failing_since: row.try_get("failing_since")?,
            proven: number("proven")? == 1,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            signing_secret: self.open_secret(&sealed)?,
            previous_secret: previous.transpose()?,
        })
    }
}

impl Store {
    /// The webhook for events of this type, from memory where it is known.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook_for(&self, company: &str, event_type: &str) -> Result<Option<Arc<Webhook>>, StoreError> {
        let key = (company.to_owned(), event_type.to_owned());
        let mark = match self.webhooks.get(&key) {
            Ok(webhook) => return Ok(webhook),
            Err(mark) => mark,
        };
        let sql = format!("{SELECT} WHERE w.company = $1 AND w.event_type = $2");
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(event_type);
        let row = query.fetch_optional(&self.readers).await?;
        let found = row.as_ref().map(|row| self.sealer.webhook_of(row)).transpose()?.map(Arc::new);
        self.webhooks.keep(mark, key, found.clone());
        Ok(found)
    }

    /// One webhook of a company.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhook(&self, company: &str, id: &str) -> Result<Option<Webhook>, StoreError> {
        find(&self.readers, &self.sealer, (company, id)).await
    }

    /// A company's webhooks, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn webhooks(&self, company: &str) -> Result<Vec<Webhook>, StoreError> {
        let sql = format!("{SELECT} WHERE w.company = $1 ORDER BY w.id DESC");
        let rows = db::query(AssertSqlSafe(sql)).bind(company).fetch_all(&self.readers).await?;
        rows.iter().map(|row| self.sealer.webhook_of(row)).collect()
    }

    /// The plugin versions that enabled webhooks run, each once: what is worth compiling before it is needed.
    ///
    /// # Errors
    /// The database's.
    pub async fn versions_in_use(&self, limit: u32) -> Result<Vec<(String, String, Digest)>, StoreError> {
        let sql = "SELECT DISTINCT p.company, w.plugin_name, COALESCE(w.plugin_pin, p.active_digest) AS digest \
                   FROM webhooks w JOIN plugins p ON p.name = w.plugin_name \
                   AND p.company = CASE WHEN substr(w.plugin_name, 1, 4) = 'std-' THEN '' ELSE w.company END \
                   WHERE w.enabled = 1 AND COALESCE(w.plugin_pin, p.active_digest) IS NOT NULL LIMIT $1";
        let rows = db::query(sql).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        let triple = |row: &Row| -> Result<_, sqlx::Error> {
            let digest: String = row.try_get("digest")?;
            Ok((row.try_get("company")?, row.try_get("plugin_name")?, Digest::stored(&digest)))
        };
        Ok(rows.iter().map(triple).collect::<Result<_, _>>()?)
    }

    /// Stores a subscription. Where one to its type exists, every field is replaced but `id`, `created_at` and the
    /// signing secret. Returns whether it is new; the webhook is then read anew.
    ///
    /// # Errors
    /// [`StoreError::Limit`] when the company has too many, [`StoreError::Changed`] when it would run another version of
    /// its plugin than the one that checked its config.
    pub async fn put_webhook(&self, webhook: Webhook) -> Result<(bool, Webhook), StoreError> {
        let (cache, key) = (self.webhooks.clone(), (webhook.company.clone(), webhook.event_type.clone()));
        let (company, sealer) = (webhook.company.clone(), self.sealer.clone());
        let work = work(move |connection| {
            Box::pin(async move {
                connection.alone().await?;
                let id = write(connection, &sealer, &webhook).await?;
                tell(connection, &Change::webhook(&webhook.company, &webhook.event_type)).await?;
                let created = id == webhook.id;
                if created {
                    check_count(connection, &webhook.company).await?;
                }
                Ok((created, id))
            })
        });
        let (created, id) = self.writer.run(work, move |_| cache.forget(&key)).await?;
        let stored = self.webhook(&company, &id).await?.ok_or(StoreError::NotCommitted)?;
        Ok((created, stored))
    }

    /// Changes a webhook as it stands in the writer's transaction, so that of two changes at once neither is lost; `None`
    /// where it is not there any more. `change` leaves `id`, company, type and secrets as they are.
    ///
    /// # Errors
    /// What `change` says; [`StoreError::Changed`] as for [`Store::put_webhook`].
    pub async fn change_webhook(
        &self,
        (company, id): (&str, &str),
        change: impl FnOnce(&mut Webhook) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Option<Webhook>, StoreError> {
        let (cache, sealer) = (self.webhooks.clone(), self.sealer.clone());
        let (company, id) = (company.to_owned(), id.to_owned());
        let work = work(move |connection| {
            Box::pin(async move {
                connection.alone().await?;
                let Some(mut webhook) = find(&mut *connection, &sealer, (&company, &id)).await? else {
                    return Ok(None);
                };
                change(&mut webhook)?;
                write(connection, &sealer, &webhook).await?;
                tell(connection, &Change::webhook(&company, &webhook.event_type)).await?;
                find(connection, &sealer, (&company, &id)).await
            })
        });
        self.writer.run(work, move |stored| forget(&cache, stored.as_ref())).await
    }

    /// Gives a webhook a new signing secret; `None` where it is not there any more. Of a rotation that is still under way
    /// the older secret ends at once.
    ///
    /// # Errors
    /// The database's.
    pub async fn rotate_secret(
        &self,
        (company, id): (&str, &str),
        rotation: Rotation,
    ) -> Result<Option<Webhook>, StoreError> {
        let (cache, sealer) = (self.webhooks.clone(), self.sealer.clone());
        let (company, id) = (company.to_owned(), id.to_owned());
        let work = work(move |connection| {
            Box::pin(async move {
                let query = db::query(ROTATE).bind(company.as_str()).bind(id.as_str());
                let query = query.bind(sealer.seal(&rotation.secret)?).bind(rotation.now).bind(rotation.until);
                query.execute(&mut *connection).await?;
                let stored = find(&mut *connection, &sealer, (&company, &id)).await?;
                if let Some(webhook) = &stored {
                    tell(connection, &Change::webhook(&company, &webhook.event_type)).await?;
                }
                Ok(stored)
            })
        });
        self.writer.run(work, move |stored| forget(&cache, stored.as_ref())).await
    }

    /// Removes a webhook; false when it was not there any more. What waits for it is left to [`Store::cancel_waiting`].
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_webhook(&self, webhook: &Webhook) -> Result<bool, StoreError> {
        let (cache, key) = (self.webhooks.clone(), (webhook.company.clone(), webhook.event_type.clone()));
        let (id, change) = (webhook.id.clone(), Change::webhook(&webhook.company, &webhook.event_type));
        let work = work(move |connection| {
            Box::pin(async move {
                let query = db::query("DELETE FROM webhooks WHERE id = $1").bind(id);
                let removed = query.execute(&mut *connection).await? == 1;
                tell(connection, &change).await?;
                Ok(removed)
            })
        });
        self.writer.run(work, move |_| cache.forget(&key)).await
    }

    /// Cancels what waits in the database for a webhook that has been removed. What a process has in memory is that
    /// process's to cancel; what it handed in before is committed when this returns.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_waiting(&self, webhook: &str, now: i64) -> Result<(), StoreError> {
        while self.cancel_some(webhook.to_owned(), now).await? > 0 {}
        Ok(())
    }

    async fn cancel_some(&self, webhook: String, now: i64) -> Result<u64, StoreError> {
        let work = work(move |connection| {
            Box::pin(async move {
                let sql = "UPDATE deliveries SET status = 'cancelled', due = NULL, lease = NULL, parked = 0, \
                           finished_at = $1 WHERE (company, id) IN (SELECT company, id FROM deliveries \
                           WHERE webhook_id = $2 AND status = 'pending' AND lease IS NULL LIMIT $3)";
                let query = db::query(sql).bind(now).bind(webhook).bind(CANCEL_STEP);
                Ok(query.execute(connection).await?)
            })
        });
        let metrics = self.metrics.clone();
        self.writer.run(work, move |count| metrics.deliveries_ended(Status::Cancelled, *count)).await
    }
}

fn forget(cache: &WebhookCache, stored: Option<&Webhook>) {
    if let Some(webhook) = stored {
        cache.forget(&(webhook.company.clone(), webhook.event_type.clone()));
    }
}

async fn find(
    database: impl Into<Target<'_>>,
    sealer: &Sealer,
    (company, id): (&str, &str),
) -> Result<Option<Webhook>, StoreError> {
    let sql = format!("{SELECT} WHERE w.company = $1 AND w.id = $2");
    let query = db::query(AssertSqlSafe(sql)).bind(company).bind(id);
    query.fetch_optional(database).await?.as_ref().map(|row| sealer.webhook_of(row)).transpose()
}

/// Writes every field but `id`, `created_at` and the secrets over the webhook of this company and type, or a new row;
/// answers the row's id.
async fn write(connection: &mut Connection, sealer: &Sealer, webhook: &Webhook) -> Result<String, StoreError> {
    check_runs(connection, webhook).await?;
    db::query("INSERT INTO configs (digest, body) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(webhook.config_digest.as_str())
        .bind(&*webhook.config)
        .execute(&mut *connection)
        .await?;
    upsert(connection, webhook, sealer.seal(&webhook.signing_secret)?).await
}

async fn upsert(connection: &mut Connection, webhook: &Webhook, sealed: Vec<u8>) -> Result<String, StoreError> {
    let headers = serde_json::to_string(&webhook.headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
    db::query(UPSERT)
        .bind(webhook.id.as_str())
        .bind(webhook.company.as_str())
        .bind(webhook.event_type.as_str())
        .bind(webhook.target_url.as_str())
        .bind(webhook.challenge.as_deref())
        .bind(webhook.name.as_deref())
        .bind(i64::from(webhook.enabled))
        .bind(webhook.plugin.as_ref().map(|plugin| plugin.name.as_str()))
        .bind(webhook.plugin.as_ref().and_then(|plugin| plugin.digest_prefix.as_deref()))
        .bind(&*webhook.config)
        .bind(webhook.on_error.name())
        .bind(headers)
        .bind(i64::from(webhook.max_in_flight))
        .bind(webhook.rate_limit.map(i64::from))
        .bind(i64::from(webhook.ordered))
        .bind(sealed)
        .bind(webhook.updated_at)
        .bind(webhook.config_digest.as_str())
        .bind(webhook.disabled_reason.as_deref())
        .value(connection)
        .await
        .map_err(Into::into)
}

async fn check_count(connection: &mut Connection, company: &str) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM webhooks WHERE company = $1";
    let count: i64 = db::query(sql).bind(company).value(connection).await?;
    if count > PER_COMPANY {
        return Err(StoreError::Limit(format!(
            "this company has {PER_COMPANY} webhooks, which is the most; remove one first"
        )));
    }
    Ok(())
}
