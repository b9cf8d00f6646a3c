//! The fields of a webhook as a request sends them: one set of rules for subscribing and for changing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::header_error;
use crate::api::problem::Problem;
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::webhook::{self, DEFAULT_MAX_IN_FLIGHT, MAX_MAX_IN_FLIGHT, OnError, Webhook};
use crate::domain::{Invalid, event};

/// Most attempts per second that a rate limit may name.
const MAX_RATE: u32 = 100_000;
/// Most bytes of a webhook's name.
const MAX_NAME: usize = 256;

/// What a request says of one field.
#[derive(Default)]
enum Sent<T> {
    /// Nothing: a new webhook has the default, a change leaves the field alone.
    #[default]
    Absent,
    /// Null: the default.
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T> Sent<T> {
    fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    fn is_sent(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    fn put<U>(&self, slot: &mut U, default: U, value: impl FnOnce(&T) -> U) {
        if self.is_sent() {
            *slot = self.value().map_or(default, value);
        }
    }
}

/// The body of `POST /webhooks` and of `PATCH /webhooks/{id}`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    r#type: Sent<String>,
    subscription_type: Sent<String>,
    target_url: Sent<String>,
    challenge: Sent<String>,
    name: Sent<String>,
    enabled: Sent<bool>,
    plugin: Sent<String>,
    config: Sent<Box<RawValue>>,
    on_error: Sent<String>,
    headers: Sent<BTreeMap<String, String>>,
    max_in_flight: Sent<u32>,
    rate_limit: Sent<u32>,
    ordered: Sent<bool>,
}

impl Fields {
    /// Checks the rules of a new webhook; answers its type and target.
    pub(super) fn check_new(&self, challenge_header: &str) -> Result<(&str, &str), Problem> {
        let mut errors = self.broken_rules(challenge_header);
        let (_, event_type) = self.event_type();
        for (pointer, field) in [("/type", event_type), ("/target_url", &self.target_url)] {
            if field.value().is_none() {
                errors.push(Invalid::at(pointer, "a webhook needs this field"));
            }
        }
        match (event_type.value(), self.target_url.value()) {
            (Some(event_type), Some(target_url)) if errors.is_empty() => Ok((event_type, target_url)),
            _ => Err(Problem::invalid(errors)),
        }
    }

    /// Checks the rules of a change to the webhook for `current` events.
    pub(super) fn check_change(&self, current: &str, challenge_header: &str) -> Result<(), Problem> {
        let mut errors = self.broken_rules(challenge_header);
        if matches!(self.target_url, Sent::Null) {
            errors.push(Invalid::at("/target_url", "a webhook needs this field"));
        }
        let (pointer, event_type) = self.event_type();
        if event_type.is_sent() && event_type.value().is_none_or(|sent| sent != current) {
            let detail = format!(
                "the type of a webhook cannot be changed: this one is for `{current}`; subscribe to the other type with \
                 POST /webhooks"
            );
            errors.push(Invalid::at(pointer, detail));
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }

    /// The target, where one is sent.
    pub(super) fn target_url(&self) -> Option<&str> {
        self.target_url.value().map(String::as_str)
    }

    /// Whether the plugin has to be asked about the config.
    pub(super) fn asks_plugin(&self) -> bool {
        self.plugin.is_sent() || self.config.is_sent()
    }

    /// The event type, under either of its names, with the pointer to it.
    fn event_type(&self) -> (&'static str, &Sent<String>) {
        if self.r#type.is_sent() { ("/type", &self.r#type) } else { ("/subscription_type", &self.subscription_type) }
    }

    fn broken_rules(&self, challenge_header: &str) -> Vec<Invalid> {
        let mut errors = Vec::new();
        let mut rule = |pointer: &str, result: Option<Result<(), String>>| {
            errors.extend(result.and_then(Result::err).map(|detail| Invalid::at(pointer, detail)));
        };
        let (pointer, event_type) = self.event_type();
        rule(pointer, event_type.value().map(|text| event::check_type(text)));
        if self.r#type.is_sent() && self.subscription_type.is_sent() {
            rule("/subscription_type", Some(Err("this is another name of `type`: send one of the two".into())));
        }
        rule("/challenge", self.challenge.value().map(|text| webhook::check_challenge(text)));
        rule("/name", self.name.value().map(|text| check_name(text)));
        rule("/plugin", self.plugin.value().map(|text| PluginRef::parse(text).map(drop)));
        rule("/on_error", self.on_error.value().map(|text| check_on_error(text)));
        rule("/max_in_flight", self.max_in_flight.value().map(|number| between(*number, MAX_MAX_IN_FLIGHT)));
        rule("/rate_limit", self.rate_limit.value().map(|number| between(*number, MAX_RATE)));
        let headers: Vec<_> = self.headers.value().cloned().unwrap_or_default().into_iter().collect();
        errors.extend(header_error(&headers, challenge_header));
        errors
    }

    /// Puts what was sent, once its rules are checked, into `webhook`.
    pub(super) fn apply(&self, webhook: &mut Webhook) {
        if let Some(url) = self.target_url() {
            webhook.target_url = url.to_owned();
        }
        self.challenge.put(&mut webhook.challenge, None, |text| Some(text.clone()));
        self.name.put(&mut webhook.name, None, |text| Some(text.clone()));
        self.enabled.put(&mut webhook.enabled, true, |enabled| *enabled);
        if self.enabled.is_sent() && webhook.enabled {
            webhook.disabled_reason = None;
        }
        self.plugin.put(&mut webhook.plugin, None, |text| PluginRef::parse(text).ok());
        if self.config.is_sent() {
            webhook.config = self.config.value().map_or("null", |raw| raw.get()).into();
            webhook.config_digest = Digest::of(webhook.config.as_bytes());
        }
        self.on_error.put(&mut webhook.on_error, OnError::default(), |name| OnError::named(name).unwrap_or_default());
        let pairs = |headers: &BTreeMap<String, String>| headers.clone().into_iter().collect();
        self.headers.put(&mut webhook.headers, Vec::new(), pairs);
        self.max_in_flight.put(&mut webhook.max_in_flight, DEFAULT_MAX_IN_FLIGHT, |number| *number);
        self.rate_limit.put(&mut webhook.rate_limit, None, |number| Some(*number));
        self.ordered.put(&mut webhook.ordered, false, |ordered| *ordered);
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!("a name is at most {MAX_NAME} bytes, without control characters"));
    }
    Ok(())
}

fn check_on_error(name: &str) -> Result<(), String> {
    let known = OnError::named(name).map(drop);
    known.ok_or_else(|| "there are the policies retry, send_original and drop".into())
}

fn between(number: u32, most: u32) -> Result<(), String> {
    if (1..=most).contains(&number) { Ok(()) } else { Err(format!("from 1 to {most}")) }
}
