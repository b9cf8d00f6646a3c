//! Resolves names to addresses.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Bounds concurrent lookups. Each occupies a thread until the system's resolver returns, also after its attempt has
/// timed out; unbounded, names whose servers never answer would occupy all blocking threads of the runtime.
const MAX_LOOKUPS: usize = 128;

/// A lookup in progress.
pub type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Resolves names to addresses.
pub trait Resolver: Send + Sync {
    /// Returns all addresses of `name`, the preferred first.
    fn resolve(&self, name: &str) -> ResolveFuture;
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
    fn resolve(&self, name: &str) -> ResolveFuture {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_resolves_localhost_to_loopback() {
        let ips = SystemResolver::default().resolve("localhost").await.unwrap();
        assert!(!ips.is_empty() && ips.iter().all(IpAddr::is_loopback), "{ips:?}");
    }
}
