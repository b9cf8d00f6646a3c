//! The metrics of shared resources.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labelled_counters::Labels;
use super::{Metrics, add};

#[derive(Debug)]
pub(super) struct SharingMetrics {
    used: Family<Labels<1>, Gauge>,
    total: Family<Labels<1>, Gauge>,
    refused: Family<Labels<1>, Counter>,
}

/// The metrics of one shared resource.
#[derive(Debug)]
pub struct ShareMetrics {
    used: Gauge,
    refused: Counter,
}

impl SharingMetrics {
    pub(super) fn register(to: &mut Registry) -> Self {
        Self {
            used: add(to, "share_used", "The part of a shared resource that is in use, by resource", Family::default()),
            total: add(to, "share_limit", "The bound of a shared resource, by resource", Family::default()),
            refused: add(
                to,
                "share_refused",
                "Requests for a part of a shared resource that found no room, by resource",
                Family::default(),
            ),
        }
    }
}

impl ShareMetrics {
    /// Sets how much is in use, in the unit of the resource.
    pub fn used(&self, amount: u64) {
        self.used.set(i64::try_from(amount).unwrap_or(i64::MAX));
    }

    /// Counts a request that found no room.
    pub fn refused(&self) {
        self.refused.inc();
    }
}

impl Metrics {
    /// Returns the metrics of a shared resource with its `total`.
    pub fn share(&self, resource: &'static str, total: u64) -> ShareMetrics {
        let labels = [("resource", resource)];
        let limit = self.sharing.total.get_or_create_owned(&labels);
        limit.set(i64::try_from(total).unwrap_or(i64::MAX));
        ShareMetrics {
            used: self.sharing.used.get_or_create_owned(&labels),
            refused: self.sharing.refused.get_or_create_owned(&labels),
        }
    }
}
