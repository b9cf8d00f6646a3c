//! Which addresses may be reached.
//!
//! By default only public ones: the special-purpose ranges of the IANA registries (RFC 6890 and its updates) are
//! refused, and so is every address that carries such a one inside (IPv4-mapped, NAT64, 6to4). A name is judged by what
//! it resolves to, when subscribed and again whenever it is dialled: the address that is dialled is the address that was
//! checked.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Longest target URL, in bytes.
const MAX_URL: usize = 2048;
/// How long a name may take to resolve when it is subscribed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a name resolves to.
pub(super) type Lookup = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>>;
/// Resolves a name.
pub(super) type Resolver = Arc<dyn Fn(String) -> Lookup + Send + Sync>;

/// How a target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// A checked target URL.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) url: Url,
    pub(super) scheme: Scheme,
    /// The address, where the URL names one: no resolver is asked about it when it is dialled.
    pub(super) literal: Option<IpAddr>,
}

/// Decides which addresses may be reached.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    allow_http: bool,
    resolver: Resolver,
}

impl Guard {
    /// Allows public addresses over https, and `allowed` ones over either; with `allow_http`, http to public ones too.
    pub fn new(allowed: Vec<IpNet>, allow_http: bool) -> Self {
        Self::with_resolver(allowed, allow_http, Arc::new(|name| Box::pin(system_lookup(name))))
    }

    /// The same, with another resolver than the system's.
    pub(super) fn with_resolver(allowed: Vec<IpNet>, allow_http: bool, resolver: Resolver) -> Self {
        Self { allowed: allowed.into(), allow_http, resolver }
    }

    /// Whether `address` may be reached by `scheme`.
    ///
    /// # Errors
    /// Names the address and says what it is.
    pub fn verdict(&self, scheme: Scheme, address: IpAddr) -> Result<(), String> {
        let address = plain(address);
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        if let Some(kind) = special(address) {
            return Err(format!(
                "the address {address} may not be reached: it is {kind}; the operator can allow it with --allow-target"
            ));
        }
        if scheme == Scheme::Http && !self.allow_http {
            return Err(format!(
                "the address {address} may not be reached by http://, which anyone on the way can read; use https://, \
                 or the operator can allow it with --allow-http or --allow-target"
            ));
        }
        Ok(())
    }

    /// Reads a target URL: absolute, http or https, without user name, password or fragment. An address in it is
    /// judged at once, in whatever spelling (decimal, octal, hex, mapped).
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse_target(&self, text: &str) -> Result<Target, String> {
        if text.len() > MAX_URL {
            return Err(format!("a target URL is at most {MAX_URL} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("this is not an absolute http or https URL: {error}"))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(format!("the scheme is http or https, not `{}`", other.escape_debug())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a target URL holds no user name or password; use the webhook's `headers`".into());
        }
        if url.fragment().is_some() {
            return Err("a target URL has no #fragment: it would not be sent".into());
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            // `127.0.0.1.` is a name to the URL standard and an address to resolvers.
            Some(Host::Domain(name)) => name.trim_end_matches('.').parse().ok(),
            None => return Err("a target URL names a host".into()),
        };
        literal.map_or(Ok(()), |address| self.verdict(scheme, address))?;
        Ok(Target { url, scheme, literal })
    }

    /// Resolves the target's name and judges what it finds. A name that does not resolve (yet) passes: it is judged
    /// when it is dialled.
    ///
    /// # Errors
    /// It resolves, and none of its addresses may be reached: names the first.
    pub async fn check_resolved(&self, target: &Target) -> Result<(), String> {
        let (None, Some(name)) = (target.literal, target.url.host_str()) else {
            return Ok(());
        };
        match tokio::time::timeout(PATIENCE, (self.resolver)(name.to_owned())).await {
            Ok(Ok(found)) if !found.is_empty() => self.keep(target.scheme, &found).map(drop),
            _ => Ok(()),
        }
    }

    /// Those of `found` that may be reached, at least one.
    fn keep(&self, scheme: Scheme, found: &[IpAddr]) -> Result<Vec<IpAddr>, String> {
        let (mut kept, mut refused) = (Vec::new(), None);
        for address in found {
            match self.verdict(scheme, *address) {
                Ok(()) => kept.push(*address),
                Err(reason) => {
                    refused.get_or_insert(reason);
                }
            }
        }
        match refused {
            Some(reason) if kept.is_empty() => Err(reason),
            _ => Ok(kept),
        }
    }

    /// The resolver of the client that speaks `scheme`.
    pub(super) fn resolver(&self, scheme: Scheme) -> Guarded {
        Guarded { guard: self.clone(), scheme }
    }
}

/// Resolves for one client and lets only addresses through that may be reached.
pub(super) struct Guarded {
    guard: Guard,
    scheme: Scheme,
}

/// No address of a name may be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Forbidden(String);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, scheme) = (self.guard.clone(), self.scheme);
        Box::pin(async move {
            let found = (guard.resolver)(name.as_str().to_owned()).await?;
            let kept = guard.keep(scheme, &found).map_err(Forbidden)?;
            // The port is the URL's; 0 leaves it so.
            Ok(Box::new(kept.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

async fn system_lookup(name: String) -> std::io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

/// An IPv4 address in IPv6 clothing (RFC 4291 §2.5.5.2) is that IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// What an address is, where it is not a public one.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("of \"this network\" (RFC 791)"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address (RFC 1918)"),
        [100, 64..=127, ..] => Some("a shared address (RFC 6598)"),
        [169, 254, ..] => Some("a link-local address"),
        [192, 0, 0, _] => Some("reserved for protocols (RFC 6890)"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("reserved for documentation (RFC 5737)"),
        [192, 88, 99, _] => Some("a 6to4 relay (RFC 7526)"),
        [198, 18..=19, ..] => Some("reserved for benchmarks (RFC 2544)"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("reserved (RFC 1112)"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        special_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        // NAT64 (RFC 6052, RFC 8215) and 6to4 (RFC 3056) lead to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Some("of a local NAT64 (RFC 8215)"),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0..=0x1ff, ..] => Some("reserved for protocols (RFC 2928)"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("reserved for documentation (RFC 3849, RFC 9637)"),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some("a unique local address (RFC 4193)"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        _ => Some("not a global unicast address (RFC 4291)"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strict() -> Guard {
        Guard::new(Vec::new(), false)
    }

    fn spellings(address: Ipv4Addr) -> Vec<String> {
        let number = u32::from(address);
        let [a, b, c, d] = address.octets();
        let mapped = address.to_ipv6_mapped();
        vec![
            address.to_string(),
            format!("{address}."),
            number.to_string(),
            format!("{number:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a}.{}", number & 0xff_ffff),
            format!("{a:#X}.{b}.{}", number & 0xffff),
            format!("[{mapped}]"),
            format!("[64:ff9b::{address}]"),
            format!("[2002:{:x}:{:x}::1]", number >> 16, number & 0xffff),
            address.to_string().replace('.', "\u{3002}"),
        ]
    }

    fn forbidden_v4() -> impl Strategy<Value = Ipv4Addr> {
        const NETWORKS: [&str; 15] = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ];
        (prop::sample::select(&NETWORKS[..]), any::<u32>()).prop_map(|(network, random)| {
            let network: ipnet::Ipv4Net = network.parse().unwrap();
            Ipv4Addr::from(u32::from(network.network()) | (random & u32::from(network.hostmask())))
        })
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_special_address_passes(address in forbidden_v4(), https: bool) {
            let scheme = if https { "https" } else { "http" };
            for host in spellings(address) {
                let url = format!("{scheme}://{host}/");
                prop_assert!(strict().parse_target(&url).is_err(), "{url}");
            }
        }

        #[test]
        fn every_other_ipv4_address_passes_over_https_alone(number: u32) {
            let address = Ipv4Addr::from(number);
            prop_assume!(special_v4(address).is_none());
            let https = strict().parse_target(&format!("https://{address}/"));
            prop_assert!(https.is_ok());
            let http = format!("http://{address}/");
            prop_assert!(strict().parse_target(&http).is_err());
            prop_assert!(Guard::new(Vec::new(), true).parse_target(&http).is_ok());
        }

        #[test]
        fn only_global_unicast_ipv6_passes(number: u128) {
            let address = Ipv6Addr::from(number);
            let global = address.segments()[0] & 0xe000 == 0x2000;
            let passes = strict().verdict(Scheme::Https, address.into()).is_ok();
            prop_assert!(!passes || global || plain(address.into()).is_ipv4() || address.segments()[0] == 0x64);
        }

        #[test]
        fn an_allowed_network_allows_what_lies_in_it_and_nothing_else(network: u32, length in 0u8..=32, other: u32) {
            let network = ipnet::Ipv4Net::new(network.into(), length).unwrap();
            let guard = Guard::new(vec![network.into()], false);
            let address = Ipv4Addr::from(other);
            for scheme in [Scheme::Http, Scheme::Https] {
                let expected = network.contains(&address) || strict().verdict(scheme, address.into()).is_ok();
                prop_assert_eq!(guard.verdict(scheme, address.into()).is_ok(), expected);
                let mapped = IpAddr::V6(address.to_ipv6_mapped());
                prop_assert_eq!(guard.verdict(scheme, mapped).is_ok(), expected);
            }
        }
    }

    #[test]
    fn urls_that_are_no_targets() {
        for url in [
            "",
            "/",
            "example.com",
            "https://",
            "ftp://example.com/",
            "file:///etc/passwd",
            "javascript:1",
            "https://user@example.com/",
            "https://:pass@example.com/",
            "https://example.com/#part",
            &format!("https://example.com/{}", "x".repeat(3000)),
        ] {
            assert!(strict().parse_target(url).is_err(), "{url}");
        }
        for url in [
            "https://example.com",
            "https://EXAMPLE.com:8443/a?b=c",
            "http://bücher.example./x",
            "HTTPS://example.com./",
        ] {
            assert!(strict().parse_target(url).is_ok(), "{url}");
        }
    }

    fn fake(answer: &'static [&'static str]) -> Guard {
        let allowed = vec!["192.0.2.7/32".parse().unwrap()];
        let found: Vec<IpAddr> = answer.iter().map(|text| text.parse().unwrap()).collect();
        Guard::with_resolver(
            allowed,
            false,
            Arc::new(move |_| {
                let found = found.clone();
                Box::pin(async move {
                    if found.is_empty() { Err(std::io::Error::other("no such name")) } else { Ok(found) }
                })
            }),
        )
    }

    #[tokio::test]
    async fn names_are_judged_by_what_they_resolve_to() {
        for (answer, fine) in [
            (&["10.0.0.1"][..], false),
            (&["::1", "127.0.0.1"], false),
            (&["93.184.216.34"], true),
            (&["10.0.0.1", "93.184.216.34"], true),
            (&["192.0.2.7"], true),
            (&[], true),
        ] {
            let guard = fake(answer);
            let target = guard.parse_target("https://name.example/").unwrap();
            assert_eq!(guard.check_resolved(&target).await.is_ok(), fine, "{answer:?}");
        }
        let guard = fake(&["93.184.216.34"]);
        let clear = guard.parse_target("http://name.example/").unwrap();
        assert!(guard.check_resolved(&clear).await.unwrap_err().contains("--allow-http"));
    }

    #[tokio::test]
    async fn only_addresses_that_were_checked_are_dialled() {
        let guard = fake(&["10.0.0.1", "93.184.216.34", "::ffff:10.0.0.2"]);
        let name: Name = "name.example".parse().unwrap();
        let dialled: Vec<_> =
            guard.resolver(Scheme::Https).resolve(name).await.unwrap().map(|address| address.ip()).collect();
        assert_eq!(dialled, ["93.184.216.34".parse::<IpAddr>().unwrap()]);
    }
}
