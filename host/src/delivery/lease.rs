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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    struct Stands;

    impl Clock for Stands {
        fn now_ms(&self) -> i64 {
            5_000
        }

        fn steady_ms(&self) -> i64 {
            0
        }
    }

    #[test]
    fn lease_has_the_current_name_and_ends_within_the_horizon() {
        let holder = LeaseHolder::new("one".into(), Arc::new(DeliveryClock::new(Arc::new(Stands), 0)));
        assert_eq!(holder.lease(), Lease { until_ms: 65_000, node: "one".into() });
        holder.rename("two".into());
        assert_eq!((&*holder.name(), holder.lease().node), ("two", "two".into()));
        // A lease of a clock that was an hour ahead, at the most, has ended by then.
        let horizon = holder.release_horizon();
        assert_eq!((horizon.now_ms, horizon.latest_end_ms), (5_000, 5_000 + 3_660_000));
    }
}
