//! Schedules compilations: a few at once on this machine, one at a time for each company, in a bounded queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::CompileError;
use crate::domain::company_limit::CompanyLimit;
use crate::shares::{Part, Resource, Share};

/// Uploads of one company that are being compiled or wait for it; each holds its bytes in memory.
const MAX_PER_COMPANY: usize = 4;

/// Bytes of an upload that need not wait for a large one: a plugin in Rust, C or QuickJS has less, and compiles in seconds.
const SMALL_BYTES: usize = 2 << 20;

/// The queue of compilations.
pub(super) struct CompileScheduler {
    /// Uploads of all companies that are being compiled or wait for it.
    share: Arc<Share>,
    machine: Arc<Semaphore>,
    /// One compilation more, for small uploads.
    small: Arc<Semaphore>,
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
    _part: Part,
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

impl CompileScheduler {
    /// Returns an empty scheduler for this machine, whose uploads take parts of `share`.
    pub(super) fn new(share: Arc<Share>) -> Self {
        Self::with_cores(share, std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn with_cores(share: Arc<Share>, cores: usize) -> Self {
        let machine = Arc::new(Semaphore::new(parallel_compiles(cores)));
        Self { share, machine, small: Arc::new(Semaphore::new(1)), companies: Mutex::default() }
    }

    /// Waits for permission to compile an upload of `company` with so many bytes. Without `patient` it fails at once if the
    /// company has its share of the queue.
    ///
    /// # Errors
    /// [`CompileError::CompanyLimit`].
    pub(super) async fn acquire(
        &self,
        company: &str,
        bytes: usize,
        patient: bool,
    ) -> Result<CompilePermit<'_>, CompileError> {
        let (place, permit) = self.enqueue(company, patient)?;
        let part = match patient {
            true => self.share.take_patiently(company, 1).await,
            false => self.share.try_take(company, 1),
        };
        let part = part.map_err(CompanyLimit::from)?;
        let closed = |_: AcquireError| CompileError::Host("the service is shutting down".to_owned());
        // The company's own permit first: an upload that waits for it must not hold one of the machine's few.
        let company = permit.acquire_owned().await.map_err(closed)?;
        let machine = tokio::select! {
            biased;
            permit = self.machine.clone().acquire_owned() => permit,
            permit = self.small.clone().acquire_owned(), if bytes <= SMALL_BYTES => permit,
        };
        Ok(CompilePermit { _place: place, _part: part, _company: company, _machine: machine.map_err(closed)? })
    }

    fn enqueue(&self, name: &str, patient: bool) -> Result<(QueuePlace<'_>, Arc<Semaphore>), CompileError> {
        let mut companies = self.lock();
        let own = companies.get(name).map_or(0, |company| company.queued);
        if !patient && own >= MAX_PER_COMPANY {
            let detail = format!(
                "{own} uploads of this company are being compiled or wait for it, which is the limit; nothing was \
                 stored, try again once one has finished"
            );
            return Err(CompanyLimit::in_progress(Resource::Compilations.info().name, detail).into());
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

    const LARGE: usize = SMALL_BYTES + 1;

    /// A scheduler that lets `parallel` compilations run at once.
    fn scheduler(parallel: usize) -> CompileScheduler {
        CompileScheduler::with_cores(Arc::new(Share::unregistered(Resource::Compilations, 32)), parallel + 1)
    }

    #[test]
    fn one_core_is_left_to_deliveries_and_at_most_four_are_used() {
        let parallel = [0, 1, 2, 3, 4, 5, 6, 64].map(parallel_compiles);
        assert_eq!(parallel, [1, 1, 1, 2, 3, 4, 4, 4]);
    }

    #[tokio::test]
    async fn one_upload_of_each_company_compiles_at_a_time() {
        let scheduler = scheduler(2);
        let first = scheduler.acquire("a", LARGE, false).await.unwrap();
        let mut second = Box::pin(scheduler.acquire("a", LARGE, false));
        assert!(second.as_mut().now_or_never().is_none());
        let other = scheduler.acquire("b", LARGE, false).now_or_never().unwrap().unwrap();
        assert!(scheduler.acquire("c", LARGE, false).now_or_never().is_none(), "two run already");
        drop(first);
        assert!(second.now_or_never().is_some());
        drop(other);
        assert!(scheduler.lock().is_empty(), "a company without uploads is forgotten");
    }

    #[tokio::test]
    async fn an_upload_that_waits_for_its_company_holds_no_permit_of_the_machine() {
        let scheduler = scheduler(2);
        let _first = scheduler.acquire("a", LARGE, false).await.unwrap();
        let mut second = Box::pin(scheduler.acquire("a", LARGE, false));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(scheduler.machine.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_company_stays_on_record_until_its_last_upload_is_done() {
        let scheduler = scheduler(2);
        let first = scheduler.acquire("a", LARGE, false).await.unwrap();
        let mut second = Box::pin(scheduler.acquire("a", LARGE, false));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(scheduler.lock().get("a").map(|company| company.queued), Some(1));
        let second = second.now_or_never().unwrap().unwrap();
        assert!(scheduler.acquire("a", LARGE, false).now_or_never().is_none(), "the second one compiles");
        drop(second);
        assert!(scheduler.acquire("a", LARGE, false).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_per_company_and_in_total() {
        let scheduler = scheduler(1);
        let first = scheduler.acquire("a", LARGE, false).await.unwrap();
        let mut waiting: Vec<_> =
            (1..MAX_PER_COMPANY).map(|_| Box::pin(scheduler.acquire("a", LARGE, false))).collect();
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let refused = scheduler.acquire("a", LARGE, false).await.err().unwrap();
        assert!(matches!(&refused, CompileError::CompanyLimit(limit) if limit.name == "uploads"), "{refused}");
        assert!(refused.to_string().contains("4 uploads of this company"), "{refused}");
        assert!(scheduler.acquire("b", LARGE, false).now_or_never().is_none(), "another company may wait");
        assert!(scheduler.acquire("a", LARGE, true).now_or_never().is_none(), "a patient caller may wait too");
        let names: Vec<_> = (0..32).map(|number| format!("t{number}")).collect();
        let mut others: Vec<_> = names.iter().map(|name| Box::pin(scheduler.acquire(name, LARGE, false))).collect();
        // Others have one each, until all places are taken.
        let refused = others.iter_mut().filter_map(|wait| wait.as_mut().now_or_never()).count();
        assert_eq!((refused, scheduler.share.usage("z")), (4, (0, 0)));
        let refused = scheduler.acquire("z", LARGE, false).await.err().unwrap();
        assert!(matches!(&refused, CompileError::CompanyLimit(limit) if limit.name == "uploads"), "{refused}");
        assert!(scheduler.acquire("z", LARGE, true).now_or_never().is_none(), "a patient caller may wait here too");
        drop((first, waiting, others));
        assert!(scheduler.lock().is_empty());
    }

    #[tokio::test]
    async fn small_upload_waits_for_no_large_one_of_another_company() {
        let scheduler = scheduler(1);
        let large = scheduler.acquire("a", LARGE, false).await.unwrap();
        let mut waits = Box::pin(scheduler.acquire("b", LARGE, false));
        assert!(waits.as_mut().now_or_never().is_none());
        let small =
            scheduler.acquire("c", SMALL_BYTES, false).now_or_never().expect("it has a place of its own").unwrap();
        let mut second = Box::pin(scheduler.acquire("d", SMALL_BYTES, false));
        assert!(second.as_mut().now_or_never().is_none(), "one more");
        drop(small);
        let second = second.now_or_never().expect("it overtakes the large one").unwrap();
        drop(large);
        let _runs = waits.now_or_never().unwrap().unwrap();
        drop(second);
        let _small = scheduler.acquire("a", 0, false).now_or_never().unwrap().unwrap();
        assert!(scheduler.acquire("a", 0, false).now_or_never().is_none(), "one for each company");
    }
}
