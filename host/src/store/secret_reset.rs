//! A lost secret key: noticing that one is needed, and giving up what only it could decrypt.

use std::time::Duration;

use tokio::time::sleep;

use super::backend::Backend;
use super::db::{self, DatabaseConnection};
use super::error::{StoreError, is_malformed};
use super::handle::{check_secret_key, seals_this_database};
use super::seal::{SealedPlace, Sealer};
use super::subscription_key::subscription_of;
use crate::domain::subscription::Subscription;

/// A node that serves the database increments its heartbeat within this time.
const HEARTBEAT_WAIT: Duration = Duration::from_secs(4);

/// What [`reset_secrets`] has replaced.
#[derive(Debug, Default)]
pub struct SecretReset {
    /// How many webhooks have new signing secrets.
    pub webhooks: usize,
    /// Company, id, type and label of each webhook whose headers are lost.
    pub without_headers: Vec<String>,
}

/// Returns whether the database holds secrets that are encrypted under some key. It is only read, never created or migrated.
///
/// # Errors
/// The database exists and cannot be opened.
pub async fn holds_secrets(url: &str) -> Result<bool, StoreError> {
    let Some(mut connection) = Backend::connect_read_only(url).await? else { return Ok(false) };
    let proof = db::query("SELECT 1 FROM meta WHERE name = 'secret_key_check'").fetch_optional(&mut connection).await;
    match proof {
        Ok(found) => Ok(found.is_some()),
        Err(error) if is_malformed(&error) => Err(error.into()),
        // There is no such table: the database is empty.
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives every webhook of the database a new signing secret, encrypted under the key of `sealer`, with which the database
/// goes on. `random` makes a secret. The headers of webhooks, which are encrypted too, are lost.
///
/// # Errors
/// [`StoreError::InUse`]: a process serves the database, or the key is the right one, so that nothing is lost. The
/// database's.
pub async fn reset_secrets(
    url: &str,
    sealer: &Sealer,
    random: impl Fn() -> Result<Vec<u8>, StoreError> + Send,
) -> Result<SecretReset, StoreError> {
    let (backend, _lock) = Backend::open_locked(url).await?;
    let mut connection = backend.connect().await?;
    check_no_node_beats(&mut connection).await?;
    if seals_this_database(&backend.readers.background, sealer).await? {
        let text = "the secret key is the one of this database, so nothing needs to be reset";
        return Err(StoreError::InUse(text.into()));
    }
    db::query("BEGIN").execute(&mut connection).await?;
    let reset = reset_webhooks(&mut connection, sealer, random).await?;
    db::query("DELETE FROM meta WHERE name = 'secret_key_check'").execute(&mut connection).await?;
    db::query("COMMIT").execute(&mut connection).await?;
    check_secret_key(&backend.readers.background, sealer).await?;
    Ok(reset)
}

/// Refuses to work beside a node. One that has crashed is still in the table, and its heartbeat stands still.
async fn check_no_node_beats(connection: &mut DatabaseConnection) -> Result<(), StoreError> {
    let Some(first) = sum_of_beats(connection).await? else { return Ok(()) };
    sleep(HEARTBEAT_WAIT).await;
    if sum_of_beats(connection).await? == Some(first) {
        return Ok(());
    }
    Err(StoreError::InUse("a node serves this database; stop all nodes first".into()))
}

/// Returns `None` if there are no nodes.
async fn sum_of_beats(connection: &mut DatabaseConnection) -> Result<Option<i64>, StoreError> {
    Ok(db::query("SELECT CAST(SUM(beat) AS BIGINT) FROM nodes").value(connection).await?)
}

async fn reset_webhooks(
    connection: &mut DatabaseConnection,
    sealer: &Sealer,
    random: impl Fn() -> Result<Vec<u8>, StoreError>,
) -> Result<SecretReset, StoreError> {
    let sql = "SELECT id, company, event_type, sealed_headers FROM webhooks ORDER BY company, id";
    let rows = db::query(sql).fetch_all(&mut *connection).await?;
    let mut reset = SecretReset { webhooks: rows.len(), without_headers: Vec::new() };
    for row in &rows {
        let (id, company): (String, String) = (row.try_get("id")?, row.try_get("company")?);
        let key: String = row.try_get("event_type")?;
        let headers = SealedPlace::Headers(&company, &key);
        let sealed: Option<Vec<u8>> = row.try_get("sealed_headers")?;
        let lost = sealed.is_some_and(|sealed| sealer.open(&sealed, headers).is_none());
        if lost {
            let Subscription { event_type, label } = subscription_of(&key);
            let label = label.map_or_else(String::new, |label| format!("  {label}"));
            reset.without_headers.push(format!("{company}  {id}  {event_type}{label}"));
        }
        let sql = "UPDATE webhooks SET signing_secret = $2, previous_secret = NULL, previous_until = NULL, \
                   sealed_headers = CASE WHEN CAST($3 AS BIGINT) = 1 THEN NULL ELSE sealed_headers END WHERE id = $1";
        let secret = sealer.seal(&random()?, SealedPlace::Secret(&company, &key))?;
        let query = db::query(sql).bind(id).bind(secret).bind(i64::from(lost));
        query.execute(&mut *connection).await?;
    }
    Ok(reset)
}
