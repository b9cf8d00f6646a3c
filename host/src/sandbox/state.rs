//! What belongs to one call and dies with it: the meter and the log.

use crate::domain::plugin::{Level, LogLine, Logs};

use super::limits::{Limits, Meter, OverLimit};
use super::text::printable;

/// Lines that are kept of one call.
const LOG_LINES: usize = 64;

/// Bytes that are kept of one line.
const LOG_LINE_BYTES: usize = 1 << 10;

/// Bytes of one message at which the call fails: a plugin that logs this much means harm or is broken.
const LOG_MESSAGE_BYTES: usize = 1 << 20;

/// The state of one call.
#[derive(Debug)]
pub(super) struct State {
    pub(super) meter: Meter,
    pub(super) logs: Logs,
}

impl State {
    /// The state of a call that has not begun.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { meter: Meter::new(limits.memory_bytes), logs: Logs::default() }
    }

    /// Keeps a line, or counts it when enough are kept.
    ///
    /// # Errors
    /// When the message is 1 MiB or more.
    pub(super) fn log(&mut self, level: Level, message: &str) -> Result<(), OverLimit> {
        if message.len() >= LOG_MESSAGE_BYTES {
            return Err(OverLimit::bytes("log limit", LOG_MESSAGE_BYTES - 1, message.len()));
        }
        if self.logs.lines.len() < LOG_LINES {
            self.logs.lines.push(LogLine { level, message: printable(message, LOG_LINE_BYTES) });
        } else {
            self.logs.dropped = self.logs.dropped.saturating_add(1);
        }
        Ok(())
    }
}
