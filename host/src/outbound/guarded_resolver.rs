//! The resolver of the guarded clients: it applies the guard to every resolved address, so that the client dials only
//! addresses that the guard has checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::dial::{self, DialPhase};
use super::guard::Guard;
use super::resolve::Resolver;
use super::target::{Scheme, Transport};

/// The resolver of a client: returns only the addresses that the guard allows for the client's scheme.
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) scheme: Scheme,
}

impl reqwest::dns::Resolve for GuardedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let lookup = self.resolver.resolve(name.as_str());
        // The clients resolve only inside a request. Outside, the port would be 0, which the guard treats most strictly.
        let transport = Transport { scheme: self.scheme, port: dial::port().unwrap_or_default() };
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            dial::mark(DialPhase::Resolving);
            let ips = guard.retain_allowed(transport, name.as_str(), lookup.await?)?;
            dial::mark(DialPhase::Connecting);
            if ips.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses").into());
            }
            // Port 0 makes reqwest use the URL's port.
            let addrs: reqwest::dns::Addrs = Box::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addrs)
        })
    }
}
