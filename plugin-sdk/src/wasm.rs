//! Implements the component's side of the contract in `wit/transform.wit`: generated bindings, and conversions from and to the
//! crate's own types. Compiled on wasm32 only.

use crate::{Error, Event, Message, Outcome, log};

/// Bindings, generated from the WIT.
// Calls across the component boundary pass raw pointers, so the generated code needs unsafe. Only this module may use it: the
// crate itself stays under `deny(unsafe_code)`.
#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::indexing_slicing)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "transform",
        pub_export_macro: true,
        export_macro_name: "__export_bindings",
        default_bindings_module: "posthaste_plugin::__private::bindings",
    });
}

pub use bindings::exports::posthaste::transform::handler::Guest;
use bindings::posthaste::transform as wit;

pub(crate) fn write(level: log::Level, message: &str) {
    let level = match level {
        log::Level::Debug => wit::log::Level::Debug,
        log::Level::Info => wit::log::Level::Info,
        log::Level::Warn => wit::log::Level::Warn,
        log::Level::Error => wit::log::Level::Error,
    };
    wit::log::write(level, message);
}

/// Writes the message of a panic to the attempt's log; the trap that follows does not carry it.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| log::error(info.to_string())));
}

impl From<wit::types::Event> for Event {
    fn from(event: wit::types::Event) -> Self {
        let wit::types::Event { id, event_type, company, occurred_at, headers, body } = event;
        Self { id, event_type, company, occurred_at, headers, body }
    }
}

impl From<Outcome> for wit::types::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Drop(reason) => Self::Drop(reason),
            Outcome::Replace(Message { body, content_type, headers }) => {
                Self::Replace(wit::types::Message { body, content_type, headers })
            }
        }
    }
}

/// Converts a result to the types of the WIT.
pub fn answer<T, U: From<T>>(answer: Result<T, Error>) -> Result<U, String> {
    answer.map(U::from).map_err(String::from)
}

/// The part of `export!` for wasm32.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_wasm {
    ($transform:path, $check:path, $recheck:path) => {
        struct Plugin;
        impl $crate::__private::Guest for Plugin {
            fn check_config(config: ::std::string::String) -> ::core::result::Result<(), ::std::string::String> {
                $crate::__private::log_panics();
                $crate::__private::answer($crate::__private::check_config(&config, $transform, $check))
            }
            fn transform(
                event: $crate::__private::bindings::posthaste::transform::types::Event,
                config: ::std::string::String,
            ) -> ::core::result::Result<
                $crate::__private::bindings::posthaste::transform::types::Outcome,
                ::std::string::String,
            > {
                $crate::__private::log_panics();
                $crate::__private::answer($crate::__private::transform(event.into(), &config, $transform, $recheck))
            }
        }
        $crate::__private::bindings::__export_bindings!(Plugin with_types_in $crate::__private::bindings);
    };
}
