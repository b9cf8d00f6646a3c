//! Schedules compilations: a few at once on this machine, one at a time for each company, in a bounded queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::CompileError;
use crate::domain::company_limit::CompanyLimit;

/// Uploads of one company that are being compiled or wait for it.
const MAX_PER_COMPANY: usize = 4;

/// Uploads of all companies that are being compiled or wait for it; each holds its bytes in memory.
const MAX_TOTAL: usize = 32;

/// The queue of compilations.
pub(super) struct CompileScheduler {
    machine: Arc<Semaphore>,
    companies: Mutex<HashMap<String, CompanyCompiles>>,
}

struct CompanyCompiles {
    permit: Arc<Semaphore>,
    /// Uploads that are being compiled or wait.
    queued: usize,
}

/// Permission to compile one upload; returned on drop.
#[must_use]
pub(super) struct CompilePermit<'a> {
    _place: QueuePlace<'a>,
    _company: OwnedSemaphorePermit,
    _machine: OwnedSemaphorePermit,
}

struct QueuePlace<'a> {
    scheduler: &'a CompileScheduler,
    company: String,
}

/// Returns how many compilations may run at once on `cores` cores. Each may take a core and [`super::child::MEMORY`]; at least
/// one core is left to deliveries.
fn parallel_compiles(cores: usize) -> usize {
    cores.saturating_sub(1).clamp(1, 4)
}

impl Default for CompileScheduler {
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl CompileScheduler {
    /// Returns an empty scheduler for a machine with `cores` cores.
    fn new(cores: usize) -> Self {
        Self { machine: Arc::new(Semaphore::new(parallel_compiles(cores))), companies: Mutex::default() }
    }

    /// Waits for permission to compile an upload of `company`. Without `patient` it fails at once if the queue is full.
    ///
    /// # Errors
    /// [`CompileError::CompanyLimit`] or [`CompileError::Busy`], with the number of uploads that are queued.
    pub(super) async fn acquire(&self, company: &str, patient: bool) -> Result<CompilePermit<'_>, CompileError> {
        let (place, permit) = self.enqueue(company, patient)?;
        let closed = |_| CompileError::Busy("the service is shutting down".to_owned());
        // The company's own permit first: an upload that waits for it must not hold one of the machine's few.
        let company = permit.acquire_owned().await.map_err(closed)?;
        let machine = self.machine.clone().acquire_owned().await.map_err(closed)?;
        Ok(CompilePermit { _place: place, _company: company, _machine: machine })
    }

    fn enqueue(&self, name: &str, patient: bool) -> Result<(QueuePlace<'_>, Arc<Semaphore>), CompileError> {
        let mut companies = self.lock();
        let total: usize = companies.values().map(|company| company.queued).sum();
        let own = companies.get(name).map_or(0, |company| company.queued);
        if !patient && own >= MAX_PER_COMPANY {
            let detail = format!(
                "{own} uploads of this company are being compiled or wait for it, which is the limit; nothing was \
                 stored, try again once one has finished"
            );
            return Err(CompanyLimit::in_progress("uploads", detail).into());
        }
        if !patient && total >= MAX_TOTAL {
            let detail = format!(
                "{total} uploads of all companies are being compiled or wait for it; nothing was stored, try again later"
            );
            return Err(CompileError::Busy(detail));
        }
        let new = || CompanyCompiles { permit: Arc::new(Semaphore::new(1)), queued: 0 };
        let company = companies.entry(name.to_owned()).or_insert_with(new);
        company.queued += 1;
        Ok((QueuePlace { scheduler: self, company: name.to_owned() }, company.permit.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, CompanyCompiles>> {
        self.companies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        let mut companies = self.scheduler.lock();
        if let Some(company) = companies.get_mut(&self.company) {
            company.queued = company.queued.saturating_sub(1);
            if company.queued == 0 {
                companies.remove(&self.company);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// A scheduler that lets `parallel` compilations run at once.
    fn scheduler(parallel: usize) -> CompileScheduler {
        CompileScheduler::new(parallel + 1)
    }

    #[test]
    fn one_core_is_left_to_deliveries_and_at_most_four_are_used() {
        let parallel = [0, 1, 2, 3, 4, 5, 6, 64].map(parallel_compiles);
        assert_eq!(parallel, [1, 1, 1, 2, 3, 4, 4, 4]);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(CompileScheduler::default().machine.available_permits(), parallel_compiles(cores));
    }

    #[tokio::test]
    async fn one_upload_of_each_company_compiles_at_a_time() {
        let scheduler = scheduler(2);
        let first = scheduler.acquire("a", false).await.unwrap();
        let mut second = Box::pin(scheduler.acquire("a", false));
        assert!(second.as_mut().now_or_never().is_none());
        let other = scheduler.acquire("b", false).now_or_never().unwrap().unwrap();
        assert!(scheduler.acquire("c", false).now_or_never().is_none(), "two run already");
        drop(first);
        assert!(second.now_or_never().is_some());
        drop(other);
        assert!(scheduler.lock().is_empty(), "a company without uploads is forgotten");
    }

    #[tokio::test]
    async fn an_upload_that_waits_for_its_company_holds_no_permit_of_the_machine() {
        let scheduler = scheduler(2);
        let _first = scheduler.acquire("a", false).await.unwrap();
        let mut second = Box::pin(scheduler.acquire("a", false));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(scheduler.machine.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_company_stays_on_record_until_its_last_upload_is_done() {
        let scheduler = scheduler(2);
        let first = scheduler.acquire("a", false).await.unwrap();
        let mut second = Box::pin(scheduler.acquire("a", false));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(scheduler.lock().get("a").map(|company| company.queued), Some(1));
        let second = second.now_or_never().unwrap().unwrap();
        assert!(scheduler.acquire("a", false).now_or_never().is_none(), "the second one compiles");
        drop(second);
        assert!(scheduler.acquire("a", false).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_per_company_and_in_total() {
        let scheduler = scheduler(1);
        let first = scheduler.acquire("a", false).await.unwrap();
        let mut waiting: Vec<_> = (1..MAX_PER_COMPANY).map(|_| Box::pin(scheduler.acquire("a", false))).collect();
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let refused = scheduler.acquire("a", false).await.err().unwrap();
        assert!(matches!(&refused, CompileError::CompanyLimit(limit) if limit.name == "uploads"), "{refused}");
        assert!(refused.to_string().contains("4 uploads of this company"), "{refused}");
        assert!(scheduler.acquire("b", false).now_or_never().is_none(), "another company may wait");
        assert!(scheduler.acquire("a", true).now_or_never().is_none(), "a patient caller may wait too");
        let names: Vec<_> = (MAX_PER_COMPANY..MAX_TOTAL).map(|number| format!("t{number}")).collect();
        let mut others: Vec<_> = names.iter().map(|name| Box::pin(scheduler.acquire(name, false))).collect();
        for wait in &mut others {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let refused = scheduler.acquire("z", false).await.err().unwrap();
        assert!(matches!(&refused, CompileError::Busy(text) if text.contains("32 uploads")), "{refused}");
        assert!(scheduler.acquire("z", true).now_or_never().is_none(), "a patient caller may wait here too");
        drop((first, waiting, others));
        assert!(scheduler.lock().is_empty());
    }
}
