//! Log lines on stderr; `RUST_LOG` chooses which.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// sqlx warns of each connection that a lost database costs; who waited for one says so once a minute.
const USUAL: &str = "info,sqlx=error";

/// Starts logging. A second call changes nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    // It fails only where a logger runs already, as in tests.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// How often one thing is said.
const EVERY: Duration = Duration::from_secs(60);

/// Says what may happen many times a second once a minute.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<HashMap<&'static str, (Instant, u64)>>);

impl Seldom {
    /// Logs `what` and its cause, unless that was done within the last minute; the next line says how often it was not.
    pub fn warn(&self, what: &'static str, error: &dyn Display) {
        if let Some(unsaid) = self.turn(what, Instant::now()) {
            tracing::warn!(%error, unsaid, "{what}");
        }
    }

    /// `None`: not now. Otherwise how often it was not said since the last time.
    fn turn(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get_mut(what) {
            Some((at, unsaid)) if now.duration_since(*at) < EVERY => {
                *unsaid += 1;
                None
            }
            before => {
                let unsaid = before.map_or(0, |(_, unsaid)| *unsaid);
                said.insert(what, (now, 0));
                Some(unsaid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_counted() {
        let (seldom, begin) = (Seldom::default(), Instant::now());
        let turns: Vec<_> = (0..121).filter_map(|s| seldom.turn("a", begin + Duration::from_secs(s))).collect();
        assert_eq!(turns, [0, 59, 59]);
        assert_eq!(seldom.turn("b", begin), Some(0));
    }
}
