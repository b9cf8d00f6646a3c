//! The guard refuses every spelling of every forbidden address, accepts every public one, and applies allow lists to
//! the bit.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

mod oracle;

const HTTP: Transport = Transport { scheme: Scheme::Http, port: 80 };
const HTTPS: Transport = Transport { scheme: Scheme::Https, port: 443 };

/// The forbidden IPv4 ranges, repeated here independently of the code: first address, prefix length.
const FORBIDDEN: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn strict() -> Guard {
    Guard::new(Vec::new(), false)
}

fn allowing(nets: &[&str]) -> Guard {
    Guard::new(nets.iter().map(|net| net.parse().unwrap()).collect(), false)
}

fn host_mask(len: u8) -> u32 {
    u32::MAX.checked_shr(len.into()).unwrap_or(0)
}

fn is_forbidden(ip: Ipv4Addr) -> bool {
    FORBIDDEN.iter().any(|(net, len)| ip.to_bits() & !host_mask(*len) == u32::from_be_bytes(*net))
}

fn forbidden_v4() -> impl Strategy<Value = Ipv4Addr> {
    (proptest::sample::select(&FORBIDDEN[..]), any::<u32>())
        .prop_map(|((net, len), bits)| Ipv4Addr::from_bits(u32::from_be_bytes(net) | (bits & host_mask(len))))
}

fn public_v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits).prop_filter("public", |ip| !is_forbidden(*ip))
}

fn spellings(ip: Ipv4Addr) -> Vec<String> {
    let ([a, b, c, d], bits) = (ip.octets(), ip.to_bits());
    let [hi, lo] = [bits >> 16, bits & 0xffff];
    vec![
        ip.to_string(),
        format!("{ip}."),
        bits.to_string(),
        format!("0x{bits:x}"),
        format!("0X{bits:08X}"),
        format!("0{bits:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("{a}.0x{b:x}.{}", bits & 0xffff),
        format!("{a}.{}", bits & 0xff_ffff),
        format!("[::ffff:{ip}]"),
        format!("[::ffff:{hi:x}:{lo:x}]"),
        format!("[64:ff9b::{ip}]"),
        format!("[2002:{hi:x}:{lo:x}::1]"),
    ]
}

/// Local NAT64 and IPv4-compatible addresses: refused for every embedded IPv4 address.
fn never_public(ip: Ipv4Addr) -> [String; 2] {
    [format!("[64:ff9b:1::{ip}]"), format!("[::{ip}]")]
}

proptest! {
    #[test]
    fn a_forbidden_address_is_refused_in_any_spelling(ip in forbidden_v4(), allow_http: bool) {
        let guard = Guard::new(Vec::new(), allow_http);
        for host in spellings(ip).into_iter().chain(never_public(ip)) {
            for scheme in ["https", "http"] {
                let error = guard.parse_target(&format!("{scheme}://{host}/hook")).unwrap_err();
                prop_assert!(error.contains(" is ") && error.contains("--allow-target"), "{host}: {error}");
            }
        }
    }

    #[test]
    fn a_public_address_allows_https_and_http_only_with_the_flag(ip in public_v4()) {
        let loose = Guard::new(Vec::new(), true);
        for host in spellings(ip) {
            let (https, http) = (format!("https://{host}/"), format!("http://{host}/"));
            prop_assert!(strict().parse_target(&https).is_ok(), "{https}");
            prop_assert!(strict().parse_target(&http).is_err(), "{http}");
            prop_assert!(loose.parse_target(&http).is_ok(), "{http}");
        }
        for host in never_public(ip) {
            prop_assert!(loose.parse_target(&format!("https://{host}/")).is_err(), "{host}");
        }
    }

    #[test]
    fn an_allow_list_allows_exactly_its_range(net: u32, len in 0_u8..=32, probe: u32, near in any::<bool>()) {
        // A random address is rarely inside a small range: in half of the cases only its host bits are random.
        let probe = if near { (net & !host_mask(len)) | (probe & host_mask(len)) } else { probe };
        let probe = Ipv4Addr::from_bits(probe);
        let net = Ipv4Net::new(Ipv4Addr::from_bits(net), len).unwrap();
        let guard = Guard::new(vec![net.into()], false);
        let inside = (probe.to_bits() ^ net.addr().to_bits()) & !host_mask(len) == 0;
        for ip in [IpAddr::V4(probe), IpAddr::V6(probe.to_ipv6_mapped())] {
            prop_assert_eq!(guard.check_address(HTTP, ip).is_ok(), inside);
            prop_assert_eq!(guard.check_address(HTTPS, ip).is_ok(), inside || !is_forbidden(probe));
        }
    }

    #[test]
    fn no_url_makes_the_parser_panic(text in "(https?://)?\\PC{0,60}") {
        let _ = strict().parse_target(&text);
    }
}

#[test]
fn a_refusal_names_the_address_its_class_and_the_flag() {
    let refusal = |url: &str| strict().parse_target(url).unwrap_err();
    assert_eq!(
        refusal("https://127.1/"),
        "127.0.0.1 is a loopback address; the operator can allow it with --allow-target 127.0.0.1/32"
    );
    assert_eq!(
        refusal("https://[fd00::1]/"),
        "fd00::1 is a unique local (private) address; the operator can allow it with --allow-target fd00::1/128"
    );
    assert!(refusal("http://8.8.8.8/").contains("--allow-http or --allow-target 8.8.8.8/32"));
    assert!(refusal("http://hook.test/").contains("requires https://"));
}

#[test]
fn http_to_a_name_is_checked_later_if_some_address_is_allowed() {
    assert!(allowing(&["10.0.0.0/8"]).parse_target("http://hook.test/").is_ok());
    assert!(Guard::new(Vec::new(), true).parse_target("http://hook.test/").is_ok());
}

#[test]
fn an_allowed_network_of_mapped_addresses_is_the_ipv4_network() {
    let guard = allowing(&["::ffff:10.0.0.0/104", "fd00::/8"]);
    for (ip, fine) in [("10.1.2.3", true), ("11.0.0.1", false), ("::ffff:10.0.0.1", true), ("fd12::1", true)] {
        assert_eq!(guard.check_address(HTTP, ip.parse().unwrap()).is_ok(), fine, "{ip}");
    }
    let everything = allowing(&["::/0"]);
    assert!(everything.check_address(HTTP, Ipv6Addr::LOCALHOST.into()).is_ok());
    assert!(everything.check_address(HTTP, Ipv4Addr::LOCALHOST.into()).is_err());
}

/// The result of a lookup.
async fn lookup(found: Option<Vec<IpAddr>>) -> io::Result<Vec<IpAddr>> {
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[tokio::test]
async fn a_name_is_refused_if_none_of_its_addresses_may_be_reached() {
    let [inside, public] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([8, 8, 8, 8])];
    let target = strict().parse_target("https://hook.test/").unwrap();
    for (found, fine) in [
        (None, true),
        (Some(vec![]), true),
        (Some(vec![public]), true),
        (Some(vec![inside, public]), true),
        (Some(vec![inside]), false),
    ] {
        let checked = strict().check_resolved(&target, lookup(found.clone())).await;
        assert_eq!(checked.is_ok(), fine, "{found:?}");
    }
    let error = strict().check_resolved(&target, lookup(Some(vec![inside]))).await.unwrap_err();
    assert!(
        error.starts_with("the address 10.0.0.1 of hook.test may not be reached: 10.0.0.1 is a private"),
        "{error}"
    );
    let allowed = allowing(&["10.0.0.1/32"]);
    assert_eq!(allowed.check_resolved(&target, lookup(Some(vec![inside]))).await, Ok(()));
}

#[test]
fn localhost_is_loopback_without_a_lookup() {
    for host in ["localhost", "localhost.", "LOCALHOST", "a.localhost", "a.b.localhost."] {
        let url = format!("https://{host}:8443/");
        let error = strict().parse_target(&url).unwrap_err();
        assert!(error.contains("127.0.0.1 is a loopback address"), "{error}");
        for allowed in ["127.0.0.1/32", "::1/128"] {
            assert!(allowing(&[allowed]).parse_target(&url).is_ok(), "{host} {allowed}");
        }
    }
    assert!(strict().parse_target("https://notlocalhost/").is_ok());
}
