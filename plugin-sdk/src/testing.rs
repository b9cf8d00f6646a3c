//! Tests a transform natively, with test cases in files. Not available on wasm32.
//!
//! A case is a JSON file. The host runs the same files in its sandbox, so the format does not depend on Rust.
//!
//! ```json
//! {
//!   "event": {"type": "employee_created", "data": {"id": 52, "email": "bob.macri@example.com"}},
//!   "config": {"fields": ["/email"]},
//!   "outcome": {"replace": {"body": {"id": 52, "email": "***"}}}
//! }
//! ```
//!
//! | field | |
//! | --- | --- |
//! | `event.type` | |
//! | `event.data` | any JSON; the transform gets this text byte for byte as it is in the file |
//! | `event.id`, `event.company`, `event.occurred_at`, `event.headers` | optional; by default `event-1`, `1`, `2026-01-01T00:00:00.000Z` and none. `headers` is an object |
//! | `config` | optional, any JSON; `null` by default |
//! | `outcome` | `"pass"`, `{"replace": …}`, `{"drop": "the whole reason"}` or `{"error": "part of the text"}` |
//! | `outcome.replace` | `body` (any JSON, compared as a value) or `body_text` (a string, compared byte for byte); `content_type` and `headers` (an object) that the transform has to set, none by default |
//! | `check_config` | in place of `outcome`: part of the text that refuses the config; `event` is then optional |
//!
//! With an `outcome`, the config must be accepted. Unknown fields are refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::log::Level;
use crate::{Error, Event, Message, Outcome, config};

mod file;

/// Log lines per attempt: as many as the host keeps.
const MAX_LOGS: usize = 64;

thread_local! {
    static LOGS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn keep_log(level: Level, message: &str) {
    LOGS.with_borrow_mut(|logs| {
        if logs.len() < MAX_LOGS {
            logs.push((level, message.to_owned()));
        }
    });
}

/// Returns and removes the lines that this thread has logged since the last call: the first 64, uncut.
pub fn take_logs() -> Vec<(Level, String)> {
    LOGS.take()
}

/// Returns an event of this type with this data, and the defaults of a case.
pub fn event(event_type: &str, data: &str) -> Event {
    Event {
        id: "event-1".into(),
        event_type: event_type.into(),
        company: "1".into(),
        occurred_at: "2026-01-01T00:00:00.000Z".into(),
        headers: Vec::new(),
        body: data.into(),
    }
}

/// One case: the input of a transform, and its expected result.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name of the file without `.json`.
    pub name: String,
    /// The event that the transform gets.
    pub event: Event,
    /// The config as JSON text.
    pub config: String,
    /// The expected result.
    pub expect: Expect,
}

/// The expected result of a case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Expect {
    /// The config is refused with a text that contains this; the event is not transformed.
    ConfigRefused(String),
    /// The event's data is sent as it is.
    Pass,
    /// This message is sent instead.
    Replace {
        /// The body.
        body: Body,
        /// The content type that the transform sets.
        content_type: Option<String>,
        /// The headers that the transform sets: names in lower case.
        headers: BTreeMap<String, String>,
    },
    /// No message is sent, for this reason.
    Drop(String),
    /// The transform fails with a text that contains this.
    Error(String),
}

/// The expected body, and the way it is compared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Body {
    /// As a JSON value: neither spacing nor the order of keys matters.
    Json(Value),
    /// Byte for byte.
    Text(String),
}

impl Case {
    /// Reads one case.
    ///
    /// # Errors
    /// If the file cannot be read or is not a case; the text names it.
    pub fn load(path: &Path) -> Result<Self, String> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| file::parse(&name, &text)).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads every `*.json` of a folder, sorted by name.
    ///
    /// # Errors
    /// See [`Case::load`]; also if the folder has no case, because a test without cases would pass.
    pub fn load_dir(dir: &Path) -> Result<Vec<Self>, String> {
        let list = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        let mut paths = list().map_err(|error| format!("{}: {error}", dir.display()))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        if paths.is_empty() {
            return Err(format!("{}: there is no *.json in it", dir.display()));
        }
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// Returns whether the event is to be transformed. If not, the case expects the config to be refused.
    pub fn transforms(&self) -> bool {
        !matches!(self.expect, Expect::ConfigRefused(_))
    }

    /// Compares the result of `check-config` with the expected one.
    ///
    /// # Errors
    /// If they differ; the text shows both.
    pub fn check_config(&self, answer: Result<(), String>) -> Result<(), String> {
        match (&self.expect, answer) {
            (Expect::ConfigRefused(part), Err(text)) if text.contains(part) => Ok(()),
            (Expect::ConfigRefused(part), Err(text)) => {
                Err(format!("the config's refusal does not contain {part:?}: {text}"))
            }
            (Expect::ConfigRefused(part), Ok(())) => Err(format!("the config was accepted; expected: {part}")),
            (_, Err(text)) => Err(format!("the config was refused: {text}")),
            (_, Ok(())) => Ok(()),
        }
    }

    /// Compares the result of `transform` with the expected one.
    ///
    /// # Errors
    /// If they differ; the text shows both.
    pub fn check(&self, answer: Result<Outcome, String>) -> Result<(), String> {
        let fine = match (&self.expect, &answer) {
            (Expect::Pass, Ok(Outcome::Pass)) => true,
            (Expect::Drop(reason), Ok(Outcome::Drop(came))) => reason == came,
            (Expect::Error(part), Err(text)) => text.contains(part),
            (Expect::Replace { body, content_type, headers }, Ok(Outcome::Replace(message))) => {
                same_body(body, &message.body)
                    && *content_type == message.content_type
                    && *headers == header_map(message)
            }
            _ => false,
        };
        if fine { Ok(()) } else { Err(format!("expected {:#?}\ncame {answer:#?}", self.expect)) }
    }
}

fn same_body(expected: &Body, came: &str) -> bool {
    match expected {
        Body::Text(text) => text == came,
        Body::Json(value) => serde_json::from_str::<Value>(came).is_ok_and(|came| came == *value),
    }
}

fn header_map(message: &Message) -> BTreeMap<String, String> {
    message.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}

/// Runs every case of a folder; the path is relative to the crate, where `cargo test` runs.
///
/// # Panics
/// If a case fails or cannot be read, after all have run; the text names each.
pub fn run_cases<C: DeserializeOwned>(dir: impl AsRef<Path>, transform: fn(Event, C) -> Result<Outcome, Error>) {
    run_checked_cases(dir, transform, config::accept);
}

/// Runs cases as [`run_cases`] does, for a transform that is exported with a check of its config.
///
/// # Panics
/// See [`run_cases`].
pub fn run_checked_cases<C: DeserializeOwned>(
    dir: impl AsRef<Path>,
    transform: fn(Event, C) -> Result<Outcome, Error>,
    check: fn(&C) -> Result<(), Error>,
) {
    let run = |case: &Case| {
        case.check_config(config::check_config(&case.config, transform, check).map_err(String::from))?;
        if !case.transforms() {
            return Ok(());
        }
        case.check(config::transform(case.event.clone(), &case.config, transform, check).map_err(String::from))
    };
    let failures = match Case::load_dir(dir.as_ref()) {
        Ok(cases) => cases
            .iter()
            .filter_map(|case| run(case).err().map(|failure| format!("{}: {failure}", case.name)))
            .collect::<Vec<_>>(),
        Err(error) => vec![error],
    };
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
