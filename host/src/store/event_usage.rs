//! The bytes of events that companies store, counted in memory and added to the database now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::delivery_rows::{NewEventRow, Published};

/// What one process has stored and removed since it last told the database, and which companies have more than they may.
///
/// A crash loses the first, at most the changes of a few seconds.
#[derive(Debug, Default)]
pub(super) struct EventUsage {
    changes: Mutex<BTreeMap<String, i64>>,
    /// The companies that have reached their limit, with that limit.
    full: RwLock<HashMap<String, u64>>,
    /// Whether `full` has any: an event of a service without them costs nothing more.
    is_any_full: AtomicBool,
}

impl EventUsage {
    /// Counts the events of one transaction.
    pub(super) fn stored(&self, rows: &[NewEventRow], published: &[Published]) {
        if rows.is_empty() {
            return;
        }
        let mut changes = self.changes();
        for (row, _) in rows.iter().zip(published).filter(|(_, published)| **published == Published::Stored) {
            add(&mut changes, &row.event.company, i64::try_from(row.event.data.len()).unwrap_or(i64::MAX));
        }
    }

    /// Counts events that were removed.
    pub(super) fn removed(&self, company: &str, bytes: i64) {
        add(&mut self.changes(), company, bytes.saturating_neg());
    }

    /// Returns what the database does not know yet of a company, in bytes.
    pub(super) fn unwritten(&self, company: &str) -> i64 {
        self.changes().get(company).copied().unwrap_or(0)
    }

    /// Takes all changes, in the order of the companies.
    pub(super) fn take(&self) -> BTreeMap<String, i64> {
        std::mem::take(&mut *self.changes())
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&self, taken: BTreeMap<String, i64>) {
        let mut changes = self.changes();
        for (company, bytes) in taken {
            add(&mut changes, &company, bytes);
        }
    }

    /// Replaces the companies that have reached their limit.
    pub(super) fn set_full(&self, full: HashMap<String, u64>) {
        self.is_any_full.store(!full.is_empty(), Ordering::Relaxed);
        *self.full.write().unwrap_or_else(PoisonError::into_inner) = full;
    }

    /// Returns the limit of a company that has reached it.
    pub(super) fn full(&self, company: &str) -> Option<u64> {
        if !self.is_any_full.load(Ordering::Relaxed) {
            return None;
        }
        self.full.read().unwrap_or_else(PoisonError::into_inner).get(company).copied()
    }

    fn changes(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(changes: &mut BTreeMap<String, i64>, company: &str, bytes: i64) {
    match changes.get_mut(company) {
        Some(sum) => *sum = sum.saturating_add(bytes),
        None => drop(changes.insert(company.to_owned(), bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_were_not_written_are_kept() {
        let usage = EventUsage::default();
        usage.removed("acme", 3);
        let taken = usage.take();
        assert_eq!((taken.get("acme"), usage.unwritten("acme")), (Some(&-3), 0));
        usage.removed("acme", 4);
        usage.put_back(taken);
        assert_eq!((usage.unwritten("acme"), usage.unwritten("other")), (-7, 0));
    }

    #[test]
    fn company_is_full_until_it_no_longer_is() {
        let usage = EventUsage::default();
        assert_eq!(usage.full("acme"), None);
        usage.set_full([("acme".to_owned(), 5)].into());
        assert_eq!((usage.full("acme"), usage.full("other")), (Some(5), None));
        usage.set_full(HashMap::new());
        assert_eq!(usage.full("acme"), None);
    }
}
