#![doc = include_str!("../README.md")]

mod config;
mod error;
mod event;
pub mod json;
pub mod log;
mod outcome;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use config::NoConfig;
pub use error::Error;
pub use event::Event;
pub use outcome::{Message, Outcome};
pub use serde_json;

/// Exports a function as this crate's transform: `export!(transform)`, `export!(transform, check)`, or
/// `export!(transform, check, recheck)`.
///
/// * `transform` is a `fn(Event, Config) -> Result<Outcome, Error>`; `Config` is any type that implements
///   [`serde::Deserialize`] and borrows nothing.
/// * `check` is a `fn(&Config) -> Result<(), Error>` for rules that a type cannot express. It runs after
///   deserialization, both when a webhook is created or changed and before every transform.
/// * `recheck` is such a function too. It runs before every transform in place of `check`: for a check that does a part of the
///   transform's own work, such as compiling templates.
///
/// On targets other than wasm32 the macro only checks the types, so that tests can run natively.
///
/// ```compile_fail
/// use posthaste_plugin::{Error, Event, NoConfig, Outcome};
///
/// // The config parameter is missing.
/// fn transform(_event: Event) -> Result<Outcome, Error> {
///     Ok(Outcome::Pass)
/// }
/// posthaste_plugin::export!(transform);
/// ```
#[macro_export]
macro_rules! export {
    ($transform:path) => {
        $crate::export!($transform, $crate::__private::accept);
    };
    ($transform:path, $check:path) => {
        $crate::export!($transform, $check, $check);
    };
    ($transform:path, $check:path, $recheck:path) => {
        const _: () = {
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn($crate::Event, &str) -> ::core::result::Result<$crate::Outcome, $crate::Error> =
                |event, config| {
                    $crate::__private::check_config(config, $transform, $check)?;
                    $crate::__private::transform(event, config, $transform, $recheck)
                };
            #[cfg(target_arch = "wasm32")]
            $crate::__export_wasm!($transform, $check, $recheck);
        };
    };
}

/// The items that [`export!`] expands to. Not for direct use: they change without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::config::{accept, check_config, transform};
    #[cfg(target_arch = "wasm32")]
    pub use crate::wasm::*;
}
