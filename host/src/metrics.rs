//! The Prometheus metrics; docs/operations.md has the table.
//!
//! A leaf module: other rooms report occurrences (`metrics.event_accepted()`), and only this room knows the metrics that
//! record them. The metrics that change for every event are looked up once, at the start. Label values are known in
//! advance or bounded; company names are never label values.

mod delivering;
mod labelled_counters;
mod plugins;
#[cfg(target_os = "linux")]
mod process;
mod serving;
mod sharing;
mod writing;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use delivering::DeliveryMetrics;
use plugins::TransformMetrics;
use serving::HttpMetrics;
use sharing::SharingMetrics;
use writing::WriterMetrics;

pub use delivering::AttemptResult;
pub use sharing::ShareMetrics;

/// The content type of [`Metrics::text`]: the Prometheus text format, version 0.0.4.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All metrics of the service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    delivering: DeliveryMetrics,
    plugins: TransformMetrics,
    writing: WriterMetrics,
    serving: HttpMetrics,
    sharing: SharingMetrics,
}

impl Metrics {
    /// Registers all metrics. The process started at `now_ms`, in milliseconds since 1970; the transforms named in
    /// `standard` always have labels of their own.
    pub fn new(now_ms: i64, standard: impl IntoIterator<Item = &'static str>) -> Self {
        let mut registry = Registry::default();
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(Duration::from_millis(now_ms.max(0).unsigned_abs()).as_secs_f64());
        // Without the prefix `posthaste`: Prometheus client libraries export this name by convention.
        registry.register_with_unit(
            "process_start_time",
            "Start time of the process, in seconds since 1970",
            Unit::Seconds,
            started,
        );
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(process::ProcessMetrics));
        let own = registry.sub_registry_with_prefix("posthaste");
        let delivering = DeliveryMetrics::register(own);
        let plugins = TransformMetrics::register(own, standard);
        let writing = WriterMetrics::register(own);
        let serving = HttpMetrics::register(own);
        let sharing = SharingMetrics::register(own);
        Self { registry, delivering, plugins, writing, serving, sharing }
    }

    /// Describes the process: the `commit` from which it was built, and the kind of its `database`.
    pub fn describe_build(&mut self, commit: &'static str, database: &'static str) {
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", commit), ("database", database)];
        let own = self.registry.sub_registry_with_prefix("posthaste");
        own.register("build", "Version, commit and kind of database of the running process", Info::new(labels));
    }

    /// Returns all metrics in the format that [`CONTENT_TYPE`] names.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        if prometheus_text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("a metric could not be encoded");
        }
        text
    }
}

/// Increments a gauge, and decrements it when dropped.
#[derive(Debug)]
#[must_use = "dropping the guard at once undoes the increment"]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers a metric without a unit and returns it.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a histogram of durations in seconds and returns it.
fn seconds(registry: &mut Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let histogram = Histogram::new(buckets.iter().copied());
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests;
