//! `posthaste keys`

use clap::{Args, Subcommand};

use super::Failure;
use crate::clock::{Clock, SystemClock};
use crate::config::Database;
use crate::domain::credential::{Key, Owner, Scopes, check_company};
use crate::domain::id::Ids;
use crate::domain::time::rfc3339;
use crate::store::KeyStore;

/// Works on the database; no server is needed, and one may be running.
#[derive(Subcommand)]
pub enum Keys {
    /// Create a key and print it alone on stdout, this once
    Create(Create),
    /// List all keys, newest first; the keys themselves are not kept
    List(List),
    /// Revoke a key; a running server refuses it within a second
    Revoke(Revoke),
}

/// What the new key is for.
#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    database: Database,
    /// The company that the key belongs to
    #[arg(long, value_name = "NAME", required_unless_present = "platform", conflicts_with = "platform")]
    company: Option<String>,
    /// A key for any company, for the operator's own systems
    #[arg(long)]
    platform: bool,
    /// webhooks, plugins, events, deliveries, admin; each with `:read` to only look. Without it: all
    #[arg(long, value_name = "a,b", value_parser = Scopes::parse)]
    scopes: Option<Scopes>,
}

/// Where the keys are.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    database: Database,
}

/// Which key.
#[derive(Args)]
pub struct Revoke {
    #[command(flatten)]
    database: Database,
    /// The key's id, as `keys list` shows it
    id: String,
}

impl Keys {
    /// Runs the command.
    ///
    /// # Errors
    /// The database's, a bad company name, or an unknown id.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
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

/// Stores a new key in `database` and answers its text.
pub(super) async fn create(database: &str, owner: Owner, scopes: Scopes) -> Result<String, Failure> {
    let now = SystemClock.now_ms();
    let key = Key { id: Ids::default().next("key", now), owner, scopes, created_at: now, revoked_at: None };
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the machine has no random numbers to give")?;
    Ok(KeyStore::open(database).await?.create(&key, random).await?)
}

impl List {
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

impl Revoke {
    async fn run(self) -> Result<(), Failure> {
        let id = &self.id;
        if !KeyStore::open(&self.database.database).await?.revoke(id, SystemClock.now_ms()).await? {
            return Err(format!("there is no key `{id}`; `posthaste keys list` shows them").into());
        }
        eprintln!("revoked {id}");
        Ok(())
    }
}
