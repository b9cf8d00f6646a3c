//! Logging to stderr. `RUST_LOG` selects the lines; every line carries the fields of the spans that it is in, so that
//! all lines of one delivery can be found (docs/operations.md, "Follow one delivery through the log").

#[cfg(test)]
pub(crate) mod log_buffer;

use std::collections::HashMap;
use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// The filter if `RUST_LOG` is not set. sqlx would warn of each connection that an unreachable database costs;
/// Posthaste itself reports that once a minute.
const DEFAULT_FILTER: &str = "info,sqlx=error";

/// Starts logging. A second call has no effect.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let ansi = std::io::stderr().is_terminal();
    // It fails only if a subscriber is set already, as in tests.
    let _ = dispatch(format, filter, std::io::stderr, ansi).try_init();
}

/// Builds the subscriber. Both formats show the spans of a line: as text, `attempt{delivery=…}: ` before the message; as
/// JSON, an array `spans` with one object for each.
fn dispatch<W>(format: LogFormat, filter: EnvFilter, writer: W, ansi: bool) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
    match format {
        LogFormat::Text => Dispatch::new(builder.with_target(false).finish()),
        LogFormat::Json => Dispatch::new(builder.json().with_span_list(true).finish()),
    }
}

/// The interval between two lines with the same text.
const INTERVAL: Duration = Duration::from_secs(60);

/// A throttled log: writes lines that could repeat many times a second at most once a minute for each text.
#[derive(Debug, Default)]
pub struct ThrottledLog(Mutex<HashMap<&'static str, ThrottledLine>>);

#[derive(Debug)]
struct ThrottledLine {
    written_at: Instant,
    /// Occurrences since then that were not written.
    suppressed: u64,
}

impl ThrottledLog {
    /// Logs `what` and its cause at level `WARN`, unless the same text was logged within the last minute. The field
    /// `suppressed` of the line counts the occurrences since the last line.
    pub fn warn(&self, what: &'static str, error: &dyn Display) {
        if let Some(suppressed) = self.admit(what, Instant::now()) {
            tracing::warn!(%error, suppressed, "{what}");
        }
    }

    /// Decides whether to write a line now: returns the number of suppressed occurrences, or `None` to suppress this one.
    fn admit(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.get_mut(what) {
            Some(line) if now.duration_since(line.written_at) < INTERVAL => {
                line.suppressed += 1;
                None
            }
            before => {
                let suppressed = before.map_or(0, |line| line.suppressed);
                lines.insert(what, ThrottledLine { written_at: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::log_buffer::LogBuffer;
    use super::*;

    /// Returns the lines that one attempt of each of two deliveries writes.
    fn logged(format: LogFormat, filter: &str) -> Vec<String> {
        let buffer = LogBuffer::default();
        let writer = buffer.clone();
        let dispatch = dispatch(format, EnvFilter::new(filter), move || writer.clone(), false);
        tracing::dispatcher::with_default(&dispatch, || {
            for delivery in ["dlv_1", "dlv_2"] {
                let _publish = tracing::info_span!("publish", company = "acme", event = "evt_1").entered();
                let _attempt = tracing::info_span!("attempt", delivery, webhook = "wh_1").entered();
                tracing::debug!("connecting");
                tracing::warn!(status = 503, "the receiver failed");
            }
        });
        buffer.text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn text_lines_show_the_fields_of_their_spans() {
        let lines = logged(LogFormat::Text, DEFAULT_FILTER);
        assert_eq!(lines.len(), 2, "{lines:?}");
        let spans = "publish{company=\"acme\" event=\"evt_1\"}:attempt{delivery=\"dlv_1\" webhook=\"wh_1\"}: ";
        assert!(lines[0].ends_with(&format!("WARN {spans}the receiver failed status=503")), "{lines:?}");
    }

    #[test]
    fn json_lines_show_the_fields_of_their_spans() {
        let lines = logged(LogFormat::Json, DEFAULT_FILTER);
        let line: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        let expected = serde_json::json!([
            {"name": "publish", "company": "acme", "event": "evt_1"},
            {"name": "attempt", "delivery": "dlv_2", "webhook": "wh_1"},
        ]);
        assert_eq!(line["spans"], expected, "{line}");
        assert_eq!(line["fields"]["message"], "the receiver failed");
    }

    #[test]
    fn a_filter_selects_all_lines_of_one_delivery() {
        let lines = logged(LogFormat::Text, "error,[attempt{delivery=dlv_2}]=trace");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("delivery=\"dlv_2\"")), "{lines:?}");
    }

    #[test]
    fn the_same_text_is_logged_once_a_minute_with_a_count() {
        let (log, start) = (ThrottledLog::default(), Instant::now());
        let written: Vec<_> = (0..121).filter_map(|s| log.admit("a", start + Duration::from_secs(s))).collect();
        assert_eq!(written, [0, 59, 59]);
        assert_eq!(log.admit("b", start), Some(0));
    }
}
