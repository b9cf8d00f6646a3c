//! The name under which this process holds deliveries in memory.

use std::sync::{Arc, PoisonError, RwLock};

use super::delivery_clock::DeliveryClock;
use crate::store::{Lease, LeaseHorizon};

/// How long a process may hold a delivery in memory before the fetcher checks whether it still does, in milliseconds.
const LEASE_MS: i64 = 60_000;
/// How far ahead of now a lease of an earlier process may end, in milliseconds: the clock may have been set back since.
const LEASES_END_MS: i64 = LEASE_MS + 3_600_000;

/// The current lease name of this run of the process. It changes if the other nodes declare this one dead.
pub(super) struct LeaseHolder {
    name: RwLock<Arc<str>>,
    clock: Arc<DeliveryClock>,
}

impl LeaseHolder {
    pub(super) fn new(name: Arc<str>, clock: Arc<DeliveryClock>) -> Self {
        Self { name: RwLock::new(name), clock }
    }

    /// The current name.
    pub(super) fn name(&self) -> Arc<str> {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Continues under a new name.
    pub(super) fn rename(&self, name: Arc<str>) {
        *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// A lease that begins now.
    pub(super) fn lease(&self) -> Lease {
        Lease { until_ms: self.clock.due_ms() + LEASE_MS, node: self.name() }
    }

    /// Now, and the latest instant at which any lease can end.
    pub(super) fn release_horizon(&self) -> LeaseHorizon {
        let now_ms = self.clock.due_ms();
        LeaseHorizon { now_ms, latest_end_ms: now_ms + LEASES_END_MS }
    }
}
