//! The metrics of transforms, by plugin. Companies choose the names of their plugins, so the number of names that become
//! labels is bounded.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, add};

/// Bounds the plugins with labels of their own, besides the standard ones: each is a histogram. Later plugins share the
/// label [`OTHER`].
const MAX_NAMED: usize = 100;
const OTHER: &str = "other";
/// Buckets in seconds: around and well below the default deadline of 100 ms.
const TRANSFORM_BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

type PluginLabel = [(&'static str, String); 1];

#[derive(Debug)]
pub(super) struct TransformMetrics {
    duration: Family<PluginLabel, Histogram>,
    errors: Family<PluginLabel, Counter>,
    other: PluginMetrics,
    /// Read for every transform, written when a plugin is first called.
    named: RwLock<HashMap<String, PluginMetrics>>,
    max_named: usize,
}

#[derive(Debug, Clone)]
struct PluginMetrics {
    duration: Histogram,
    errors: Counter,
}

impl PluginMetrics {
    fn new(duration: &Family<PluginLabel, Histogram>, errors: &Family<PluginLabel, Counter>, name: &str) -> Self {
        let label = [("plugin", name.to_owned())];
        Self { duration: duration.get_or_create_owned(&label), errors: errors.get_or_create_owned(&label) }
    }

    fn record(&self, took: Duration, failed: bool) {
        self.duration.observe(took.as_secs_f64());
        if failed {
            self.errors.inc();
        }
    }
}

impl TransformMetrics {
    pub(super) fn register(to: &mut Registry, standard: impl IntoIterator<Item = &'static str>) -> Self {
        let duration: Family<PluginLabel, Histogram> =
            Family::new_with_constructor(|| Histogram::new(TRANSFORM_BUCKETS));
        let help = "Duration of webhooks' transforms, by plugin; without the wait for a thread";
        to.register_with_unit("transform_duration", help, Unit::Seconds, duration.clone());
        let errors = "Failed transforms of webhooks, by plugin, for every value of on_error";
        let errors = add(to, "transform_errors", errors, Family::default());
        let named = standard.into_iter().map(|name| (name.to_owned(), PluginMetrics::new(&duration, &errors, name)));
        let named: HashMap<_, _> = named.collect();
        let (other, max_named) = (PluginMetrics::new(&duration, &errors, OTHER), named.len() + MAX_NAMED);
        Self { duration, errors, other, named: RwLock::new(named), max_named }
    }

    fn record(&self, name: &str, took: Duration, failed: bool) {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        match named.get(name) {
            Some(plugin) => plugin.record(took, failed),
            None if named.len() >= self.max_named => self.other.record(took, failed),
            None => {
                drop(named);
                self.named_or_other(name).record(took, failed);
            }
        }
    }

    /// Gives the plugin a label of its own if there is room for another.
    fn named_or_other(&self, name: &str) -> PluginMetrics {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added this or other plugins since the read lock was released.
        if named.len() >= self.max_named && !named.contains_key(name) {
            return self.other.clone();
        }
        named.entry(name.to_owned()).or_insert_with(|| PluginMetrics::new(&self.duration, &self.errors, name)).clone()
    }
}

impl Metrics {
    /// Records a plugin call for a webhook. `failed` means that it trapped, exceeded a limit or returned an error.
    pub fn transform_ended(&self, plugin: &str, took: Duration, failed: bool) {
        self.plugins.record(plugin, took, failed);
    }
}
