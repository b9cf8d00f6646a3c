//! Decides which addresses may be reached, so that a subscriber's URL cannot make the host send requests into its own
//! network (server-side request forgery, SSRF).
//!
//! A name is checked twice: when a webhook is subscribed, for a readable refusal, and for each new connection, in the
//! resolver of that connection, so that the dialled address is the checked address (no DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::target::{Scheme, Target, Transport};
use super::{bad_ports, special_purpose};

/// Bounds the DNS lookup of a new subscription.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A name of which no address may be reached. A type of its own, so that an error chain distinguishes it from a failed
/// lookup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address {ip} of {name} may not be reached: {why}")]
pub struct RefusedAddress {
    name: String,
    ip: IpAddr,
    why: String,
}

/// The address rules of one service.
#[derive(Debug, Clone)]
pub struct Guard {
    allow_target: Vec<IpNet>,
    allow_http: bool,
}

impl Guard {
    /// Allows https to public addresses, and https and http to every address in `allow_target`.
    /// `allow_http` also allows http to public addresses.
    pub fn new(allow_target: Vec<IpNet>, allow_http: bool) -> Self {
        Self { allow_target: allow_target.into_iter().map(canonical).collect(), allow_http }
    }

    /// Checks whether `ip` may be reached. An IPv4-mapped IPv6 address counts as the IPv4 address. The ports of other
    /// protocols, the "bad ports" of the WHATWG Fetch standard, are refused for public addresses.
    ///
    /// # Errors
    /// The text names the address, its class and the flag that would allow it.
    pub fn check_address(&self, Transport { scheme, port }: Transport, ip: IpAddr) -> Result<(), String> {
        let ip = ip.to_canonical();
        if self.allow_target.iter().any(|net| net.contains(&ip)) {
            return Ok(());
        }
        let net = IpNet::from(ip);
        match special_purpose::class_of(ip) {
            Some(class) => Err(format!("{ip} is {class}; the operator can allow it with --allow-target {net}")),
            None if scheme == Scheme::Http && !self.allow_http => Err(format!(
                "{ip} is a public address, which requires https://; \
                 the operator can allow http:// with --allow-http or --allow-target {net}"
            )),
            None if bad_ports::is_bad_port(port) => {
                Err(format!("{ip} is a public address, and {}{net}", bad_port(port)))
            }
            None => Ok(()),
        }
    }

    /// Parses a target URL: absolute, http or https, with a host, without user name and password, at most
    /// [`super::MAX_URL_BYTES`] bytes; a fragment is dropped. An IP literal, in any spelling, is checked at once, and so
    /// is `localhost`.
    ///
    /// # Errors
    /// The text names the rule that the URL breaks, or why the address may not be reached.
    pub fn parse_target(&self, url: &str) -> Result<Target, String> {
        let target = Target::parse(url)?;
        self.check_literal(&target)?;
        if is_localhost(target.host()) {
            let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            self.retain_allowed(target.transport(), target.host(), vec![v4, v6])
                .map_err(|refused| refused.to_string())?;
        }
        // The following URLs are refused for every address to which the name could resolve.
        let Transport { scheme, port } = target.transport();
        if self.allow_target.is_empty() && scheme == Scheme::Http && !self.allow_http {
            return Err("a public target requires https://; the operator can allow http:// with --allow-http, \
                        or for some addresses with --allow-target"
                .into());
        }
        if self.allow_target.is_empty() && bad_ports::is_bad_port(port) {
            return Err(format!("{}its address", bad_port(port)));
        }
        Ok(target)
    }

    /// Checks the addresses of a new subscription's host, which `lookup` finds: refuses a name that resolves only to addresses
    /// that may not be reached. A name that does not resolve within two seconds is accepted: it is checked again when
    /// connecting.
    ///
    /// # Errors
    /// The text names the first address and why it may not be reached.
    pub(super) async fn check_resolved<E>(
        &self,
        target: &Target,
        lookup: impl Future<Output = Result<Vec<IpAddr>, E>>,
    ) -> Result<(), String> {
        if target.literal().is_some() {
            return self.check_literal(target);
        }
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(ips)) => self
                .retain_allowed(target.transport(), target.host(), ips)
                .map(drop)
                .map_err(|refused| refused.to_string()),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Checks a target whose host is an IP literal: the resolver, where names are checked, never sees it.
    pub(super) fn check_literal(&self, target: &Target) -> Result<(), String> {
        target.literal().map_or(Ok(()), |ip| self.check_address(target.transport(), ip))
    }

    /// Returns the addresses of a name that may be reached, in their order.
    ///
    /// # Errors
    /// The name has addresses, and none of them may be reached.
    pub(super) fn retain_allowed(
        &self,
        transport: Transport,
        name: &str,
        mut ips: Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, RefusedAddress> {
        let mut refused = None;
        ips.retain(|ip| match self.check_address(transport, *ip) {
            Ok(()) => true,
            Err(why) => {
                refused.get_or_insert_with(|| RefusedAddress { name: name.to_owned(), ip: *ip, why });
                false
            }
        });
        match refused {
            Some(refused) if ips.is_empty() => Err(refused),
            _ => Ok(ips),
        }
    }
}

/// Returns the refusal of a bad port; the caller appends the network that the operator would have to allow.
fn bad_port(port: u16) -> String {
    format!("port {port} is another protocol's, not HTTP's; the operator can allow it with --allow-target ")
}

/// Returns whether the name means loopback, whatever DNS answers (RFC 6761 §6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost")
}

/// Converts a network of IPv4-mapped IPv6 addresses to the IPv4 network.
fn canonical(net: IpNet) -> IpNet {
    let (IpAddr::V4(ip), Some(len)) = (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) else {
        return net;
    };
    match net {
        IpNet::V6(_) => Ipv4Net::new(ip, len).map_or(net, IpNet::V4),
        IpNet::V4(_) => net,
    }
}

#[cfg(test)]
mod tests;
