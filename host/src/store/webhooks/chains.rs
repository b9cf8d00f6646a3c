//! The transforms of webhooks that have several, in a table of their own.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::configs::hold;
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::plugin_config::PluginConfig;
use crate::domain::transform::{OnError, Transform};
use crate::domain::webhook::Webhook;
use crate::store::db::{self, DatabaseConnection, DatabaseRow, QueryTarget};
use crate::store::error::StoreError;
use crate::store::multi_row::MultiRowStatement;
use crate::store::plugins::{RunningVersion, check_version_to_run};

/// The `plugin_name` of a webhook with several transforms: the name of no plugin.
pub(super) const SEVERAL: &str = "(several)";

/// What the holders of the transforms of policies begin with, before the policy's name: the id of no webhook.
pub(in crate::store) const POLICY_HOLDER: &str = "policy:";

/// Joins the plugin `p` and the config `c` of a transform `t`. The plugin's owner is decided as in `domain::plugin::owner`.
pub(in crate::store) const TRANSFORM_JOINS: &str = "LEFT JOIN plugins p ON p.name = t.plugin_name \
    AND p.company = CASE WHEN substr(t.plugin_name, 1, 4) = 'std-' THEN '' ELSE t.company END \
    LEFT JOIN configs c ON c.digest = t.config_digest";

/// The columns of a transform, with these joins. `most_bytes`, an expression, is the size of the largest config that is read.
pub(in crate::store) fn transform_columns(most_bytes: &str) -> String {
    format!(
        "t.plugin_name, t.plugin_pin, t.config_digest, t.on_error, COALESCE(t.plugin_pin, p.active_digest) AS plugin_digest, \
         CAST(octet_length(c.body) AS BIGINT) AS config_size, CASE WHEN octet_length(c.body) <= {most_bytes} THEN c.body END AS config"
    )
}

/// Finds the transforms of webhooks. Binds for each: the company, the webhook's id, the most bytes of a config that is read.
static CHAINS: LazyLock<MultiRowStatement> = LazyLock::new(|| {
    let head = format!("SELECT t.holder, {} FROM (VALUES", transform_columns("wanted.column3"));
    let tail = format!(
        ") AS wanted JOIN chain_transforms t ON t.company = wanted.column1 AND t.holder = wanted.column2 {TRANSFORM_JOINS} \
         ORDER BY t.holder, t.position"
    );
    MultiRowStatement::new(&head, "CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT)", &tail)
});

/// A webhook as its row alone has it.
#[must_use]
pub(super) struct WebhookRow {
    pub(super) webhook: Webhook,
    /// Whether its transforms are in the other table.
    pub(super) has_several: bool,
}

/// Reads the transforms of those webhooks that have several, without configs of more than `most_bytes`.
pub(super) async fn completed(
    database: impl Into<QueryTarget<'_>>,
    rows: Vec<WebhookRow>,
    most_bytes: usize,
) -> Result<Vec<Webhook>, StoreError> {
    if rows.iter().all(|row| !row.has_several) {
        return Ok(rows.into_iter().map(|row| row.webhook).collect());
    }
    let mut database = database.into();
    let most_bytes = i64::try_from(most_bytes).unwrap_or(i64::MAX);
    let wanted: Vec<_> = rows.iter().filter(|row| row.has_several).map(|row| &row.webhook).collect();
    let mut chains: HashMap<String, Vec<Transform>> = HashMap::new();
    for (sql, wanted) in CHAINS.split(database.kind(), &wanted) {
        let query = wanted.iter().fold(db::query(sql), |query, webhook| {
            query.bind(webhook.company.as_str()).bind(webhook.id.as_str()).bind(most_bytes)
        });
        for row in &query.fetch_all(database.reborrow()).await? {
            chains.entry(row.try_get("holder")?).or_default().push(transform_from_row(row)?);
        }
    }
    let complete = |WebhookRow { webhook, has_several }| {
        if !has_several {
            return Ok(webhook);
        }
        // Between the two reads, another request may have given it one transform, or none.
        let unread = || StoreError::Changed(format!("the transforms of webhook {} are being changed", webhook.id));
        let chain = chains.remove(&webhook.id).ok_or_else(unread)?;
        Ok(Webhook { chain, ..webhook })
    };
    rows.into_iter().map(complete).collect()
}

/// Reads the columns of [`transform_columns`].
///
/// # Errors
/// Its config is not stored: it cannot be left out.
pub(in crate::store) fn transform_from_row(row: &DatabaseRow) -> Result<Transform, StoreError> {
    let config_digest: String = row.try_get("config_digest")?;
    let config: Option<String> = row.try_get("config")?;
    let bytes: Option<i64> = row.try_get("config_size")?;
    let config = match (config, bytes) {
        (Some(text), _) => text.into(),
        (None, Some(bytes)) => PluginConfig::Stored { bytes: usize::try_from(bytes).unwrap_or(0) },
        (None, None) => return Err(StoreError::Setup(format!("config {config_digest} of a transform is not stored"))),
    };
    let on_error: String = row.try_get("on_error")?;
    let digest: Option<String> = row.try_get("plugin_digest")?;
    Ok(Transform {
        plugin: PluginRef { name: row.try_get("plugin_name")?, digest_prefix: row.try_get("plugin_pin")? },
        digest: digest.as_deref().map(Digest::stored),
        config,
        config_digest: Digest::stored(&config_digest),
        on_error: OnError::named(&on_error).unwrap_or_default(),
    })
}

/// Stores the transforms of a holder in place of those that it had. Returns whether one of their configs is new to the company.
///
/// # Errors
/// [`StoreError::Changed`]: one of them would run another version than the one that checked its config. The database's.
pub(in crate::store) async fn replace(
    connection: &mut DatabaseConnection,
    company: &str,
    holder: &str,
    transforms: &[Transform],
) -> Result<bool, StoreError> {
    let query = db::query("DELETE FROM chain_transforms WHERE company = $1 AND holder = $2").bind(company).bind(holder);
    query.execute(&mut *connection).await?;
    let mut is_new = false;
    for (position, transform) in (0_i64..).zip(transforms) {
        let Transform { plugin, digest, config, config_digest, on_error } = transform;
        check_version_to_run(connection, RunningVersion { company, plugin, digest: digest.as_ref() }).await?;
        let unread = || StoreError::Setup("a transform whose config was not read cannot be stored".into());
        is_new |= hold(connection, company, config_digest, config.text().ok_or_else(unread)?).await?;
        db::query(
            "INSERT INTO chain_transforms (company, holder, position, plugin_name, plugin_pin, config_digest, on_error) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(company)
        .bind(holder)
        .bind(position)
        .bind(plugin.name.as_str())
        .bind(plugin.digest_prefix.as_deref())
        .bind(config_digest.as_str())
        .bind(on_error.name())
        .execute(&mut *connection)
        .await?;
    }
    Ok(is_new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::backend::Backend;
    use crate::store::db::DatabaseKind;

    #[tokio::test]
    async fn transforms_are_read_by_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("plans.db").display());
        let mut connection = Backend::open(&url).await.unwrap().connect().await.unwrap();
        let (sql, _) = CHAINS.split(DatabaseKind::Sqlite, &[()]).next().unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {}", sql.0);
        let query = db::query(sqlx::AssertSqlSafe(plan)).bind("acme").bind("wh_1").bind(1_i64);
        let rows = query.fetch_all(&mut connection).await.unwrap();
        let plan = rows.iter().map(|row| row.try_get::<String>("detail").unwrap()).collect::<Vec<_>>().join("; ");
        for used in [
            "SEARCH t USING INDEX sqlite_autoindex_chain_transforms_1 (company=? AND holder=?)",
            "SEARCH p",
            "SEARCH c",
        ] {
            assert!(plan.contains(used), "{plan}");
        }
    }
}
