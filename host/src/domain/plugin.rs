//! Plugins: names, digests, what a transform may answer and what one call of it left behind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::event::Event;
use super::headers;

/// What a transform made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Send the event's data as it is.
    Pass,
    /// Send this instead.
    Replace(Message),
    /// Send nothing; the reason is kept.
    Drop(String),
}

/// What is sent in place of the event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The body, at most 1 MiB.
    pub body: String,
    /// `None` keeps `application/json`.
    pub content_type: Option<String>,
    /// Set over the webhook's and the event's own.
    pub headers: Vec<(String, String)>,
}

/// How much a log line matters, as the plugin said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is odd.
    Warn,
    /// Something is wrong.
    Error,
}

impl Level {
    /// `debug`, `info`, `warn` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// As the plugin said.
    pub level: Level,
    /// At most 1 KiB; control characters are escaped.
    pub message: String,
}

/// The lines of one call: the first 64, and how many more there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// The lines that were kept.
    pub lines: Vec<LogLine>,
    /// Lines after the 64th, counted and not kept.
    pub dropped: u64,
}

impl Logs {
    /// The lines that were kept, as the contract shows them.
    pub fn shown(&self) -> Value {
        self.lines.iter().map(|line| json!({"level": line.level.name(), "message": line.message})).collect()
    }
}

/// What an outcome makes a receiver see, but for the headers that the host sets.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The content type.
    pub content_type: String,
    /// The other headers: names in lower case, once each.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: &'a str,
}

impl<'a> Sent<'a> {
    /// What is sent of `event`, over the headers `asked` for elsewhere, in rising precedence. `None`: nothing is.
    pub fn of(outcome: &'a Outcome, event: &'a Event, asked: &[&[(String, String)]]) -> Option<Self> {
        let (body, content_type, own) = match outcome {
            Outcome::Pass => (event.data_text(), None, &[][..]),
            Outcome::Replace(message) => (&*message.body, message.content_type.clone(), &message.headers[..]),
            Outcome::Drop(_) => return None,
        };
        let mut headers = headers::merge(asked.iter().copied().chain([own]));
        let named = headers.iter().position(|(name, _)| name == "content-type").map(|at| headers.remove(at).1);
        let content_type = content_type.or(named).unwrap_or_else(|| "application/json".into());
        Some(Self { content_type, headers, body })
    }
}

/// The name that the contract gives an answer, and its reason.
pub fn told(answer: &Result<Outcome, Failure>) -> (&'static str, Option<String>) {
    match answer {
        Ok(Outcome::Pass) => ("pass", None),
        Ok(Outcome::Replace(_)) => ("replace", None),
        Ok(Outcome::Drop(reason)) => ("drop", Some(reason.clone())),
        Err(failure) => ("error", Some(failure.to_string())),
    }
}

/// Why a call did not answer with an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The plugin answered with an error of its own, in these words.
    Refused(String),
    /// The call was stopped or broke: a trap, the deadline, a memory or output limit. The text names the limit,
    /// what was allowed and, where it is known, what was wanted.
    Broke(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Broke(text) => f.write_str(text),
        }
    }
}

/// One call of a plugin: what came of it and what it cost.
#[derive(Debug, Clone)]
pub struct Call<T> {
    /// What the plugin answered, or why it did not.
    pub result: Result<T, Failure>,
    /// What it logged.
    pub logs: Logs,
    /// Time inside the sandbox, instantiation included, waiting for a thread not.
    pub duration: Duration,
    /// Largest sum of its linear memories, in bytes.
    pub memory_bytes: u64,
}

impl<T> Call<T> {
    /// A call that never came about.
    pub fn failed(failure: Failure) -> Self {
        Self { result: Err(failure), logs: Logs::default(), duration: Duration::ZERO, memory_bytes: 0 }
    }

    /// The same call, come to another end.
    pub fn ended<U>(self, result: Result<U, Failure>) -> Call<U> {
        Call { result, logs: self.logs, duration: self.duration, memory_bytes: self.memory_bytes }
    }

    /// [`Call::duration`] in microseconds.
    pub fn duration_us(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The sha-256 of a version's bytes (or of a config): 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        Self(hex(digest.as_ref()).into())
    }

    /// A digest that was stored before.
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0')));
        text
    })
}

/// The plugin that a webhook asks for: `name` (whatever is active) or `name@digest-prefix` (that version).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRef {
    /// The plugin's name.
    pub name: String,
    /// At least 8 hex digits of a version's digest, where one is pinned.
    pub digest_prefix: Option<String>,
}

impl PluginRef {
    /// Reads `name` or `name@digest-prefix`.
    ///
    /// # Errors
    /// Says what is wrong with the name or the prefix.
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

/// Who owns the transforms that ship with Posthaste: no company has this name.
pub const STANDARD_OWNER: &str = "";

/// Whether a name is one of those that are kept for the transforms that ship with Posthaste: it begins with `std-`.
pub fn is_standard(name: &str) -> bool {
    name.starts_with("std-")
}

/// Whose plugin `company` means by `name`: its own, or one that ships with Posthaste and is everybody's.
pub fn owner<'c>(company: &'c str, name: &str) -> &'c str {
    if is_standard(name) { STANDARD_OWNER } else { company }
}

/// Checks that a company may upload to, switch or remove the plugin of this name.
///
/// # Errors
/// As [`check_name`], or that it ships with Posthaste.
pub fn check_own_name(name: &str) -> Result<(), String> {
    check_name(name)?;
    if is_standard(name) {
        return Err(
            "names that begin with `std-` are those of the transforms that ship with Posthaste: they are there \
                    to be used, and change only with Posthaste itself"
                .into(),
        );
    }
    Ok(())
}

/// Checks a plugin's name: `[a-z0-9][a-z0-9-]{0,62}`.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 63 || name.starts_with('-') || !name.bytes().all(fine) {
        return Err("a plugin's name is 1 to 63 of a-z 0-9 and -, and does not begin with -".into());
    }
    Ok(())
}

/// Checks a digest or a prefix of one: 8 to 64 lower-case hex digits.
pub fn check_digest_prefix(prefix: &str) -> Result<(), String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if prefix.len() < 8 || prefix.len() > 64 || !prefix.bytes().all(hex) {
        return Err("a version is named by 8 to 64 lower-case hex digits of its digest".into());
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
    fn standard_names_are_everybodys_and_nobodys_to_change() {
        assert_eq!((owner("acme", "std-mask"), owner("acme", "stdmask")), (STANDARD_OWNER, "acme"));
        assert!(check_own_name("std-x").is_err() && check_own_name("A").is_err() && check_own_name("std").is_ok());
    }

    #[test]
    fn references() {
        assert_eq!(PluginRef::parse("mask").unwrap().digest_prefix, None);
        assert_eq!(PluginRef::parse("mask@e3b0c442").unwrap().digest_prefix.as_deref(), Some("e3b0c442"));
        for bad in ["", "-a", "A", "a_b", "mask@", "mask@e3b0c44", "mask@E3B0C442", "mask@e3b0c442@", &"a".repeat(64)] {
            assert!(PluginRef::parse(bad).is_err(), "{bad}");
        }
    }
}
