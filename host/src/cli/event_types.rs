//! `posthaste event-types`: import, list, show and delete the event types of a company.

mod entry;
mod file;
mod openapi;
mod server;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Map, Value};

use super::{Failure, block_on};
use crate::domain::Invalid;
use crate::domain::event_type::MAX_JSON_BYTES;
use crate::domain::json_schema::{Schema, Steps};
use entry::TypeEntry;
use server::ServerArgs;

/// The subcommands of `posthaste event-types`.
#[derive(Subcommand)]
pub enum EventTypesCommand {
    /// Describe the event types of FILE: an OpenAPI document with `webhooks`, or the answer of `GET /event-types`
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// List the event types that the company has described
    List(ListArgs),
    /// Show an event type as JSON
    Show(TypeArgs),
    /// Remove the description of an event type
    Delete(TypeArgs),
}

const IMPORT_HELP: &str = "\
FILE is JSON. Of an OpenAPI document, each entry of `webhooks` and `x-webhooks` becomes a type: its description, the first of its
tags as group, and the schema and the example of its JSON body. References within the document are followed. A type that is there
already is replaced.";

/// The arguments of `posthaste event-types import`.
#[derive(Args)]
pub struct ImportArgs {
    /// File with event types
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
    /// What happens to events that break their schema, for all types that have one
    #[arg(long)]
    validate: Option<ValidationArg>,
    /// Check FILE and say what would happen, without changing anything
    #[arg(long)]
    dry_run: bool,
}

/// A value of `validate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ValidationArg {
    Off,
    Warn,
    Reject,
}

/// The arguments of `posthaste event-types list`.
#[derive(Args)]
pub struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only the types of this group
    #[arg(long)]
    group: Option<String>,
}

/// The arguments of the commands about one type.
#[derive(Args)]
pub struct TypeArgs {
    /// The event type
    r#type: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl EventTypesCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The text says why the command failed.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Import(import) => block_on(import.run()),
            Self::List(list) => block_on(list.run()),
            Self::Show(shown) => block_on(shown.show()),
            Self::Delete(deleted) => block_on(deleted.delete()),
        }
    }
}

impl ImportArgs {
    async fn run(self) -> Result<(), Failure> {
        let types = file::read(&self.file)?;
        let existing: BTreeSet<String> = if self.dry_run {
            let listed = self.server.list(None).await?;
            listed.iter().filter_map(|entry| Some(entry.get("type")?.as_str()?.to_owned())).collect()
        } else {
            BTreeSet::new()
        };
        let (mut failed, total) = (0, types.len());
        for TypeEntry { name, fields } in types {
            let done = match fields.map(|fields| self.with_validation(fields)) {
                Err(reason) => Err(reason),
                Ok(fields) if self.dry_run => check(&fields).map(|()| match existing.contains(&name) {
                    true => "would replace",
                    false => "would create",
                }),
                Ok(fields) => self.server.put(&name, &Value::Object(fields)).await,
            };
            match done {
                Ok(done) => println!("{done:<13} {name}"),
                Err(reason) => {
                    failed += 1;
                    println!("{:<13} {name}: {reason}", "failed");
                }
            }
        }
        if failed > 0 {
            return Err(format!("{failed} of {total} event types failed; the lines above say why").into());
        }
        println!("{total} event types");
        Ok(())
    }

    fn with_validation(&self, mut fields: Map<String, Value>) -> Map<String, Value> {
        let name = self.validate.and_then(|validation| validation.to_possible_value());
        if let (Some(name), true) = (name, fields.get("schema").is_some_and(|schema| !schema.is_null())) {
            fields.insert("validate".into(), name.get_name().into());
        }
        fields
    }
}

/// Checks a type's schema and example as the server does.
fn check(fields: &Map<String, Value>) -> Result<(), String> {
    let text = |field: &str| fields.get(field).filter(|value| !value.is_null()).map(Value::to_string);
    let (schema, example) = (text("schema"), text("example"));
    for (field, text) in [("schema", &schema), ("example", &example)] {
        if text.as_ref().is_some_and(|text| text.len() > MAX_JSON_BYTES) {
            return Err(format!("/{field}: at most {MAX_JSON_BYTES} bytes"));
        }
    }
    let Some(schema) = schema else { return Ok(()) };
    let schema = Schema::compile(&schema).map_err(|faults| said("schema", &faults))?;
    match example.map(|example| schema.check(&example, Steps::MOST)) {
        Some(Ok(faults)) if !faults.is_empty() => Err(said("example", &faults)),
        Some(Err(unfinished)) => Err(format!("/example: {unfinished}")),
        _ => Ok(()),
    }
}

/// Says what is wrong with a field.
fn said(field: &str, faults: &[Invalid]) -> String {
    let said = faults.iter().map(|fault| format!("/{field}{}: {}", fault.pointer, fault.detail));
    said.collect::<Vec<_>>().join("; ")
}

impl ListArgs {
    async fn run(self) -> Result<(), Failure> {
        for entry in self.server.list(self.group.as_deref()).await? {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let has_schema = entry.get("schema").is_some_and(|schema| !schema.is_null());
            let mut notes = vec![text("group")];
            notes.extend(has_schema.then(|| format!("schema, validate {}", text("validate"))));
            notes.extend((entry.get("deprecated") == Some(&Value::Bool(true))).then(|| "deprecated".to_owned()));
            notes.retain(|note| !note.is_empty());
            println!("{:<48} {}", text("type"), notes.join("; "));
        }
        Ok(())
    }
}

impl TypeArgs {
    async fn show(self) -> Result<(), Failure> {
        let shown: Value = self.server.call(Method::GET, Some(&self.r#type), &[], None).await?;
        println!("{shown:#}");
        Ok(())
    }

    async fn delete(self) -> Result<(), Failure> {
        self.server.call(Method::DELETE, Some(&self.r#type), &[], None).await?;
        println!("deleted {}", self.r#type);
        Ok(())
    }
}
