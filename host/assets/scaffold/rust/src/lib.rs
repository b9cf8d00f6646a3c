//! Turns `employee_created` into a message for the team's chat, and drops every other event.

use posthaste_plugin::{Error, Event, Outcome};
use serde::Deserialize;

/// The webhook's config.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The first word of each message.
    #[serde(default = "default_greeting")]
    greeting: String,
}

fn default_greeting() -> String {
    "Welcome".into()
}

/// The fields of the event's data that this transform reads; it ignores all others.
#[derive(Deserialize)]
struct Employee {
    first_name: String,
    last_name: String,
}

/// Called for every event.
///
/// # Errors
/// If the data is not an employee's.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    if event.event_type != "employee_created" {
        return Ok(Outcome::drop("not about a new employee"));
    }
    let employee: Employee = event.json()?;
    let text = format!("{}, {} {}!", config.greeting, employee.first_name, employee.last_name);
    Outcome::json(&serde_json::json!({ "text": text }))
}

posthaste_plugin::export!(transform);
