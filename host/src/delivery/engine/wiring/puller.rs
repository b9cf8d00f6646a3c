//! Wires the reading of events by consumers.

use super::Wiring;
use crate::delivery::puller::Puller;
use crate::shares::Resource;

impl Wiring {
    pub(in crate::delivery::engine) fn puller(&self) -> Puller {
        Puller {
            store: self.store.clone(),
            transformer: self.transformer.clone(),
            clock: self.clock.clone(),
            consumers: self.consumers.clone(),
            waits: self.shares.of(Resource::PullWaits).clone(),
            stop: self.stop.clone(),
        }
    }
}
