//! The name under which this process holds deliveries in memory.

use std::sync::{Arc, PoisonError, RwLock};

use super::delivery_clock::DeliveryClock;

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

    /// A lease that begins now: its end in milliseconds since 1970, and its name.
    pub(super) fn lease(&self) -> (i64, Arc<str>) {
        (self.clock.due_ms() + LEASE_MS, self.name())
    }

    /// Now, and the latest instant at which any lease can end; milliseconds since 1970.
    pub(super) fn release_horizon(&self) -> (i64, i64) {
        let now = self.clock.due_ms();
        (now, now + LEASES_END_MS)
    }
}
