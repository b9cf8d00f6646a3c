//! `posthaste keys`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failure;
use crate::clock::{Clock, SystemClock};
use crate::config::{DatabaseSettings, SecretKeySettings};
use crate::domain::credential::{Key, Owner, Scopes, check_company};
use crate::domain::id::Ids;
use crate::domain::time::rfc3339;
use crate::outbound::sign;
use crate::secret_key::{self, SecretKey};
use crate::store::{KeyStore, Sealer, StoreError, holds_secrets, reset_secrets};

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
        let scopes = self.scopes.unwrap_or_else(Scopes::all);
        println!("{}", create(&self.database.database, owner, scopes).await?);
        Ok(())
    }
}

/// Stores a new key in `database` and returns its text.
pub(super) async fn create(database: &str, owner: Owner, scopes: Scopes) -> Result<String, Failure> {
    let now = SystemClock.now_ms();
    let key = Key { id: Ids::default().next("key", now), owner, scopes, created_at: now, revoked_at: None };
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system's random number generator failed")?;
    Ok(KeyStore::open(database).await?.create(&key, random).await?)
}

impl ListArgs {
    async fn run(self) -> Result<(), Failure> {
        let keys = KeyStore::open(&self.database.database).await?.list().await?;
        println!("{:<36}  {:<24}  {:<24}  {:<24}  SCOPES", "ID", "COMPANY", "CREATED", "REVOKED");
        for key in keys {
            let company = match &key.owner {
                Owner::Company(name) => name.as_str(),
                Owner::Platform => "(platform)",
            };
            let revoked = key.revoked_at.map_or_else(|| "-".into(), rfc3339);
            println!("{:<36}  {company:<24}  {:<24}  {revoked:<24}  {}", key.id, rfc3339(key.created_at), key.scopes);
        }
        Ok(())
    }
}

impl RevokeArgs {
    async fn run(self) -> Result<(), Failure> {
        let id = &self.id;
        if !KeyStore::open(&self.database.database).await?.revoke(id, SystemClock.now_ms()).await? {
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
