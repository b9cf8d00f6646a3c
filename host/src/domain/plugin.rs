//! Plugins: names, digests, the outcomes of a transform, and the results of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::event::Event;
use super::headers;

/// The name of one stored version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginVersion {
    /// The company that has it; empty for a standard transform.
    pub owner: String,
    /// The plugin's name.
    pub name: String,
    /// The digest of the version's bytes.
    pub digest: Digest,
}

/// The outcome of a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Send the event's data unchanged.
    Pass,
    /// Send this message instead.
    Replace(Message),
    /// Send nothing, for this reason, which the delivery log shows.
    Drop(String),
}

/// A message that replaces the event's data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The body, at most 1 MiB.
    pub body: String,
    /// The content type; `None` keeps `application/json`.
    pub content_type: Option<String>,
    /// Headers, which take precedence over those of the webhook and of the event.
    pub headers: Vec<(String, String)>,
}

/// The level of a log line, as the plugin chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Informative.
    Info,
    /// Unusual.
    Warn,
    /// An error.
    Error,
}

impl LogLevel {
    /// Returns `debug`, `info`, `warn` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One log line of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The level.
    pub level: LogLevel,
    /// The text: at most 1 KiB, control characters escaped.
    pub message: String,
}

/// The log lines of one call: the first 64, and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// The first 64 lines.
    pub lines: Vec<LogLine>,
    /// Number of lines after the 64th, which are not stored.
    pub dropped: u64,
}

impl Logs {
    /// Returns the stored lines as the JSON of the API.
    pub fn shown(&self) -> Value {
        self.lines.iter().map(|line| json!({"level": line.level.name(), "message": line.message})).collect()
    }
}

/// The message that an outcome sends, without the headers that the host adds.
#[derive(Debug, PartialEq, Eq)]
pub struct RenderedMessage<'a> {
    /// The content type.
    pub content_type: String,
    /// The other headers: names in lower case, once each.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: &'a str,
}

impl<'a> RenderedMessage<'a> {
    /// Returns the message for `event`, and `None` if the outcome sends nothing. The outcome's headers take precedence
    /// over `lower_headers`: those of the webhook and of the event, in ascending precedence.
    pub fn of(outcome: &'a Outcome, event: &'a Event, lower_headers: &[&[(String, String)]]) -> Option<Self> {
        let (body, content_type, own) = match outcome {
            Outcome::Pass => (event.data_text(), None, &[][..]),
            Outcome::Replace(message) => (&*message.body, message.content_type.clone(), &message.headers[..]),
            Outcome::Drop(_) => return None,
        };
        let mut headers = headers::merge(lower_headers.iter().copied().chain([own]));
        let named = headers.iter().position(|(name, _)| name == "content-type").map(|at| headers.remove(at).1);
        let content_type = content_type.or(named).unwrap_or_else(|| "application/json".into());
        Some(Self { content_type, headers, body })
    }
}

/// Returns the name of a call's result in the API, and its reason.
pub fn outcome_name_and_reason(answer: &Result<Outcome, Failure>) -> (&'static str, Option<String>) {
    match answer {
        Ok(Outcome::Pass) => ("pass", None),
        Ok(Outcome::Replace(_)) => ("replace", None),
        Ok(Outcome::Drop(reason)) => ("drop", Some(reason.clone())),
        Err(failure) => ("error", Some(failure.to_string())),
    }
}

/// Why a call returned no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The plugin returned an error with this text.
    Refused(String),
    /// The call trapped or was stopped by the deadline or by a memory or output limit. The text names the limit, the
    /// allowed amount and, if known, the requested amount.
    Broke(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Broke(text) => f.write_str(text),
        }
    }
}

/// One call of a plugin: its result and its cost.
#[derive(Debug, Clone)]
pub struct PluginCall<T> {
    /// The plugin's result, or why there is none.
    pub result: Result<T, Failure>,
    /// The log lines.
    pub logs: Logs,
    /// Time inside the sandbox: includes instantiation, excludes the wait for a thread.
    pub duration: Duration,
    /// Peak of the sum of its linear memories, in bytes.
    pub memory_bytes: u64,
}

impl<T> PluginCall<T> {
    /// Creates a call that failed before it started.
    pub fn failed(failure: Failure) -> Self {
        Self { result: Err(failure), logs: Logs::default(), duration: Duration::ZERO, memory_bytes: 0 }
    }

    /// Returns the same call with another result.
    pub fn ended<U>(self, result: Result<U, Failure>) -> PluginCall<U> {
        PluginCall { result, logs: self.logs, duration: self.duration, memory_bytes: self.memory_bytes }
    }

    /// Returns [`PluginCall::duration`] in microseconds.
    pub fn duration_us(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The sha-256 of a version's bytes (or of a config): 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// Computes the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        Self(hex(digest.as_ref()).into())
    }

    /// Returns a digest that was read from the store.
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns `bytes` in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0')));
        text
    })
}

/// A webhook's reference to a plugin: `name` (the active version) or `name@digest-prefix` (a pinned version).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRef {
    /// The plugin's name.
    pub name: String,
    /// The first digits, at least 8, of the pinned version's digest.
    pub digest_prefix: Option<String>,
}

impl PluginRef {
    /// Parses `name` or `name@digest-prefix`.
    ///
    /// # Errors
    /// The text names the rule that the name or the prefix breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, prefix) = match text.split_once('@') {
            Some((name, prefix)) => (name, Some(prefix)),
            None => (text, None),
        };
        check_name(name)?;
        if let Some(prefix) = prefix {
            check_digest_prefix(prefix)?;
        }
        Ok(Self { name: name.into(), digest_prefix: prefix.map(Into::into) })
    }
}

/// The owner of the standard transforms, which ship with Posthaste: no company has this name.
pub const STANDARD_OWNER: &str = "";

/// Returns whether a name is reserved for the standard transforms: it begins with `std-`.
pub fn is_standard(name: &str) -> bool {
    name.starts_with("std-")
}

/// The standard transforms that are presets of `std-template`: one component, which gets the name of the preset beside the webhook's
/// config.
pub const PRESETS: [(&str, &str); 6] = [
    ("std-slack", "slack"),
    ("std-teams", "teams"),
    ("std-discord", "discord"),
    ("std-google-chat", "google-chat"),
    ("std-pagerduty", "pagerduty"),
    ("std-jira", "jira"),
];

/// Returns the preset that a plugin's name stands for.
pub fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(own, _)| *own == name).map(|(_, preset)| *preset)
}

/// Returns the config that the component of a preset gets for a webhook's config, JSON text.
pub fn preset_config(preset: &str, config: &str) -> String {
    format!(r#"{{"preset":"{preset}","config":{config}}}"#)
}

/// Returns the owner of the plugin that `company` calls `name`: the company itself, or [`STANDARD_OWNER`].
pub fn owner<'c>(company: &'c str, name: &str) -> &'c str {
    if is_standard(name) { STANDARD_OWNER } else { company }
}

/// Checks that a company may upload, activate or remove the plugin with this name.
///
/// # Errors
/// As [`check_name`], or the name is reserved.
pub fn check_own_name(name: &str) -> Result<(), String> {
    check_name(name)?;
    if is_standard(name) {
        return Err(
            "names that begin with `std-` are reserved for the standard transforms, which ship with Posthaste \
                    and change only with it"
                .into(),
        );
    }
    Ok(())
}

/// Checks a plugin's name: `[a-z0-9][a-z0-9-]{0,62}`.
pub fn check_name(name: &str) -> Result<(), String> {
    check_name_of("plugin", name)
}

/// Checks the name of a plugin, or of `what` else has names of this form.
pub(super) fn check_name_of(what: &str, name: &str) -> Result<(), String> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 63 || name.starts_with('-') || !name.bytes().all(fine) {
        return Err(format!("a {what}'s name must be 1 to 63 of a-z 0-9 and -, and must not begin with -"));
    }
    Ok(())
}

/// Checks a digest or a prefix of one: 8 to 64 lower-case hex digits.
pub fn check_digest_prefix(prefix: &str) -> Result<(), String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if prefix.len() < 8 || prefix.len() > 64 || !prefix.bytes().all(hex) {
        return Err("a version must be given as the first 8 to 64 lower-case hex digits of its digest".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sha_256_in_lower_case_hex() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
    }

    #[test]
    fn standard_names_are_shared_by_all_companies_and_owned_by_none() {
        assert_eq!((owner("acme", "std-mask"), owner("acme", "stdmask")), (STANDARD_OWNER, "acme"));
        assert!(check_own_name("std-x").is_err() && check_own_name("A").is_err() && check_own_name("std").is_ok());
    }

    #[test]
    fn a_reference_is_a_name_with_or_without_a_digest_prefix() {
        assert_eq!(PluginRef::parse("mask").unwrap().digest_prefix, None);
        assert_eq!(PluginRef::parse("mask@e3b0c442").unwrap().digest_prefix.as_deref(), Some("e3b0c442"));
        for bad in ["", "-a", "A", "a_b", "mask@", "mask@e3b0c44", "mask@E3B0C442", "mask@e3b0c442@", &"a".repeat(64)] {
            assert!(PluginRef::parse(bad).is_err(), "{bad}");
        }
    }
}
