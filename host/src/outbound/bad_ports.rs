//! The ports of public addresses that the guard blocks: a subscriber's URL must not make the host speak HTTP to a
//! mail server, which could read the body, chosen by the subscriber, as commands.

/// The "bad ports" of the WHATWG Fetch standard, §2.9, in ascending order. Port 0, the first of that list, is refused
/// for every address.
const BAD: [u16; 82] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Returns whether the port belongs to a protocol other than HTTP.
pub(super) fn is_bad_port(port: u16) -> bool {
    port == 0 || BAD.binary_search(&port).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_other_protocols_are_bad_and_web_ports_are_not() {
        assert!(BAD.is_sorted());
        for port in [0, 1, 22, 25, 53, 143, 465, 587, 993, 2049, 5060, 6000, 6667, 10080] {
            assert!(is_bad_port(port), "{port}");
        }
        for port in [80, 443, 3000, 5000, 8000, 8080, 8443, 9000, 50000, 65535] {
            assert!(!is_bad_port(port), "{port}");
        }
    }
}
