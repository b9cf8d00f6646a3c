//! The deliveries in memory and the bounds on them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::QueuedDelivery;
use crate::domain::id;
use crate::domain::waiting::WaitingCount;
use crate::shares::{Part, Share};

/// Deliveries that one queue holds while memory is ample.
pub(super) const BUFFER: usize = 1024;
/// The same if the company has more than half of its share of the memory.
const SCARCE: usize = 64;
/// The same if it has all of it: enough to keep an attempt going, so that queues with a backlog do not take the memory that
/// others need to deliver at all. Only the names of their events are held.
pub(super) const LEAST: usize = 4;
/// Most memory of events that are read from the database for their attempts, in bytes.
pub(super) const READ_FOR_ATTEMPTS: usize = 24 << 20;

/// The deliveries in memory, queued or in flight. A lease that runs out is no reason to queue one of them a second time.
#[derive(Debug)]
pub(super) struct HeldDeliveries {
    ids: HashSet<String>,
    memory: Arc<Share>,
    /// The memory of each company that has any.
    companies: HashMap<Arc<str>, Part>,
}

impl HeldDeliveries {
    /// Returns an empty set, whose deliveries take `memory`.
    pub(super) fn new(memory: Arc<Share>) -> Self {
        Self { ids: HashSet::new(), memory, companies: HashMap::new() }
    }

    /// Returns whether a delivery is in memory.
    pub(super) fn contains(&self, delivery_id: &str) -> bool {
        self.ids.contains(delivery_id)
    }

    /// Counts a delivery of `company` that enters memory. It leaves its event's data in the database if the company has its
    /// share of the memory.
    pub(super) fn insert(&mut self, delivery: &mut QueuedDelivery, company: &Arc<str>) {
        if !self.ids.insert(delivery.id.clone()) {
            return;
        }
        let bytes = delivery.size() as u64;
        if self.companies.get_mut(company).is_some_and(|part| part.grow(bytes).is_ok()) {
            return;
        }
        if !self.companies.contains_key(company)
            && let Ok(part) = self.memory.try_take(company, bytes)
        {
            self.companies.insert(company.clone(), part);
            return;
        }
        delivery.leave_payload(company);
        let bytes = delivery.size() as u64;
        match self.companies.get_mut(company) {
            Some(part) => part.hold(bytes),
            None => drop(self.companies.insert(company.clone(), self.memory.hold(company, bytes))),
        }
    }

    /// Counts a delivery that leaves memory.
    pub(super) fn remove(&mut self, delivery: &QueuedDelivery) {
        if !self.ids.remove(&delivery.id) {
            return;
        }
        let company = delivery.event.company();
        if let Some(part) = self.companies.get_mut(company) {
            part.shrink(delivery.size() as u64);
            if part.amount() == 0 {
                self.companies.remove(company);
            }
        }
    }

    /// Returns how many there are, and when the oldest was accepted.
    pub(super) fn count(&self) -> WaitingCount {
        let oldest = self.ids.iter().min().and_then(|id| id::made_at(id));
        WaitingCount { count: i64::try_from(self.ids.len()).unwrap_or(i64::MAX), oldest }
    }

    /// Returns how many deliveries a queue of this company may hold now.
    pub(super) fn queue_limit(&self, company: &str) -> usize {
        match self.memory.usage(company) {
            (held, share) if held < share / 2 => BUFFER,
            (held, share) if held < share => SCARCE,
            _ => LEAST,
        }
    }

    /// Returns the memory of all deliveries, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.companies.values().map(Part::amount).sum()
    }

    /// Returns whether nothing is held.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.companies.is_empty() && self.memory.used() == 0
    }
}
