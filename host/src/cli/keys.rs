//! `posthaste keys`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Failure;
use crate::clock::{Clock, SystemClock};
use crate::config::{DatabaseSettings, SecretKeySettings, duration};
use crate::domain::credential::{Key, Owner, Scopes, check_company, check_key_name};
use crate::domain::id::Ids;
use crate::domain::time::{parse_rfc3339, rfc3339};
use crate::outbound::sign;
use crate::secret_key::{self, SecretKey};
use crate::store::{KeyStore, Sealer, StoreError, database_name, holds_secrets, reset_secrets};

/// The last instant that can be shown: the end of the year 9999, in milliseconds since 1970.
const LAST_INSTANT: i64 = 253_402_300_799_999;

/// The subcommands of `posthaste keys`. They work on the database directly, whether or not a server is running.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Create a key and print it on stdout; it is not shown again
    Create(CreateArgs),
    /// List all keys, newest first; the keys themselves are not stored
    List(ListArgs),
    /// Revoke a key; a running server refuses it within a second
    Revoke(RevokeArgs),
    /// Go on after the secret key was lost: give every webhook a new signing secret, under a new secret key. No server
    /// may be running
    ResetSecrets(ResetSecretsArgs),
}

/// The arguments of `posthaste keys create`.
#[derive(Args)]
pub struct CreateArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Company to which the key belongs
    #[arg(long, value_name = "NAME", required_unless_present = "platform", conflicts_with = "platform")]
    company: Option<String>,
    /// Create a key for any company, for the operator's own systems
    #[arg(long)]
    platform: bool,
    /// Scopes: webhooks, plugins, events, deliveries, admin; each with `:read` for read-only access. The default is all
    #[arg(long, value_name = "a,b", value_parser = Scopes::parse)]
    scopes: Option<Scopes>,
    /// Name that `keys list` shows: 1 to 64 printable characters
    #[arg(long, value_name = "TEXT", value_parser = key_name)]
    name: Option<String>,
    /// Time after which the key is refused: a duration from now, such as 90d, or an instant, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "DURATION|INSTANT", value_parser = Expiry::parse)]
    expires: Option<Expiry>,
}

fn key_name(text: &str) -> Result<String, String> {
    check_key_name(text).map(|()| text.to_owned())
}

/// When a key expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// After this time.
    In(Duration),
    /// At this instant, in milliseconds since 1970.
    At(i64),
}

impl Expiry {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(instant) = parse_rfc3339(text) {
            return Ok(Self::At(instant));
        }
        let bad = |_| {
            format!("`{text}` is neither a duration, such as 90d or 12h, nor an instant, such as 2027-01-31T00:00:00Z")
        };
        duration(text).map(Self::In).map_err(bad)
    }

    /// Returns the instant for a key that is created at `now`; both in milliseconds since 1970.
    fn from(self, now: i64) -> Result<i64, String> {
        let end = match self {
            Self::In(after) => i64::try_from(after.as_millis()).ok().and_then(|after| now.checked_add(after)),
            Self::At(instant) => Some(instant),
        };
        let end = end.filter(|end| *end <= LAST_INSTANT).ok_or("--expires: that is after the year 9999")?;
        if end <= now {
            return Err(format!("--expires: {} has passed", rfc3339(end)));
        }
        Ok(end)
    }
}

/// The arguments of `posthaste keys list`.
#[derive(Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: DatabaseSettings,
}

/// The arguments of `posthaste keys revoke`.
#[derive(Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Id of the key, as `keys list` shows it
    id: String,
}

/// The arguments of `posthaste keys reset-secrets`.
#[derive(Args)]
pub struct ResetSecretsArgs {
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    secret_key: SecretKeySettings,
    /// Directory of the secret key file
    #[arg(long, default_value = ".", value_name = "DIR")]
    data_dir: PathBuf,
}

impl KeysCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The database fails, the company's name is invalid, or the id is unknown.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
            Self::ResetSecrets(reset) => reset.run().await,
        }
    }
}

impl CreateArgs {
    async fn run(self) -> Result<(), Failure> {
        let owner = match self.company {
            Some(name) => {
                check_company(&name)?;
                Owner::Company(name)
            }
            None => Owner::Platform,
        };
        let (scopes, now) = (self.scopes.unwrap_or_else(Scopes::all), SystemClock.now_ms());
        let expires_at = self.expires.map(|expiry| expiry.from(now)).transpose()?;
        let key = Key { name: self.name, expires_at, ..Key::new(Ids::default().next("key", now), owner, scopes, now) };
        let keys = open(&self.database).await?;
        println!("{}", store(&keys, &key).await?);
        eprintln!("stored {} in {}", key.id, database_name(&self.database.database));
        Ok(())
    }
}

/// Opens the database, and says so if that made it: beside a running service, that is a mistake.
async fn open(database: &DatabaseSettings) -> Result<KeyStore, Failure> {
    let keys = KeyStore::open(&database.database).await?;
    if keys.is_new() {
        eprintln!(
            "made a new database, because there was none: {}. If a service is to accept the keys in it, its --database has \
             to be this one",
            database_name(&database.database)
        );
    }
    Ok(keys)
}

/// Stores a new key and returns its text.
async fn store(keys: &KeyStore, key: &Key) -> Result<String, Failure> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system's random number generator failed")?;
    Ok(keys.create(key, random).await?)
}

/// Stores a new key in `database` and returns its text.
pub(super) async fn create(database: &str, owner: Owner, scopes: Scopes) -> Result<String, Failure> {
    let now = SystemClock.now_ms();
    let key = Key::new(Ids::default().next("key", now), owner, scopes, now);
    store(&KeyStore::open(database).await?, &key).await
}

impl ListArgs {
    async fn run(self) -> Result<(), Failure> {
        let keys = open(&self.database).await?.list().await?;
        println!(
            "{:<36}  {:<24}  {:<24}  {:<24}  {:<24}  {:<24}  NAME",
            "ID", "COMPANY", "CREATED", "REVOKED", "EXPIRES", "SCOPES"
        );
        for key in keys {
            let company = match &key.owner {
                Owner::Company(name) => name.as_str(),
                Owner::Platform => "(platform)",
            };
            let instant = |at: Option<i64>| at.map_or_else(|| "-".into(), rfc3339);
            let (created, revoked) = (rfc3339(key.created_at), instant(key.revoked_at));
            let (expires, scopes) = (instant(key.expires_at), key.scopes.to_string());
            let name = key.name.as_deref().unwrap_or("-");
            println!(
                "{:<36}  {company:<24}  {created:<24}  {revoked:<24}  {expires:<24}  {scopes:<24}  {name}",
                key.id
            );
        }
        Ok(())
    }
}

impl RevokeArgs {
    async fn run(self) -> Result<(), Failure> {
        let id = &self.id;
        if !open(&self.database).await?.revoke(id, SystemClock.now_ms()).await? {
            return Err(format!("there is no key `{id}`; `posthaste keys list` shows all keys").into());
        }
        eprintln!("revoked {id}");
        Ok(())
    }
}

impl ResetSecretsArgs {
    async fn run(self) -> Result<(), Failure> {
        let database = &self.database.database;
        if !holds_secrets(database).await? {
            return Err("this database holds no secrets yet, so nothing needs to be reset".into());
        }
        let key = match secret_key::find(&self.secret_key, &self.data_dir)? {
            SecretKey::Found(key) => key,
            SecretKey::Missing(file) => {
                secret_key::create_private_dir(&self.data_dir)?;
                secret_key::load_or_generate(&file)?
            }
        };
        let reset = reset_secrets(database, &Sealer::new(&key)?, new_secret).await?;
        eprintln!(
            "{} webhooks have new signing secrets; each company gets its own with POST /webhooks/{{id}}/secret/rotate",
            reset.webhooks
        );
        if !reset.without_headers.is_empty() {
            eprintln!("the headers of these webhooks are lost; set them again with PATCH /webhooks/{{id}}:");
            for webhook in &reset.without_headers {
                println!("{webhook}");
            }
        }
        Ok(())
    }
}

fn new_secret() -> Result<Vec<u8>, StoreError> {
    sign::new_secret().map(|secret| secret.to_vec()).map_err(StoreError::Setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_duration_or_an_instant_to_come() {
        let from = |text: &str| Expiry::parse(text).and_then(|expiry| expiry.from(1_000));
        assert_eq!(from("1h30m"), Ok(1_000 + 5_400_000));
        assert_eq!(from("90d"), Ok(1_000 + 90 * 86_400_000));
        assert_eq!(from("9999-12-31T23:59:59.999Z"), Ok(LAST_INSTANT));
        assert!(from("1970-01-01T00:00:01Z").unwrap_err().contains("has passed"));
        assert!(from("0s").unwrap_err().contains("has passed"));
        assert!(from("4000000000d").unwrap_err().contains("after the year 9999"));
        assert!(from("tomorrow").unwrap_err().contains("`tomorrow` is neither"));
    }
}
