//! Who tries many wrong credentials is slowed down. Only failures count: a valid credential is let in before this is
//! asked, so that nobody can lock out others that come from the same address.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

/// Failures that an address may have at once.
const BURST: i64 = 20;
/// After which time it may have one more, in milliseconds.
const ONE_MORE_MS: i64 = 1000;
/// Addresses that are remembered: the ones that failed last.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// The address that a request came from; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Counts failures by address, each a bucket of [`BURST`] that fills with time.
pub(crate) struct Failures(Mutex<LruCache<IpAddr, Bucket>>);

struct Bucket {
    /// What failures have taken out and time has not yet put back, in milliseconds of filling.
    missing_ms: i64,
    at: i64,
}

impl Default for Failures {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(ADDRESSES)))
    }
}

impl Failures {
    /// Counts a failure at `now`, in milliseconds since 1970; false when there were too many. An unknown peer is one
    /// peer.
    pub(super) fn may_fail(&self, peer: Option<&Peer>, now: i64) -> bool {
        let address = block(peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0));
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_or_insert_mut(address, || Bucket { missing_ms: 0, at: now });
        let passed = now.saturating_sub(bucket.at).max(0);
        bucket.missing_ms = bucket.missing_ms.saturating_sub(passed).max(0);
        bucket.at = now;
        let may = bucket.missing_ms <= (BURST - 1) * ONE_MORE_MS;
        if may {
            bucket.missing_ms += ONE_MORE_MS;
        }
        may
    }
}

/// Who has one IPv6 address has its /64. An IPv4 address may come in the guise of an IPv6 one (RFC 4291 §2.5.5.2).
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn failures(failures: &Failures, address: &str, now: i64, tries: usize) -> usize {
        let peer = Peer(address.parse().unwrap());
        (0..tries).filter(|_| failures.may_fail(Some(&peer), now)).count()
    }

    #[test]
    fn twenty_at_once_then_one_a_second() {
        let all = Failures::default();
        assert_eq!(failures(&all, "192.0.2.1", NOW, 100), 20);
        assert_eq!(failures(&all, "192.0.2.1", NOW + 999, 100), 0);
        assert_eq!(failures(&all, "192.0.2.1", NOW + 1000, 100), 1);
        assert_eq!(failures(&all, "192.0.2.1", NOW + 6000, 100), 5);
        assert_eq!(failures(&all, "192.0.2.1", NOW + 3_600_000, 100), 20);
        assert_eq!(failures(&all, "192.0.2.1", 0, 100), 0, "a clock that was set back");
        assert_eq!(failures(&all, "192.0.2.1", 3000, 100), 3);
        assert_eq!(failures(&all, "192.0.2.2", NOW, 100), 20);
    }

    #[test]
    fn an_address_counts_with_those_that_its_owner_has_too() {
        let all = Failures::default();
        assert_eq!(failures(&all, "2001:db8:0:1::1", NOW, 15), 15);
        assert_eq!(failures(&all, "2001:db8:0:1:ffff::2", NOW, 15), 5);
        assert_eq!(failures(&all, "2001:db8:0:2::1", NOW, 15), 15);
        assert_eq!(failures(&all, "192.0.2.1", NOW, 15), 15);
        assert_eq!(failures(&all, "::ffff:192.0.2.1", NOW, 15), 5);
        assert_eq!(failures(&all, "::ffff:192.0.2.2", NOW, 15), 15);
    }
}
