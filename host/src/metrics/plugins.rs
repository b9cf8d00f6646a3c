//! Transforms, by plugin. Companies name their plugins, so the names that become labels are bounded.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, add};

/// Plugins shown under their own names, besides the standard ones: each is a histogram. Who comes later is [`OTHER`].
const NAMED: usize = 100;
const OTHER: &str = "other";
/// Around the default deadline of 100 ms, and well below it.
const TRANSFORM: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

type Label = [(&'static str, String); 1];

#[derive(Debug)]
pub(super) struct Plugins {
    duration: Family<Label, Histogram>,
    errors: Family<Label, Counter>,
    other: Plugin,
    /// Looked up for every transform, changed when a plugin is first met.
    named: RwLock<HashMap<String, Plugin>>,
    most: usize,
}

#[derive(Debug, Clone)]
struct Plugin {
    duration: Histogram,
    errors: Counter,
}

impl Plugin {
    fn ended(&self, took: Duration, failed: bool) {
        self.duration.observe(took.as_secs_f64());
        if failed {
            self.errors.inc();
        }
    }
}

impl Plugins {
    pub(super) fn register(to: &mut Registry, standard: impl IntoIterator<Item = &'static str>) -> Self {
        let duration: Family<Label, Histogram> = Family::new_with_constructor(|| Histogram::new(TRANSFORM));
        let help = "Transforms by webhooks, by plugin; waiting for a thread is left out";
        to.register_with_unit("transform_duration", help, Unit::Seconds, duration.clone());
        let errors = "Transforms by webhooks that failed, by plugin, whatever the webhook does on errors";
        let errors = add(to, "transform_errors", errors, Family::default());
        let named = standard.into_iter().map(|name| (name.to_owned(), plugin(&duration, &errors, name)));
        let named: HashMap<_, _> = named.collect();
        let (other, most) = (plugin(&duration, &errors, OTHER), named.len() + NAMED);
        Self { duration, errors, other, named: RwLock::new(named), most }
    }

    fn ended(&self, name: &str, took: Duration, failed: bool) {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        match named.get(name) {
            Some(plugin) => plugin.ended(took, failed),
            None if named.len() >= self.most => self.other.ended(took, failed),
            None => {
                drop(named);
                self.meet(name).ended(took, failed);
            }
        }
    }

    fn meet(&self, name: &str) -> Plugin {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        // Others may have been met since it was looked for.
        if named.len() >= self.most && !named.contains_key(name) {
            return self.other.clone();
        }
        named.entry(name.to_owned()).or_insert_with(|| plugin(&self.duration, &self.errors, name)).clone()
    }
}

fn plugin(duration: &Family<Label, Histogram>, errors: &Family<Label, Counter>, name: &str) -> Plugin {
    let label = [("plugin", name.to_owned())];
    Plugin { duration: duration.get_or_create_owned(&label), errors: errors.get_or_create_owned(&label) }
}

impl Metrics {
    /// A plugin was called for a webhook; `failed`: it trapped, went over a limit or answered with an error.
    pub fn transform_ended(&self, plugin: &str, took: Duration, failed: bool) {
        self.plugins.ended(plugin, took, failed);
    }
}
