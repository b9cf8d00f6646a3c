//! Writes lines to the attempt's log, which the company sees with the outcome.
//!
//! The host cuts a line at 1 KiB and keeps 64 lines per attempt. In native tests,
//! [`testing::take_logs`](crate::testing::take_logs) returns the lines of the current thread.

/// The severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details for the plugin's author.
    Debug,
    /// Useful information.
    Info,
    /// Something unusual.
    Warn,
    /// A problem.
    Error,
}

/// Adds a debug line.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// Adds an info line.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// Adds a warning.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// Adds an error line. It does not fail the attempt; to do that, return an error.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

#[cfg(target_arch = "wasm32")]
use crate::wasm::write;

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    crate::testing::keep_log(level, message);
}
