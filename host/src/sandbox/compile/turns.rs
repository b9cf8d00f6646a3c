//! Whose turn it is to compile: few at once, one for each tenant, and no endless queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Compilations at once. Each may take a core and [`super::child::MEMORY`]; at least one core is left to deliveries.
fn at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1)).clamp(1, 4)
}

/// Uploads of one tenant that compile or wait for it.
const PER_TENANT: usize = 4;

/// Uploads of all tenants that compile or wait for it; each holds its bytes in memory.
const IN_ALL: usize = 32;

/// The queue.
pub(super) struct Turns {
    running: Arc<Semaphore>,
    tenants: Mutex<HashMap<String, Tenant>>,
}

#[derive(Clone)]
struct Tenant {
    running: Arc<Semaphore>,
    /// How many run or wait.
    queued: usize,
}

/// A turn; it ends on drop.
pub(super) struct Turn<'a> {
    _place: Place<'a>,
    _tenant: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

struct Place<'a> {
    turns: &'a Turns,
    tenant: String,
}

impl Default for Turns {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(at_once())), tenants: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn of `tenant`. One that is not `patient` is sent away when too many wait already.
    ///
    /// # Errors
    /// A text that says how many are waiting.
    pub(super) async fn wait(&self, tenant: &str, patient: bool) -> Result<Turn<'_>, String> {
        let (place, own) = self.enter(tenant, patient)?;
        let closed = |_| "the service is shutting down".to_owned();
        // The tenant's own turn first: whoever waits for that must not hold one of the few.
        let tenant = own.acquire_owned().await.map_err(closed)?;
        let running = self.running.clone().acquire_owned().await.map_err(closed)?;
        Ok(Turn { _place: place, _tenant: tenant, _running: running })
    }

    fn enter(&self, name: &str, patient: bool) -> Result<(Place<'_>, Arc<Semaphore>), String> {
        let mut tenants = self.lock();
        let in_all: usize = tenants.values().map(|tenant| tenant.queued).sum();
        let own = tenants.get(name).map_or(0, |tenant| tenant.queued);
        if !patient && own >= PER_TENANT {
            return Err(format!("{own} uploads of this company are being compiled or wait for it; try again later"));
        }
        if !patient && in_all >= IN_ALL {
            return Err(format!("{in_all} uploads are being compiled or wait for it; try again later"));
        }
        let fresh = || Tenant { running: Arc::new(Semaphore::new(1)), queued: 0 };
        let tenant = tenants.entry(name.to_owned()).or_insert_with(fresh);
        tenant.queued += 1;
        Ok((Place { turns: self, tenant: name.to_owned() }, tenant.running.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut tenants = self.turns.lock();
        if let Some(tenant) = tenants.get_mut(&self.tenant) {
            tenant.queued = tenant.queued.saturating_sub(1);
            if tenant.queued == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn turns(at_once: usize) -> Turns {
        Turns { running: Arc::new(Semaphore::new(at_once)), tenants: Mutex::default() }
    }

    #[tokio::test]
    async fn one_tenant_has_one_turn_and_the_others_theirs() {
        let turns = turns(2);
        let first = turns.wait("a", false).await.unwrap();
        let mut second = Box::pin(turns.wait("a", false));
        assert!(second.as_mut().now_or_never().is_none());
        let other = turns.wait("b", false).now_or_never().unwrap().unwrap();
        assert!(turns.wait("c", false).now_or_never().is_none(), "two run already");
        drop(first);
        assert!(second.now_or_never().is_some());
        drop(other);
        assert!(turns.lock().is_empty(), "what nobody waits for is forgotten");
    }

    #[tokio::test]
    async fn a_tenant_cannot_fill_the_queue_and_all_cannot_grow_it() {
        let turns = turns(1);
        let first = turns.wait("a", false).await.unwrap();
        let mut held: Vec<_> = (1..PER_TENANT).map(|_| Box::pin(turns.wait("a", false))).collect();
        for wait in &mut held {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let text = turns.wait("a", false).await.err().unwrap();
        assert!(text.contains("4 uploads of this company"), "{text}");
        assert!(turns.wait("b", false).now_or_never().is_none(), "another tenant may wait");
        assert!(turns.wait("a", true).now_or_never().is_none(), "who is patient may wait too");
        let names: Vec<_> = (PER_TENANT..IN_ALL).map(|number| format!("t{number}")).collect();
        let mut others: Vec<_> = names.iter().map(|name| Box::pin(turns.wait(name, false))).collect();
        for wait in &mut others {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        let text = turns.wait("z", false).await.err().unwrap();
        assert!(text.contains("32 uploads"), "{text}");
        drop((first, held, others));
        assert!(turns.lock().is_empty());
    }
}
