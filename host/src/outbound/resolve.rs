//! Names to addresses, by way of the guard.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::dial::{self, Phase};
use super::guard::Guard;
use super::target::{Scheme, Way};

/// Most lookups at once. Each holds a thread, for as long as the system's resolver pleases, also after its attempt
/// has given up; unbounded, names that never answer would take all of the runtime's blocking threads.
const MAX_LOOKUPS: usize = 128;

/// A lookup under way.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds a name's addresses.
pub trait Resolver: Send + Sync {
    /// All addresses of `name`, the preferred first.
    fn resolve(&self, name: &str) -> Resolving;
}

/// The system's own resolver (getaddrinfo).
#[derive(Debug, Clone)]
pub struct SystemResolver {
    slots: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str) -> Resolving {
        let (slots, name) = (Arc::clone(&self.slots), name.to_owned());
        Box::pin(async move {
            let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(slot);
                found
            });
            let mut ips: Vec<IpAddr> = lookup.await.map_err(io::Error::other)??.map(|addr| addr.ip()).collect();
            ips.dedup();
            Ok(ips)
        })
    }
}

/// What a client resolves with: lets through only the addresses that its scheme may reach.
pub(super) struct Guarded {
    pub(super) guard: Arc<Guard>,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) scheme: Scheme,
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let lookup = self.resolver.resolve(name.as_str());
        // No client resolves outside of a request; if one did, it would reach no more than the least trusted port may.
        let way = Way { scheme: self.scheme, port: dial::port().unwrap_or_default() };
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            dial::mark(Phase::Resolving);
            let ips = guard.keep(way, name.as_str(), lookup.await?)?;
            dial::mark(Phase::Connecting);
            if ips.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses").into());
            }
            // Port 0 stands for the URL's.
            let addrs: reqwest::dns::Addrs = Box::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let ips = SystemResolver::default().resolve("localhost").await.unwrap();
        assert!(!ips.is_empty() && ips.iter().all(IpAddr::is_loopback), "{ips:?}");
    }
}
