//! API keys. A key is 256 random bits, so its sha-256 is all that has to be kept: there is nothing to guess.

use std::sync::Arc;

use super::backend::Backend;
use super::db::{self, Pool, Row};
use super::transfer::check_marks;
use super::{Store, StoreError};
use crate::domain::credential::{Key, Owner, Scopes};
use crate::domain::plugin::Digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Key management on a database that need not be served, or is being served by another process.
pub struct KeyStore(Pool);

fn key(row: &Row) -> Result<Key, sqlx::Error> {
    let company: Option<String> = row.try_get("company")?;
    let scopes: String = row.try_get("scopes")?;
    Ok(Key {
        id: row.try_get("id")?,
        owner: company.map_or(Owner::Platform, Owner::Company),
        scopes: Scopes::parse(&scopes).map_err(|error| sqlx::Error::Decode(error.into()))?,
        created_at: row.try_get("created_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

impl KeyStore {
    /// Opens `url`, creating and migrating it where needed.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let pool = Backend::open(url).await?.readers;
        check_marks(&pool).await?;
        Ok(Self(pool))
    }

    /// Stores a new key and returns its text, which is kept nowhere. `random` are 32 random bytes.
    ///
    /// # Errors
    /// The database's.
    pub async fn create(&self, key: &Key, random: [u8; 32]) -> Result<String, StoreError> {
        let text = format!("phk_{}", URL_SAFE_NO_PAD.encode(random));
        let company = match &key.owner {
            Owner::Company(name) => Some(name.as_str()),
            Owner::Platform => None,
        };
        db::query("INSERT INTO api_keys (id, hash, company, scopes, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(key.id.as_str())
            .bind(Digest::of(text.as_bytes()).as_str())
            .bind(company)
            .bind(key.scopes.to_string())
            .bind(key.created_at)
            .execute(&self.0)
            .await?;
        Ok(text)
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT id, company, scopes, created_at, revoked_at FROM api_keys ORDER BY id DESC";
        let rows = db::query(sql).fetch_all(&self.0).await?;
        Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
    }

    /// Revokes a key; false when there is none of that id. A second time changes nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke(&self, id: &str, now: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2";
        Ok(db::query(sql).bind(now).bind(id).execute(&self.0).await? == 1)
    }
}

impl Store {
    /// The key of this text, unless it is unknown or revoked.
    ///
    /// # Errors
    /// The database's.
    pub async fn key(&self, text: &str) -> Result<Option<Arc<Key>>, StoreError> {
        let hash = Digest::of(text.as_bytes()).to_string();
        let mark = match self.keys.get(&hash) {
            Ok(key) => return Ok(Some(key)),
            Err(mark) => mark,
        };
        if self.wrong_keys.get(&hash).is_ok() {
            return Ok(None);
        }
        let sql = "SELECT id, company, scopes, created_at, revoked_at FROM api_keys WHERE hash = $1";
        let row = db::query(sql).bind(hash.as_str()).fetch_optional(&self.readers).await?;
        let found = row.as_ref().map(key).transpose()?.filter(|key| key.revoked_at.is_none()).map(Arc::new);
        match &found {
            Some(key) => self.keys.keep(mark, hash, key.clone()),
            None => self.wrong_keys.keep(mark, hash, ()),
        }
        Ok(found)
    }
}
