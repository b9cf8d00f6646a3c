//! Compares the guard's decision on IPv6 addresses with an independent oracle, and the URL parsers with each other.

use proptest::prelude::*;
use reqwest::Url;

use super::*;

/// Returns whether an IPv6 address is public, by its 16-bit groups: in the global unicast range of RFC 4291 and not a
/// special-purpose address of RFC 6890.
fn is_public(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| !is_forbidden(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    if [a, b, c, d, e, f] == [0, 0, 0, 0, 0, 0xffff] || [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return v4(g, h);
    }
    let isatap = (e == 0 || e == 0x200) && f == 0x5efe;
    let unfit = !(0x2000..=0x3fff).contains(&a)
        || (a == 0x2001 && b < 0x200)
        || (a == 0x2001 && b == 0xdb8)
        || (a == 0x3fff && b < 0x1000)
        || (a == 0x2002 && !v4(b, c))
        || (isatap && !v4(g, h));
    !unfit
}

/// Generates addresses near the boundaries of the rules: uniform ones would nearly all be outside 2000::/3.
fn any_v6() -> impl Strategy<Value = Ipv6Addr> {
    let heads: [&[u16]; 20] = [
        &[],
        &[0, 0, 0, 0, 0, 0xffff],
        &[0, 0, 0, 0, 0xffff, 0],
        &[0, 0, 0, 0, 0, 0],
        &[0x64, 0xff9b, 0, 0, 0, 0],
        &[0x64, 0xff9b, 1],
        &[0x64, 0xff9b],
        &[0x100, 0, 0, 0],
        &[0x2001],
        &[0x2001, 0],
        &[0x2001, 0x1ff],
        &[0x2001, 0x200],
        &[0x2001, 0xdb8],
        &[0x2002],
        &[0x2a00, 1, 2, 3, 0, 0x5efe],
        &[0x2a00, 1, 2, 3, 0x200, 0x5efe],
        &[0x3fff],
        &[0x3fff, 0xfff],
        &[0xfd00],
        &[0xfe80, 0, 0, 0, 0, 0x5efe],
    ];
    let low = prop_oneof![forbidden_v4(), any::<u32>().prop_map(Ipv4Addr::from_bits)];
    (proptest::sample::select(heads.to_vec()), any::<[u16; 8]>(), low, any::<[bool; 2]>()).prop_map(
        |(head, mut groups, low, [with_low, in_6to4])| {
            let low = [(low.to_bits() >> 16) as u16, (low.to_bits() & 0xffff) as u16];
            if with_low {
                groups[6..].copy_from_slice(&low);
            }
            if in_6to4 {
                groups[1..3].copy_from_slice(&low);
            }
            groups[..head.len()].copy_from_slice(head);
            Ipv6Addr::from(groups)
        },
    )
}

/// Returns the textual forms of an IPv6 address.
fn spelt(ip: Ipv6Addr) -> [String; 5] {
    let groups = ip.segments().map(|group| format!("{group:04x}")).join(":");
    let short = ip.segments().map(|group| format!("{group:X}")).join(":");
    let (head, low) = (&groups[..30], ip.to_bits() as u32);
    let dotted = format!("{head}{}", Ipv4Addr::from_bits(low));
    [ip.to_string(), ip.to_string().to_uppercase(), groups.clone(), short, dotted]
}

fn any_url() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-zA-Z0-9.-]{1,20}",
        "[0-9a-fx.]{1,20}",
        "\\[[0-9a-f:.]{2,20}\\]",
        "[\\PC]{1,10}",
        "[a-z%@:\\\\/#?\\[\\].。１ｌ\u{200b}\u{ad}]{1,20}",
    ];
    ("(http|https|HTTP)", host, "(:[0-9]{0,6})?", "(/[\\PC]{0,10})?")
        .prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}{port}{path}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_guard_and_the_oracle_agree_on_any_spelling_of_an_ipv6_address(ip in any_v6()) {
        for host in spelt(ip) {
            let parsed = strict().parse_target(&format!("https://[{host}]/"));
            prop_assert_eq!(parsed.is_ok(), is_public(ip), "{}: {:?}", host, parsed);
        }
        prop_assert_eq!(strict().check_address(HTTPS, ip.into()).is_ok(), is_public(ip));
    }

    #[test]
    fn every_url_parser_finds_the_same_host_and_port(url in any_url()) {
        let Ok(target) = Target::parse(&url) else { return Ok(()) };
        // The stored and displayed text parses to the same target.
        let text = target.to_string();
        prop_assert_eq!(Target::parse(&text), Ok(target.clone()));
        let (dialled, shown): (http::Uri, Url) = (text.parse().unwrap(), text.parse().unwrap());
        prop_assert_eq!((dialled.host(), shown.host_str()), (Some(target.host()), Some(target.host())));
        let default = if target.transport().scheme == Scheme::Https { 443 } else { 80 };
        prop_assert_eq!(dialled.port_u16().unwrap_or(default), target.transport().port);
        prop_assert_eq!(shown.port_or_known_default(), Some(target.transport().port));
        // A host that the system would parse as an address is a literal for the guard too.
        let bare = target.host().trim_start_matches('[').trim_end_matches(']');
        prop_assert_eq!(bare.parse::<IpAddr>().ok(), target.literal());
        prop_assert!(target.literal().is_some() || !bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    }
}
