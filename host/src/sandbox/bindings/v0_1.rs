//! Typed bindings of `posthaste:transform@0.1.x`, and their conversion to domain types.

use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};

use crate::domain::event::Event;
use crate::domain::plugin::{self, LogLevel};
use crate::domain::time::rfc3339;
use crate::sandbox::call_state::CallState;

use generated::exports::posthaste::transform::handler;
use generated::posthaste::transform::{log, types};
pub(in crate::sandbox) use generated::{Transform, TransformPre};

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "transform",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// Adds the world's only import with functions, the log, to the linker.
///
/// # Errors
/// If a name is defined twice.
pub(in crate::sandbox) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    Transform::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Calls `check-config`. The outer error is a trap or an exceeded limit, the inner one the plugin's own.
pub(in crate::sandbox) fn check_config(
    store: &mut Store<CallState>,
    transform: &Transform,
    config: &str,
) -> wasmtime::Result<Result<(), String>> {
    transform.posthaste_transform_handler().call_check_config(store, config)
}

/// Calls `transform`. The outer error is a trap or an exceeded limit, the inner one the plugin's own.
pub(in crate::sandbox) fn transform(
    store: &mut Store<CallState>,
    transform: &Transform,
    event: &Event,
    config: &str,
) -> wasmtime::Result<Result<plugin::Outcome, String>> {
    let headers: Vec<_> = event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let occurred_at = rfc3339(event.occurred_at);
    let event = handler::Event {
        id: &event.id,
        event_type: &event.event_type,
        company: &event.company,
        occurred_at: &occurred_at,
        headers: &headers,
        body: event.data_text(),
    };
    let answer = transform.posthaste_transform_handler().call_transform(store, event, config)?;
    Ok(answer.map(outcome))
}

fn outcome(answer: handler::Outcome) -> plugin::Outcome {
    match answer {
        handler::Outcome::Pass => plugin::Outcome::Pass,
        handler::Outcome::Drop(reason) => plugin::Outcome::Drop(reason),
        handler::Outcome::Replace(types::Message { body, content_type, headers }) => {
            plugin::Outcome::Replace(plugin::Message { body, content_type, headers })
        }
    }
}

impl types::Host for CallState {}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        Ok(self.log(level, &message)?)
    }
}
