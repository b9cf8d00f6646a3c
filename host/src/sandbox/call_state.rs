//! The host's state of one call, dropped with it: the resource meter and the log.

use crate::domain::plugin::{LogLevel, LogLine, Logs};

use super::limits::{LimitExceeded, Limits, ResourceMeter};
use super::text::printable;

/// Lines that are kept per call.
const LOG_LINES: usize = 64;

/// Bytes that are kept per line.
const LOG_LINE_BYTES: usize = 1 << 10;

/// Size of one message, in bytes, from which the call fails: a plugin that logs this much at once is malicious or broken.
const LOG_MESSAGE_BYTES: usize = 1 << 20;

/// The state of one call.
#[derive(Debug)]
pub(super) struct CallState {
    pub(super) meter: ResourceMeter,
    pub(super) logs: Logs,
}

impl CallState {
    /// Returns the state of a call that has not begun.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { meter: ResourceMeter::new(limits.memory_bytes), logs: Logs::default() }
    }

    /// Keeps a line, or only counts it if enough lines are kept.
    ///
    /// # Errors
    /// If the message is 1 MiB or larger.
    pub(super) fn log(&mut self, level: LogLevel, message: &str) -> Result<(), LimitExceeded> {
        if message.len() >= LOG_MESSAGE_BYTES {
            return Err(LimitExceeded::bytes("log limit", LOG_MESSAGE_BYTES - 1, message.len()));
        }
        if self.logs.lines.len() < LOG_LINES {
            self.logs.lines.push(LogLine { level, message: printable(message, LOG_LINE_BYTES) });
        } else {
            self.logs.dropped = self.logs.dropped.saturating_add(1);
        }
        Ok(())
    }
}
