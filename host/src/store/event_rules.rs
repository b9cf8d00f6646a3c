//! What the data of a published event have to satisfy.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::db::{self, DatabaseKind, DatabaseRow};
use super::error::StoreError;
use super::event_rule_cache::{ReadSchema, RuleLookup, TypeRule, TypeRules};
use super::event_types::validation;
use super::handle::Store;
use crate::domain::event_type::Validation;
use crate::domain::json_schema::Schema;
use crate::domain::plugin::Digest;

/// The rule for the events of a type.
#[derive(Debug, Clone)]
pub struct EventRule {
    /// What happens to an event that breaks the schema; not [`Validation::Off`].
    pub validation: Validation,
    /// The schema; `None`: hand the rule to [`Store::read_schema`], which takes some milliseconds of computing.
    pub schema: Option<Arc<ReadSchema>>,
    digest: Digest,
}

/// Returns the statement for the rules of a company. Binds: the company.
fn rules_sql(kind: DatabaseKind) -> String {
    let hint = kind.index_hint("event_types_validated");
    format!(
        "SELECT event_type, validation, schema_digest FROM event_types {hint}\
         WHERE company = $1 AND validation <> 'off' AND schema_digest IS NOT NULL"
    )
}

impl Store {
    /// Returns the rule for a company's events of a type, from memory if it is cached; `None` if they are not checked.
    ///
    /// # Errors
    /// The database's.
    pub async fn event_rule(&self, company: &str, event_type: &str) -> Result<Option<EventRule>, StoreError> {
        let rule = |TypeRule { validation, digest }, schema| Some(EventRule { validation, schema, digest });
        let mark = match self.event_rules.get(company, event_type, Instant::now()) {
            RuleLookup::Unchecked => return Ok(None),
            RuleLookup::Rule(found, schema) => return Ok(rule(found, schema)),
            RuleLookup::Miss(mark) => mark,
        };
        let sql = rules_sql(self.readers.kind());
        let rows = db::query(AssertSqlSafe(sql)).bind(company).fetch_all(&self.readers.look_ups).await?;
        let one = |row: &DatabaseRow| -> Result<(String, TypeRule), sqlx::Error> {
            let digest = Digest::stored(&row.try_get::<String>("schema_digest")?);
            let validation = validation(&row.try_get::<String>("validation")?);
            Ok((row.try_get("event_type")?, TypeRule { validation, digest }))
        };
        let rules = rows.iter().map(one).collect::<Result<HashMap<_, _>, _>>()?;
        let rules: TypeRules = Some(rules).filter(|rules| !rules.is_empty());
        let found = rules.as_ref().and_then(|rules| rules.get(event_type)).cloned();
        self.event_rules.insert(mark, company, rules, Instant::now());
        let Some(found) = found else { return Ok(None) };
        // Its schema may be cached from before.
        match self.event_rules.get(company, event_type, Instant::now()) {
            RuleLookup::Rule(cached, schema) if cached == found => Ok(rule(found, schema)),
            _ => Ok(rule(found, None)),
        }
    }

    /// Reads the schema of a rule, and keeps it for the next event.
    ///
    /// # Errors
    /// [`StoreError::Changed`]: the type has another schema by now. The database's.
    pub async fn read_schema(
        &self,
        company: &str,
        event_type: &str,
        rule: &EventRule,
    ) -> Result<Arc<ReadSchema>, StoreError> {
        let sql = "SELECT schema_text FROM event_types WHERE company = $1 AND event_type = $2 AND schema_digest = $3";
        let query = db::query(sql).bind(company).bind(event_type).bind(rule.digest.as_str());
        let text: Option<Option<String>> = query.value_if_any(&self.readers.look_ups).await?;
        let Some(text) = text.flatten() else {
            self.event_rules.invalidate(company);
            return Err(StoreError::Changed(format!("the event type `{event_type}` was changed meanwhile")));
        };
        let compiled = spawn_blocking(move || Schema::compile(&text)).await;
        let compiled = compiled.map_err(|_| StoreError::Unanswered)?;
        let schema = Arc::new(compiled.map_err(|faults| {
            faults.first().map(|fault| format!("{} {}", fault.pointer, fault.detail)).unwrap_or_default()
        }));
        self.event_rules.insert_schema(company, rule.digest.clone(), schema.clone());
        Ok(schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::backend::Backend;

    #[tokio::test]
    async fn rules_of_a_company_are_read_from_their_index_alone() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("plans.db").display());
        let mut connection = Backend::open(&url).await.unwrap().connect().await.unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", rules_sql(DatabaseKind::Sqlite));
        let rows = db::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        let plan = rows[0].try_get::<String>("detail").unwrap();
        assert!(plan.contains("USING COVERING INDEX event_types_validated (company=?)"), "{plan}");
    }
}
