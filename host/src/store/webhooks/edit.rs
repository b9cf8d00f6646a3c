//! Storing, changing and removing webhooks, and rotating their signing secrets.

use std::sync::Arc;

use super::rows::{WebhookKey, find, find_subscription, seal_plain_headers, write};
use crate::domain::Invalid;
use crate::domain::quota::Quota;
use crate::domain::subscription::{self, is_pattern};
use crate::domain::webhook::Webhook;
use crate::store::changes::{Change, notify, outdate};
use crate::store::db::{self, DatabaseConnection};
use crate::store::error::StoreError;
use crate::store::handle::Store;
use crate::store::nodes::has_earlier_node;
use crate::store::quotas::check;
use crate::store::seal::{SealedPlace, Sealer};
use crate::store::subscription_key::{subscription_key, subscription_of};
use crate::store::webhook_cache::WebhookCache;
use crate::store::writer::transaction;

// The current secret becomes the previous one, unless its time is already over.
const ROTATE: &str = "UPDATE webhooks SET signing_secret = $3, \
    previous_secret = CASE WHEN CAST($5 AS BIGINT) > CAST($4 AS BIGINT) THEN signing_secret END, \
    previous_until = CASE WHEN CAST($5 AS BIGINT) > CAST($4 AS BIGINT) THEN CAST($5 AS BIGINT) END, \
    updated_at = $4 WHERE company = $1 AND id = $2";

// A given secret signs alone from now on.
const REPLACE_SECRET: &str = "UPDATE webhooks SET signing_secret = $3, previous_secret = NULL, previous_until = NULL \
    WHERE company = $1 AND id = $2";

const TAKEN: &str =
    "has already been taken: the company has a webhook for this type; change that one, or remove it first";

/// What a webhook does to the one that the company has for its type already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfTaken {
    /// It takes its place, and keeps its `id`, `created_at` and signing secrets.
    Overwrite,
    /// As [`Self::Overwrite`], but with its own signing secret.
    OverwriteWithSecret,
    /// It leaves it as it is, and is not stored.
    Refuse,
}

/// A webhook that was stored.
#[derive(Clone)]
pub struct StoredWebhook {
    /// The webhook as it is stored.
    pub webhook: Webhook,
    /// The webhook that it overwrote; `None`: it is new.
    pub before: Option<Webhook>,
}

/// A rotation to a new signing secret.
pub struct Rotation {
    /// The new secret, as raw bytes.
    pub secret: Arc<[u8]>,
    /// When the new secret starts to sign: milliseconds since 1970.
    pub now: i64,
    /// Until when the previous secret signs as well: milliseconds since 1970.
    pub until: i64,
}

impl Store {
    /// Stores a webhook. If the company has one for its type and label, [`IfTaken`] says what becomes of that.
    ///
    /// # Errors
    /// [`StoreError::Rule`]: an event would match too many webhooks. [`StoreError::InUse`]: as [`IfTaken::Refuse`]; it has a label or is for a pattern, and
    /// a node of the previous version serves the database. [`StoreError::Limit`]: the company has too many webhooks, or too many bytes of configs. [`StoreError::Changed`]: the webhook would run another
    /// version of its plugin than the one that checked its config. The database's.
    pub async fn put_webhook(&self, webhook: Webhook, if_taken: IfTaken) -> Result<StoredWebhook, StoreError> {
        let (cache, company) = (self.webhooks.clone(), webhook.company.clone());
        let (sealer, quotas) = (self.sealer.clone(), self.quotas);
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let own = webhook.subscription();
                let before = find_subscription(&mut *connection, &sealer, &webhook.company, own).await?;
                if if_taken == IfTaken::Refuse && before.is_some() {
                    return Err(StoreError::InUse(TAKEN.into()));
                }
                let id = write(connection, &sealer, &quotas, &webhook).await?;
                if if_taken == IfTaken::OverwriteWithSecret && before.is_some() {
                    replace_secret(connection, &sealer, &webhook, &id).await?;
                }
                if before.is_none() {
                    check(connection, &webhook.company, Quota::Webhooks, &quotas).await?;
                    check_matches(connection, &webhook).await?;
                }
                check_nodes(connection, &webhook, before.as_ref()).await?;
                // Read in the same transaction: right after it, another call may remove the webhook.
                let stored = find(&mut *connection, &sealer, WebhookKey { company: &webhook.company, id: &id }).await?;
                let webhook = stored.ok_or(sqlx::Error::RowNotFound)?;
                notify(connection, &Change::webhook(&webhook)).await?;
                Ok(StoredWebhook { webhook, before })
            })
        });
        let then = move |stored: &StoredWebhook| outdate(&cache, &Change::webhook(&stored.webhook));
        self.writer.run_for(&company, work, then).await
    }

    /// Changes a webhook within the writer's transaction, so that two concurrent changes are both kept. Returns the changed
    /// webhook; `None` if it does not exist. `change` must not modify `id`, company, type and label. A signing secret that it sets
    /// signs alone from now on.
    ///
    /// # Errors
    /// The error of `change`; [`StoreError::Limit`] and [`StoreError::Changed`] as for [`Store::put_webhook`]; the database's.
    pub async fn change_webhook(
        &self,
        key: WebhookKey<'_>,
        change: impl FnOnce(&mut Webhook) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Option<Webhook>, StoreError> {
        let (cache, sealer, quotas) = (self.webhooks.clone(), self.sealer.clone(), self.quotas);
        let (company, id) = (key.company.to_owned(), key.id.to_owned());
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let Some(mut webhook) =
                    find(&mut *connection, &sealer, WebhookKey { company: &company, id: &id }).await?
                else {
                    return Ok(None);
                };
                let secrets = |webhook: &Webhook| (webhook.signing_secret.clone(), webhook.previous_secret.clone());
                let before = webhook.clone();
                change(&mut webhook)?;
                write(connection, &sealer, &quotas, &webhook).await?;
                check_nodes(connection, &webhook, Some(&before)).await?;
                if secrets(&webhook) != secrets(&before) {
                    replace_secret(connection, &sealer, &webhook, &id).await?;
                }
                notify(connection, &Change::webhook(&webhook)).await?;
                find(connection, &sealer, WebhookKey { company: &company, id: &id }).await
            })
        });
        self.writer.run_for(key.company, work, move |stored| invalidate(&cache, stored.as_ref())).await
    }

    /// Gives a webhook a new signing secret. Returns the changed webhook; `None` if it does not exist. If an earlier rotation
    /// is still in progress, its older secret is dropped at once.
    ///
    /// # Errors
    /// The database's.
    pub async fn rotate_secret(&self, key: WebhookKey<'_>, rotation: Rotation) -> Result<Option<Webhook>, StoreError> {
        let (cache, sealer) = (self.webhooks.clone(), self.sealer.clone());
        let (company, id) = (key.company.to_owned(), key.id.to_owned());
        let work = transaction(move |connection| {
            Box::pin(async move {
                let key = WebhookKey { company: &company, id: &id };
                let Some(before) = find(&mut *connection, &sealer, key).await? else { return Ok(None) };
                let place = subscription_key(before.subscription());
                let sealed = sealer.seal(&rotation.secret, SealedPlace::Secret(&company, &place))?;
                let query = db::query(ROTATE).bind(company.as_str()).bind(id.as_str());
                query.bind(sealed).bind(rotation.now).bind(rotation.until).execute(&mut *connection).await?;
                let stored = find(&mut *connection, &sealer, WebhookKey { company: &company, id: &id }).await?;
                if let Some(webhook) = &stored {
                    notify(connection, &Change::webhook(webhook)).await?;
                }
                Ok(stored)
            })
        });
        self.writer.run_for(key.company, work, move |stored| invalidate(&cache, stored.as_ref())).await
    }

    /// Encrypts the headers of webhooks that an earlier version stored in clear, a few in one transaction. Returns whether
    /// there may be more.
    ///
    /// # Errors
    /// The database's.
    pub async fn seal_plain_headers(&self) -> Result<bool, StoreError> {
        let sealer = self.sealer.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                seal_plain_headers(connection, &sealer).await
            })
        });
        self.writer.run(work, |_| ()).await
    }

    /// Removes a webhook. Returns false if it did not exist. Its pending deliveries are left to [`Store::cancel_orphans`].
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_webhook(&self, webhook: &Webhook) -> Result<bool, StoreError> {
        let (cache, id, change) = (self.webhooks.clone(), webhook.id.clone(), Change::webhook(webhook));
        let announced = change.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                let removed = remove_row(connection, &id).await?;
                notify(connection, &announced).await?;
                Ok(removed)
            })
        });
        self.writer.run_for(&webhook.company, work, move |_| outdate(&cache, &change)).await
    }
}

/// Removes a webhook, and its owner among the nodes. Returns false if it did not exist.
pub(in crate::store) async fn remove_row(connection: &mut DatabaseConnection, id: &str) -> Result<bool, sqlx::Error> {
    let query = db::query("DELETE FROM lane_owners WHERE webhook_id = $1").bind(id);
    query.execute(&mut *connection).await?;
    let sql =
        "DELETE FROM chain_transforms WHERE company = (SELECT company FROM webhooks WHERE id = $1) AND holder = $1";
    db::query(sql).bind(id).execute(&mut *connection).await?;
    Ok(db::query("DELETE FROM webhooks WHERE id = $1").bind(id).execute(connection).await? == 1)
}

/// Checks that an event matches not too many webhooks, now that this one is stored.
async fn check_matches(connection: &mut DatabaseConnection, webhook: &Webhook) -> Result<(), StoreError> {
    let query = db::query("SELECT event_type FROM webhooks WHERE company = $1").bind(webhook.company.as_str());
    let keys: Vec<String> = query.values(connection).await?;
    let subscribed = keys.iter().map(|key| subscription_of(key).event_type);
    subscription::check_matches(&webhook.event_type, subscribed)
        .map_err(|refusal| StoreError::Rule(Invalid::at("/type", refusal.to_string())))
}

/// Checks that no node would accept events without this webhook, POST what waits for its consumer, or keep data that is not to be
/// kept: nodes of the previous version do not find it, and know neither consumers, transient deliveries nor several transforms, of
/// which they run none and send nothing. `before` is the webhook that it replaces.
async fn check_nodes(
    connection: &mut DatabaseConnection,
    webhook: &Webhook,
    before: Option<&Webhook>,
) -> Result<(), StoreError> {
    let is_new_kind = |webhook: &Webhook| webhook.label.is_some() || is_pattern(&webhook.event_type);
    let starts = |has: fn(&Webhook) -> bool| has(webhook) && !before.is_some_and(has);
    let begins = starts(Webhook::is_pulled) || starts(Webhook::is_transient) || starts(Webhook::has_several_transforms);
    if !begins && (before.is_some() || !is_new_kind(webhook)) {
        return Ok(());
    }
    if !has_earlier_node(connection).await? {
        return Ok(());
    }
    let text = "a node of an earlier version serves the database still: a webhook with a label, for a pattern of types, with \
                `delivery` `pull`, with `keep_payload` `until_delivered` or with several transforms can be made once all nodes \
                are upgraded";
    Err(StoreError::InUse(text.into()))
}

/// Lets the signing secret of `webhook` sign alone for the webhook with this id.
async fn replace_secret(
    connection: &mut DatabaseConnection,
    sealer: &Sealer,
    webhook: &Webhook,
    id: &str,
) -> Result<(), StoreError> {
    let sealed = sealer.seal(
        &webhook.signing_secret,
        SealedPlace::Secret(&webhook.company, &subscription_key(webhook.subscription())),
    )?;
    let query = db::query(REPLACE_SECRET).bind(webhook.company.as_str()).bind(id).bind(sealed);
    query.execute(connection).await?;
    Ok(())
}

/// Drops the cached copy of a webhook that was changed.
fn invalidate(cache: &WebhookCache, stored: Option<&Webhook>) {
    if let Some(webhook) = stored {
        outdate(cache, &Change::webhook(webhook));
    }
}
