//! `filter`: sends only the events whose fields a rule keeps, and no event that a rule drops.
//!
//! ```json
//! {
//!   "keep": {"all": [{"field": "/country", "is": "ES"}, {"field": "/active", "is": true}]},
//!   "drop": {"any": [{"field": "/terminated_on", "is_not": null}, {"field": "/email", "contains": "@example.com"}]}
//! }
//! ```
//!
//! `keep`, `drop` or both. A rule is `all` or `any` with a list of conditions. A condition names a `field` of the
//! event's data with a JSON Pointer (RFC 6901) and says what has to be so of it; where it says several things, all of
//! them:
//!
//! | | holds when the field |
//! | --- | --- |
//! | `is`, `is_not` | is, or is not, this value; `1` is `1.0`; a missing field is nothing, not even `null` |
//! | `one_of` | is one of the values of this list |
//! | `above`, `at_least`, `at_most`, `below` | compares so with this number, or with this string by its characters, which suits dates |
//! | `starts_with` | is a string that begins with this one |
//! | `contains` | is a string with this one in it, or a list with this value in it |
//! | `exists` | is there (`true`) or is missing (`false`) |
//!
//! A value of another kind is no error: the condition does not hold. What is dropped has the deciding condition as its
//! reason. With the config above an `employees/employee/update` with `"country": "ES", "active": true, "email":
//! "nuria@example.org", "terminated_on": null` is sent; one with `"country": "FR"` is not, because of ``keep: `/country`
//! is "ES" does not hold``.

mod condition;

use posthaste_plugin::{Error, Event, Outcome};
use serde::Deserialize;
use serde_json::Value;

use condition::Condition;

/// Which events to send.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    keep: Option<Rule>,
    drop: Option<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Config {
    /// The rules that there are: the name, the rule, and whether it has to hold for an event to be sent.
    fn rules(&self) -> impl Iterator<Item = (&str, &Rule, bool)> {
        let keep = self.keep.iter().map(|rule| ("keep", rule, true));
        keep.chain(self.drop.iter().map(|rule| ("drop", rule, false)))
    }
}

impl Rule {
    fn conditions(&self) -> &[Condition] {
        let (Self::All(conditions) | Self::Any(conditions)) = self;
        conditions
    }

    /// Whether the rule holds, and what decided it.
    fn judge(&self, data: &Value) -> (bool, String) {
        let any = matches!(self, Self::Any(_));
        match self.conditions().iter().find(|condition| condition.holds(data) == any) {
            Some(condition) if any => (true, condition.to_string()),
            Some(condition) => (false, format!("{condition} does not hold")),
            None if any => (false, "no condition holds".into()),
            None => (true, "every condition holds".into()),
        }
    }
}

/// Drops the event unless every rule lets it pass.
///
/// # Errors
/// The event's data is nested more than 128 deep.
pub fn transform(event: Event, config: Config) -> Result<Outcome, Error> {
    let data = event.value()?;
    let mut verdicts = config.rules().map(|(name, rule, wanted)| (name, rule.judge(&data), wanted));
    let against = verdicts.find(|(_, (holds, _), wanted)| holds != wanted);
    Ok(against.map_or(Outcome::Pass, |(name, (_, why), _)| Outcome::drop(format!("{name}: {why}"))))
}

/// Refuses a rule that says nothing, and a test that is not in the table.
///
/// # Errors
/// The text names the rule, the field and the test.
pub fn check(config: &Config) -> Result<(), Error> {
    if config.rules().next().is_none() {
        return Err("config: say what to `keep` or what to `drop`".into());
    }
    for (name, rule, _) in config.rules() {
        if rule.conditions().is_empty() {
            return Err(format!("config: {name}: the list of conditions is empty").into());
        }
        rule.conditions().iter().try_for_each(|condition| condition.check(name))?;
    }
    Ok(())
}

posthaste_plugin::export!(transform, check);
