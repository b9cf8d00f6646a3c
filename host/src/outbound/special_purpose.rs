//! The special-purpose addresses, which are not public: the IANA special-purpose address registries (RFC 6890 and its
//! updates).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The IPv4 ranges. The more specific ones come first: the first match names the class.
const V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "an unspecified (this network) address"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "a carrier-grade NAT address"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(169, 254, 0, 0, 16), "a link-local address"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "an address for IETF protocols"),
    (v4(192, 0, 2, 0, 24), "a documentation address"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay address"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "a benchmarking address"),
    (v4(198, 51, 100, 0, 24), "a documentation address"),
    (v4(203, 0, 113, 0, 24), "a documentation address"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(255, 255, 255, 255, 32), "the broadcast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// The IPv6 ranges, as [`V4`]. An address outside these and outside [`GLOBAL_UNICAST`] is not public either.
const V6: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "the unspecified address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "a deprecated IPv4-compatible address"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "a local NAT64 address"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "a discard-only address"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "an address for IETF protocols (Teredo, ORCHID)"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "a documentation address"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "a documentation address"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a unique local (private) address"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

/// The range from which IANA allocates public addresses (RFC 4291 §2.4).
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// The well-known NAT64 prefix (RFC 6052 §2.1): DNS64 in a network without IPv4 synthesises such addresses for a name
/// that has IPv4 addresses only.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// 6to4 (RFC 3056 §2).
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), len)
}

/// Returns the class of a non-public address, with its article, and `None` for a public one.
/// An IPv4-mapped address counts as the IPv4 address, a 6to4 or NAT64 one as its embedded IPv4 address; an ISATAP one
/// is public only if both its prefix and its embedded IPv4 address are.
pub(super) fn class_of(ip: IpAddr) -> Option<Cow<'static, str>> {
    let way_to = |inner| class_v4(inner).map(|class| Cow::Owned(format!("a way to {inner}, {class}")));
    match ip.to_canonical() {
        IpAddr::V4(ip) => class_v4(ip).map(Cow::Borrowed),
        IpAddr::V6(ip) => {
            let prefix = match embedded(ip) {
                Some(inner) => way_to(inner),
                None => class_v6(ip).map(Cow::Borrowed),
            };
            prefix.or_else(|| isatap(ip).and_then(way_to))
        }
    }
}

fn class_v4(ip: Ipv4Addr) -> Option<&'static str> {
    V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, class)| *class)
}

fn class_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let named = V6.iter().find(|(net, _)| net.contains(&ip)).map(|(_, class)| *class);
    named.or_else(|| (!GLOBAL_UNICAST.contains(&ip)).then_some("an address outside the public range 2000::/3"))
}

/// Returns the IPv4 address to which a NAT64 translator or a 6to4 tunnel forwards packets for `ip`.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, a, b, c, d, .., w, x, y, z] = ip.octets();
    if NAT64.contains(&ip) {
        Some(Ipv4Addr::new(w, x, y, z))
    } else if SIX_TO_FOUR.contains(&ip) {
        Some(Ipv4Addr::new(a, b, c, d))
    } else {
        None
    }
}

/// Returns the IPv4 address to which an ISATAP router forwards packets for `ip` (RFC 5214 §6.1): it is part of the
/// interface identifier.
fn isatap(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, 0 | 0x200, 0x5efe, high, low] = ip.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(ip: &str) -> Option<String> {
        super::class_of(ip.parse().unwrap()).map(Cow::into_owned)
    }

    #[test]
    fn each_range_is_special_purpose_from_its_first_to_its_last_address() {
        let ranges = [
            ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
            ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
            ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
            ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
            ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
            ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
            ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
            ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
            ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
            ("223.255.255.255", "224.0.0.0", "255.255.255.255", "1.0.0.0"),
            ("2600::1", "fc00::", "fdff:ffff::", "2a00::1"),
            ("2001:db7::1", "2001:db8::", "2001:db8:ffff::", "2001:db9::"),
            ("2001:200::", "2001::", "2001:1ff:ffff::", "2001:4860:4860::8888"),
            ("3ffe::1", "3fff::", "3fff:fff:ffff::", "3fff:1000::"),
        ];
        for (before, first, last, after) in ranges {
            assert_eq!((class_of(before), class_of(after)), (None, None), "{first}");
            assert!(class_of(first).is_some() && class_of(last).is_some(), "{first}");
        }
    }

    #[test]
    fn every_ipv6_address_outside_2000_3_is_special_purpose() {
        for ip in ["::", "::1", "::7f00:1", "::8.8.8.8", "64:ff9b:1::808:808", "100::1", "100:0:0:1::1", "1fff::1"] {
            assert!(class_of(ip).is_some(), "{ip}");
        }
        for ip in ["4000::1", "5f00::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1", "::ffff:0:8.8.8.8"] {
            assert!(class_of(ip).is_some(), "{ip}");
        }
    }

    #[test]
    fn an_embedded_ipv4_address_decides() {
        assert_eq!(class_of("::ffff:127.0.0.1").as_deref(), Some("a loopback address"));
        assert_eq!(class_of("64:ff9b::10.0.0.1").as_deref(), Some("a way to 10.0.0.1, a private address"));
        assert_eq!(class_of("2002:7f00:1::").as_deref(), Some("a way to 127.0.0.1, a loopback address"));
        assert_eq!(class_of("2a00::5efe:10.0.0.1").as_deref(), Some("a way to 10.0.0.1, a private address"));
        assert_eq!(class_of("2a00::200:5efe:10.0.0.1").as_deref(), Some("a way to 10.0.0.1, a private address"));
        assert_eq!(class_of("2002:808:808::5efe:127.0.0.1").as_deref(), Some("a way to 127.0.0.1, a loopback address"));
        for public in
            ["2a00::5efe:8.8.8.8", "2a00::1:5efe:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
        {
            assert_eq!(class_of(public), None, "{public}");
        }
    }
}
