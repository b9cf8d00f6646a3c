//! Resolves names to addresses.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;

/// A lookup in progress. It ends when nothing of it holds a thread or a socket any more.
pub type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Resolves names to addresses.
pub trait Resolver: Send + Sync {
    /// Returns all addresses of `name`, the preferred first.
    fn resolve(&self, name: &str) -> ResolveFuture;
}

/// The system's own resolver (getaddrinfo). Each lookup occupies a thread until it ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str) -> ResolveFuture {
        let name = name.to_owned();
        Box::pin(async move {
            let lookup = tokio::task::spawn_blocking(move || (name.as_str(), 0).to_socket_addrs());
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
        let ips = SystemResolver.resolve("localhost").await.unwrap();
        assert!(!ips.is_empty() && ips.iter().all(IpAddr::is_loopback), "{ips:?}");
    }
}
