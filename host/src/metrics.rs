//! What is counted and timed, for Prometheus; docs/operations.md has the table.
//!
//! A leaf: every room says what happened (`metrics.event_accepted()`), none knows how it is kept. What happens for every
//! event touches counters that were looked up at the start. Label values are known beforehand or bounded, and no company
//! is one.

mod delivering;
mod known;
mod plugins;
mod serving;
mod writing;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use delivering::Delivering;
use plugins::Plugins;
use serving::Serving;
use writing::Writing;

pub use delivering::AttemptResult;

/// The content type of [`Metrics::text`]: the Prometheus text format, version 0.0.4.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    delivering: Delivering,
    plugins: Plugins,
    writing: Writing,
    serving: Serving,
}

impl Metrics {
    /// Nothing has happened yet. The process started at `now_ms`, milliseconds since 1970; the transforms called
    /// `standard` are always shown under their own names.
    pub fn new(now_ms: i64, standard: impl IntoIterator<Item = &'static str>) -> Self {
        let mut registry = Registry::default();
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(Duration::from_millis(now_ms.max(0).unsigned_abs()).as_secs_f64());
        // Without a prefix: under this name every exporter tells it.
        registry.register_with_unit(
            "process_start_time",
            "When the process started, since 1970",
            Unit::Seconds,
            started,
        );
        let own = registry.sub_registry_with_prefix("posthaste");
        own.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let delivering = Delivering::register(own);
        let plugins = Plugins::register(own, standard);
        let writing = Writing::register(own);
        let serving = Serving::register(own);
        Self { registry, delivering, plugins, writing, serving }
    }

    /// All of it, in the format that [`CONTENT_TYPE`] names.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        if prometheus_text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("a metric could not be written");
        }
        text
    }
}

/// Counts as one for as long as it lives.
#[derive(Debug)]
#[must_use = "dropped at once, it counts nothing"]
pub struct Held(Gauge);

impl Held {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers a metric that needs no unit, and answers it.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a histogram of seconds.
fn seconds(registry: &mut Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let histogram = Histogram::new(buckets.iter().copied());
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests;
