//! Which addresses may be reached, so that a subscriber's URL cannot make the host speak to its own network (SSRF).
//!
//! A name is judged twice: when it is subscribed, for a readable refusal, and whenever a connection is made, by the
//! resolver that the connection itself uses, so that the address dialled is the address judged (no DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::resolve::Resolver;
use super::target::{Scheme, Target, Way};
use super::{port, special};

/// Longest that subscribing waits for DNS.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A name none of whose addresses may be reached. Typed, so that it can be told from a failed lookup in an error chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address {ip} of {name} may not be reached: {why}")]
pub struct Refused {
    name: String,
    ip: IpAddr,
    why: String,
}

/// The rules of one service.
#[derive(Debug, Clone)]
pub struct Guard {
    allow_target: Vec<IpNet>,
    allow_http: bool,
}

impl Guard {
    /// Public addresses by https, and whatever lies in `allow_target` by http too.
    /// `allow_http` adds http to public addresses.
    pub fn new(allow_target: Vec<IpNet>, allow_http: bool) -> Self {
        Self { allow_target: allow_target.into_iter().map(canonical).collect(), allow_http }
    }

    /// Whether `ip` may be reached. An IPv4-mapped IPv6 address is the IPv4 address. Public addresses are not called on
    /// the ports of other protocols, the "bad ports" of the WHATWG Fetch standard.
    ///
    /// # Errors
    /// Names the address, its class and the flag that would allow it.
    pub fn verdict(&self, Way { scheme, port }: Way, ip: IpAddr) -> Result<(), String> {
        let ip = ip.to_canonical();
        if self.allow_target.iter().any(|net| net.contains(&ip)) {
            return Ok(());
        }
        let net = IpNet::from(ip);
        match special::class(ip) {
            Some(class) => Err(format!("{ip} is {class}; the operator can allow it with --allow-target {net}")),
            None if scheme == Scheme::Http && !self.allow_http => Err(format!(
                "{ip} is a public address, which takes https://; \
                 the operator can allow http:// with --allow-http or --allow-target {net}"
            )),
            None if port::is_bad(port) => Err(format!("{ip} is a public address, and {}{net}", bad_port(port))),
            None => Ok(()),
        }
    }

    /// Reads a target's URL: absolute, http or https, with a host, without user name and password, at most
    /// [`super::MAX_URL_BYTES`] bytes; a fragment is dropped. An address, in whatever spelling, is judged at once,
    /// and so is `localhost`.
    ///
    /// # Errors
    /// The rule that the URL breaks, or why the address may not be reached.
    pub fn parse_target(&self, url: &str) -> Result<Target, String> {
        let target = Target::parse(url)?;
        self.check_literal(&target)?;
        if is_localhost(target.host()) {
            let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            self.keep(target.way(), target.host(), vec![v4, v6]).map_err(|refused| refused.to_string())?;
        }
        // No address that the name could have would pass.
        let Way { scheme, port } = target.way();
        if self.allow_target.is_empty() && scheme == Scheme::Http && !self.allow_http {
            return Err("a public target takes https://; the operator can allow http:// with --allow-http, \
                        or for some addresses with --allow-target"
                .into());
        }
        if self.allow_target.is_empty() && port::is_bad(port) {
            return Err(bad_port(port) + "its address");
        }
        Ok(target)
    }

    /// For the time of subscribing: refuses a name that resolves only to addresses that may not be reached.
    /// One that does not resolve, or not within two seconds, is accepted: it is judged when connecting.
    ///
    /// # Errors
    /// Names the first address and why it may not be reached.
    pub async fn check_resolved(&self, target: &Target, resolver: &dyn Resolver) -> Result<(), String> {
        if target.literal().is_some() {
            return self.check_literal(target);
        }
        match tokio::time::timeout(LOOKUP_TIMEOUT, resolver.resolve(target.host())).await {
            Ok(Ok(ips)) => self.keep(target.way(), target.host(), ips).map(drop).map_err(|refused| refused.to_string()),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Judges a target whose host is an address: such a one never comes by a resolver.
    pub(super) fn check_literal(&self, target: &Target) -> Result<(), String> {
        target.literal().map_or(Ok(()), |ip| self.verdict(target.way(), ip))
    }

    /// Those of a name's addresses that may be reached, in their order; an error when there were some and none may.
    pub(super) fn keep(&self, way: Way, name: &str, mut ips: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
        let mut refused = None;
        ips.retain(|ip| match self.verdict(way, *ip) {
            Ok(()) => true,
            Err(why) => {
                refused.get_or_insert_with(|| Refused { name: name.to_owned(), ip: *ip, why });
                false
            }
        });
        match refused {
            Some(refused) if ips.is_empty() => Err(refused),
            _ => Ok(ips),
        }
    }
}

/// The refusal of a port, but for what the operator would have to allow.
fn bad_port(port: u16) -> String {
    format!("port {port} is another protocol's, not HTTP's; the operator can allow it with --allow-target ")
}

/// Names that stand for loopback whatever DNS says (RFC 6761 §6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost")
}

/// A range of IPv4-mapped addresses as the IPv4 range that it means.
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
