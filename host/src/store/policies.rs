//! Policies: transforms that run for every webhook of a company. They are read for every attempt, and therefore cached.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::changes::{Change, notify, outdate};
use super::db::{self, DatabaseConnection, DatabaseRow, QueryTarget};
use super::error::StoreError;
use super::handle::Store;
use super::nodes::has_earlier_node;
use super::quotas::check;
use super::webhook_cache::CacheLookup;
use super::webhooks::KEPT_CONFIG_BYTES;
use super::webhooks::chains::{POLICY_HOLDER, TRANSFORM_JOINS, replace, transform_columns, transform_from_row};
use super::writer::transaction;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::policy::{MAX_POLICIES, Policy};
use crate::domain::quota::Quota;
use crate::domain::webhook::MAX_INLINE_CONFIG_BYTES;

const PUT: &str = "INSERT INTO policies (company, name, types, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
    ON CONFLICT (company, name) DO UPDATE SET types = excluded.types, updated_at = excluded.updated_at \
    RETURNING created_at";

/// A policy that was stored.
pub struct StoredPolicy {
    /// The policy as it is stored.
    pub policy: Policy,
    /// Whether the company had none of this name before.
    pub is_new: bool,
}

/// Finds the policies of a company with their transforms, without configs of more than `most_bytes`. Binds: the company, and a name
/// or NULL.
fn select_sql(most_bytes: usize) -> String {
    format!(
        "SELECT o.company, o.name, o.types, o.created_at, o.updated_at, t.position, {} FROM policies o \
         LEFT JOIN chain_transforms t ON t.company = o.company AND t.holder = '{POLICY_HOLDER}' || o.name {TRANSFORM_JOINS} \
         WHERE o.company = $1 AND (CAST($2 AS TEXT) IS NULL OR o.name = $2) ORDER BY t.position",
        transform_columns(&most_bytes.to_string())
    )
}

/// Reads policies, in the order of their names, byte by byte.
///
/// # Errors
/// A part of one is missing: it cannot be left out. The database's.
async fn read(
    database: impl Into<QueryTarget<'_>>,
    company: &str,
    name: Option<&str>,
    most_bytes: usize,
) -> Result<Vec<Policy>, StoreError> {
    let query = db::query(AssertSqlSafe(select_sql(most_bytes))).bind(company).bind(name);
    let mut policies: BTreeMap<String, Policy> = BTreeMap::new();
    for row in &query.fetch_all(database).await? {
        let name: String = row.try_get("name")?;
        if row.try_get::<Option<i64>>("position")?.is_none() {
            return Err(StoreError::Setup(format!("policy `{name}` has no transforms")));
        }
        let transform = transform_from_row(row)?;
        match policies.get_mut(&name) {
            Some(policy) => policy.transforms.push(transform),
            None => {
                let policy = Policy { transforms: vec![transform], ..policy_from_row(row)? };
                policies.insert(name, policy);
            }
        }
    }
    Ok(policies.into_values().collect())
}

fn policy_from_row(row: &DatabaseRow) -> Result<Policy, StoreError> {
    let types: String = row.try_get("types")?;
    Ok(Policy {
        company: row.try_get("company")?,
        name: row.try_get("name")?,
        types: serde_json::from_str(&types).map_err(|error| sqlx::Error::Decode(error.into()))?,
        transforms: Vec::new(),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn holder(name: &str) -> String {
    format!("{POLICY_HOLDER}{name}")
}

/// Checks that the company has not too many policies, now that one is stored.
async fn check_count(connection: &mut DatabaseConnection, company: &str) -> Result<(), StoreError> {
    let query = db::query("SELECT COUNT(*) FROM policies WHERE company = $1").bind(company);
    let count: i64 = query.value(connection).await?;
    if usize::try_from(count).is_ok_and(|count| count <= MAX_POLICIES) {
        return Ok(());
    }
    let detail = format!("this company has {MAX_POLICIES} policies, which is the limit; remove one first");
    Err(CompanyLimit::stored("policies", detail).into())
}

impl Store {
    /// Stores a policy in place of the one of its name, if there is one: its `created_at` stays. The attempts that begin after this
    /// on this node run it.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: a node of the previous version, which knows no policies, serves the database. [`StoreError::Limit`]: the
    /// company has too many, or too many bytes of configs. [`StoreError::Changed`]: one of its transforms would run another version
    /// than the one that checked its config. The database's.
    pub async fn put_policy(&self, policy: Policy) -> Result<StoredPolicy, StoreError> {
        let (cache, quotas, company) = (self.webhooks.clone(), self.quotas, policy.company.clone());
        let change = Change::Policies { company: company.clone() };
        let announced = change.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                if has_earlier_node(connection).await? {
                    let text = "a node of an earlier version, which would send events without the policy, serves the database \
                                still: policies can be stored once all nodes are upgraded";
                    return Err(StoreError::InUse(text.into()));
                }
                let Policy { company, name, types, transforms, updated_at, .. } = &policy;
                let types = serde_json::to_string(types).map_err(|error| sqlx::Error::Encode(error.into()))?;
                let sql = "SELECT 1 FROM policies WHERE company = $1 AND name = $2";
                let query = db::query(sql).bind(company.as_str()).bind(name.as_str());
                let is_new = query.fetch_optional(&mut *connection).await?.is_none();
                let query = db::query(PUT).bind(company.as_str()).bind(name.as_str()).bind(types).bind(*updated_at);
                let created_at: i64 = query.value(&mut *connection).await?;
                if is_new {
                    check_count(connection, company).await?;
                }
                if replace(connection, company, &holder(name), transforms).await? {
                    check(connection, company, Quota::ConfigBytes, &quotas).await?;
                }
                notify(connection, &announced).await?;
                Ok(StoredPolicy { policy: Policy { created_at, ..policy }, is_new })
            })
        });
        self.writer.run_for(&company, work, move |_| outdate(&cache, &change)).await
    }

    /// Returns the policies of a company in the order in which they run, without configs of more than `most_bytes`.
    ///
    /// # Errors
    /// A part of one is missing. The database's.
    pub async fn policies(&self, company: &str, most_bytes: usize) -> Result<Vec<Policy>, StoreError> {
        read(&self.readers.look_ups, company, None, most_bytes).await
    }

    /// Returns a policy of a company, without configs of more than [`MAX_INLINE_CONFIG_BYTES`].
    ///
    /// # Errors
    /// As [`Store::policies`].
    pub async fn policy(&self, company: &str, name: &str) -> Result<Option<Policy>, StoreError> {
        Ok(read(&self.readers.look_ups, company, Some(name), MAX_INLINE_CONFIG_BYTES).await?.pop())
    }

    /// Returns the policies of a company as an attempt needs them, in the order in which they run; from memory if they are cached.
    ///
    /// # Errors
    /// As [`Store::policies`]: nothing may be sent then.
    pub async fn policies_in_force(&self, company: &str) -> Result<Arc<[Policy]>, StoreError> {
        let mark = match self.webhooks.policies(company, Instant::now()) {
            CacheLookup::Hit(policies) => return Ok(policies),
            CacheLookup::Miss(mark) => mark,
        };
        let found: Arc<[Policy]> = self.policies(company, KEPT_CONFIG_BYTES).await?.into();
        self.webhooks.insert_policies(mark, company, found.clone(), Instant::now());
        Ok(found)
    }

    /// Removes a policy. Returns false if the company has none of this name.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_policy(&self, company: &str, name: &str) -> Result<bool, StoreError> {
        let (cache, owner, name) = (self.webhooks.clone(), company.to_owned(), name.to_owned());
        let change = Change::Policies { company: company.to_owned() };
        let announced = change.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let query = db::query("DELETE FROM policies WHERE company = $1 AND name = $2");
                let removed = query.bind(owner.as_str()).bind(name.as_str()).execute(&mut *connection).await?;
                replace(connection, &owner, &holder(&name), &[]).await?;
                notify(connection, &announced).await?;
                Ok(removed == 1)
            })
        });
        self.writer.run_for(company, work, move |_| outdate(&cache, &change)).await
    }
}

/// Removes the policies that a removed company had at `removed_at`, milliseconds since 1970, when its removal was requested.
pub(super) async fn remove_of_company(
    connection: &mut DatabaseConnection,
    company: &str,
    removed_at: i64,
) -> Result<(), sqlx::Error> {
    let query = db::query("DELETE FROM policies WHERE company = $1 AND updated_at <= $2");
    query.bind(company).bind(removed_at).execute(connection).await.map(drop)
}
