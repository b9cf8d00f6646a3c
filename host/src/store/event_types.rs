//! Event types: what companies say about the events that they publish.

use sqlx::AssertSqlSafe;

use super::db::{self, DatabaseConnection, DatabaseRow};
use super::error::StoreError;
use super::handle::Store;
use super::quotas::check;
use super::writer::transaction;
use crate::domain::event_type::{EventType, SchemaText, Validation};
use crate::domain::plugin::Digest;
use crate::domain::quota::Quota;

/// Most bytes of the texts of a page; a page has at least one type.
const PAGE_BYTES: i64 = 4 << 20;
/// What a type counts besides its texts.
const FIXED_BYTES: i64 = 512;

const SELECT: &str = "SELECT company, event_type, description, type_group, schema_text, schema_digest, example, deprecated, \
                      validation, created_at, updated_at FROM event_types";

const PUT: &str = "INSERT INTO event_types (company, event_type, description, type_group, schema_text, schema_digest, example, \
    deprecated, validation, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
    ON CONFLICT (company, event_type) DO UPDATE SET description = excluded.description, type_group = excluded.type_group, \
    schema_text = excluded.schema_text, schema_digest = excluded.schema_digest, example = excluded.example, \
    deprecated = excluded.deprecated, validation = excluded.validation, updated_at = excluded.updated_at";

/// Which types of a company a list has.
#[derive(Debug, Clone, Copy)]
pub struct EventTypeSelection<'a> {
    /// Those of this group; `None`: of every group, and of none.
    pub group: Option<&'a str>,
    /// Those after this one; `None`: from the first.
    pub after: Option<&'a str>,
    /// How many at most.
    pub limit: u32,
}

/// Some of a company's event types.
pub struct EventTypePage {
    /// The types, in the order of their names, byte by byte.
    pub types: Vec<EventType>,
    /// The bytes that they take, about.
    pub bytes: u64,
    /// Whether there are more.
    pub more: bool,
}

/// A type that was stored.
pub struct StoredEventType {
    /// The type as it is stored.
    pub event_type: EventType,
    /// Whether the company had not described it before.
    pub is_new: bool,
}

fn from_row(row: &DatabaseRow) -> Result<EventType, sqlx::Error> {
    let (schema, digest): (Option<String>, Option<String>) =
        (row.try_get("schema_text")?, row.try_get("schema_digest")?);
    let schema = schema.zip(digest);
    let example: Option<String> = row.try_get("example")?;
    Ok(EventType {
        company: row.try_get("company")?,
        name: row.try_get("event_type")?,
        description: row.try_get("description")?,
        group: row.try_get("type_group")?,
        schema: schema.map(|(text, digest)| SchemaText { text: text.into(), digest: Digest::stored(&digest) }),
        example: example.map(Into::into),
        deprecated: row.try_get::<i64>("deprecated")? != 0,
        validation: validation(&row.try_get::<String>("validation")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// A value of a newer version is taken for the strictest.
pub(super) fn validation(name: &str) -> Validation {
    Validation::named(name).unwrap_or(Validation::Reject)
}

async fn find(connection: &mut DatabaseConnection, company: &str, name: &str) -> Result<Option<EventType>, StoreError> {
    let sql = format!("{SELECT} WHERE company = $1 AND event_type = $2");
    let row = db::query(AssertSqlSafe(sql)).bind(company).bind(name).fetch_optional(connection).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

impl Store {
    /// Stores a type. If the company has described it before, every field but `created_at` is overwritten.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: the company has too many. The database's.
    pub async fn put_event_type(&self, new: EventType) -> Result<StoredEventType, StoreError> {
        let (company, quotas, rules) = (new.company.clone(), self.quotas, self.event_rules.clone());
        let changed = company.clone();
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let before = find(&mut *connection, &new.company, &new.name).await?;
                let schema = new.schema.as_ref();
                db::query(PUT)
                    .bind(new.company.as_str())
                    .bind(new.name.as_str())
                    .bind(new.description.as_deref())
                    .bind(new.group.as_deref())
                    .bind(schema.map(|schema| &*schema.text))
                    .bind(schema.map(|schema| schema.digest.as_str()))
                    .bind(new.example.as_deref())
                    .bind(i64::from(new.deprecated))
                    .bind(new.validation.name())
                    .bind(new.created_at)
                    .bind(new.updated_at)
                    .execute(&mut *connection)
                    .await?;
                let is_new = before.is_none();
                if is_new {
                    check(connection, &new.company, Quota::EventTypes, &quotas).await?;
                }
                let created_at = before.map_or(new.created_at, |before| before.created_at);
                Ok(StoredEventType { event_type: EventType { created_at, ..new }, is_new })
            })
        });
        self.writer.run_for(&company, work, move |_| rules.invalidate(&changed)).await
    }

    /// Returns a type that a company has described.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_type(&self, company: &str, name: &str) -> Result<Option<EventType>, StoreError> {
        let sql = format!("{SELECT} WHERE company = $1 AND event_type = $2");
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(name);
        let row = query.fetch_optional(&self.readers.look_ups).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// Returns types of a company: no more than 4 MiB of them, but at least one if there is any.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and the database's.
    pub async fn event_types(
        &self,
        company: &str,
        selection: EventTypeSelection<'_>,
    ) -> Result<EventTypePage, StoreError> {
        let log = self.log_reader(company).await?;
        let group = if selection.group.is_some() { "AND type_group = $4" } else { "" };
        let sql = format!(
            "SELECT event_type, CAST(COALESCE(octet_length(schema_text), 0) + COALESCE(octet_length(example), 0) \
             + COALESCE(octet_length(description), 0) AS BIGINT) AS bytes FROM event_types \
             WHERE company = $1 AND event_type > $2 {group} ORDER BY event_type LIMIT $3"
        );
        let after = selection.after.unwrap_or_default();
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(after).bind(i64::from(selection.limit) + 1);
        let query = if selection.group.is_some() { query.bind(selection.group) } else { query };
        let sizes = query.fetch_all(&log).await?;
        let size = |row: &DatabaseRow| Ok((row.try_get("event_type")?, row.try_get("bytes")?));
        let sizes = sizes.iter().map(size).collect::<Result<Vec<(String, i64)>, sqlx::Error>>()?;
        let (count, bytes) = fitting(sizes.iter().map(|(_, bytes)| *bytes), selection.limit as usize);
        let more = count < sizes.len();
        let Some((last, _)) = sizes.get(..count).and_then(<[_]>::last) else {
            return Ok(EventTypePage { types: Vec::new(), bytes: 0, more });
        };
        let sql =
            format!("{SELECT} WHERE company = $1 AND event_type > $2 AND event_type <= $3 {group} ORDER BY event_type");
        let query = db::query(AssertSqlSafe(sql)).bind(company).bind(after).bind(last);
        let query = if selection.group.is_some() { query.bind(selection.group) } else { query };
        let rows = query.fetch_all(&log).await?;
        let types = rows.iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(EventTypePage { types, bytes, more })
    }

    /// Removes a type and returns it; `None` if the company has not described it.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_event_type(&self, company: &str, name: &str) -> Result<Option<EventType>, StoreError> {
        let (owner, name) = (company.to_owned(), name.to_owned());
        let (changed, rules) = (company.to_owned(), self.event_rules.clone());
        let work = transaction(move |connection| {
            Box::pin(async move {
                connection.lock_exclusively().await?;
                let removed = find(&mut *connection, &owner, &name).await?;
                let query = db::query("DELETE FROM event_types WHERE company = $1 AND event_type = $2");
                query.bind(owner.as_str()).bind(name.as_str()).execute(connection).await?;
                Ok(removed)
            })
        });
        self.writer.run_for(company, work, move |_| rules.invalidate(&changed)).await
    }
}

/// Returns how many types of these sizes, at least one, fit into a page, and the bytes that they take.
fn fitting(sizes: impl Iterator<Item = i64>, limit: usize) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0_i64);
    for bytes in sizes.take(limit) {
        let with = sum.saturating_add(bytes).saturating_add(FIXED_BYTES);
        if count > 0 && with > PAGE_BYTES {
            break;
        }
        (count, sum) = (count + 1, with);
    }
    (count, sum.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_ends_at_its_number_of_types_or_of_bytes_and_has_one_at_least() {
        let count = |sizes: &[i64], limit| fitting(sizes.iter().copied(), limit).0;
        assert_eq!([count(&[], 9), count(&[1, 1, 1], 9), count(&[1, 1, 1], 2)], [0, 3, 2]);
        assert_eq!([count(&[3 << 20, 1 << 19, 1 << 20], 9), count(&[9 << 20, 1], 9)], [2, 1]);
    }

    #[test]
    fn unknown_validation_is_the_strictest() {
        assert_eq!(
            [validation("warn"), validation("off"), validation("later")].map(Validation::name),
            ["warn", "off", "reject"]
        );
    }
}
