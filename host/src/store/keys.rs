//! API keys. A key has 256 random bits, so storing its plain sha-256 is enough: it cannot be guessed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::backend::Backend;
use super::db::{self, ConnectionPool, DatabaseRow};
use super::error::StoreError;
use super::handle::Store;
use super::transfer_marks::check_marks;
use crate::domain::credential::{Key, Owner, Scopes};
use crate::domain::plugin::Digest;

/// Manages keys in a database, whether or not another process serves it.
pub struct KeyStore {
    pool: ConnectionPool,
    is_new: bool,
}

fn key_from_row(row: &DatabaseRow) -> Result<Key, sqlx::Error> {
    let company: Option<String> = row.try_get("company")?;
    let scopes: String = row.try_get("scopes")?;
    Ok(Key {
        id: row.try_get("id")?,
        owner: company.map_or(Owner::Platform, Owner::Company),
        scopes: Scopes::parse(&scopes).map_err(|error| sqlx::Error::Decode(error.into()))?,
        created_at: row.try_get("created_at")?,
        revoked_at: row.try_get("revoked_at")?,
        name: row.try_get("name")?,
        expires_at: row.try_get("expires_at")?,
    })
}

impl KeyStore {
    /// Opens `url`, creating and migrating the database if needed.
    ///
    /// # Errors
    /// [`StoreError::Setup`]: the database cannot be opened, or was moved.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let Backend { readers, is_new, .. } = Backend::open(url).await?;
        check_marks(&readers.background).await?;
        Ok(Self { pool: readers.background, is_new })
    }

    /// Returns whether opening it made the database.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Stores a new key and returns its text, which is stored nowhere. `random` must be 32 random bytes.
    ///
    /// # Errors
    /// The database's.
    pub async fn create(&self, key: &Key, random: [u8; 32]) -> Result<String, StoreError> {
        let text = format!("phk_{}", URL_SAFE_NO_PAD.encode(random));
        let company = match &key.owner {
            Owner::Company(name) => Some(name.as_str()),
            Owner::Platform => None,
        };
        let sql = "INSERT INTO api_keys (id, hash, company, scopes, created_at, name, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        db::query(sql)
            .bind(key.id.as_str())
            .bind(Digest::of(text.as_bytes()).as_str())
            .bind(company)
            .bind(key.scopes.to_string())
            .bind(key.created_at)
            .bind(key.name.as_deref())
            .bind(key.expires_at)
            .execute(&self.pool)
            .await?;
        Ok(text)
    }

    /// Returns all keys, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT id, company, scopes, created_at, revoked_at, name, expires_at FROM api_keys ORDER BY id DESC";
        let rows = db::query(sql).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(key_from_row).collect::<Result<_, _>>()?)
    }

    /// Revokes a key at `now`, in milliseconds since 1970. Returns false if there is no key of this id. Revoking it again
    /// changes nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke(&self, id: &str, now: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2";
        Ok(db::query(sql).bind(now).bind(id).execute(&self.pool).await? == 1)
    }
}

impl Store {
    /// Returns the key of this text; `None` if it is unknown, revoked, or expired at `now`, in milliseconds since 1970.
    ///
    /// # Errors
    /// The database's.
    pub async fn key(&self, text: &str, now: i64) -> Result<Option<Arc<Key>>, StoreError> {
        let hash = Digest::of(text.as_bytes()).to_string();
        let read_at = Instant::now();
        if let Some(key) = self.keys.get(&hash, read_at) {
            return Ok(Some(key).filter(|key| key.is_valid_at(now)));
        }
        if self.wrong_keys.get(&hash, read_at).is_some() {
            return Ok(None);
        }
        let sql = "SELECT id, company, scopes, created_at, revoked_at, name, expires_at FROM api_keys WHERE hash = $1";
        let row = db::query(sql).bind(hash.as_str()).fetch_optional(&self.readers.look_ups).await?;
        let found = row.as_ref().map(key_from_row).transpose()?.filter(|key| key.is_valid_at(now)).map(Arc::new);
        match &found {
            Some(key) => self.keys.insert(hash, key.clone(), read_at),
            None => self.wrong_keys.insert(hash, (), read_at),
        }
        Ok(found)
    }
}
