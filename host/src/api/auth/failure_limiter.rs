//! Rate-limits failed authentication per client address. Only failures count: a valid credential is accepted before the
//! limiter is asked, so that nobody can lock out others that share an address.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

/// Failures that an address may have at once.
const BURST: i64 = 20;
/// The time after which an address may have one more failure, in milliseconds.
const REFILL_MS: i64 = 1000;
/// The most addresses that are remembered; the one whose last failure is the oldest is forgotten first.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// The client's address; the server adds it to the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

impl PeerAddress {
    /// Returns the address under which a client is counted. The owner of one IPv6 address has its whole /64. An IPv4
    /// address may arrive mapped to an IPv6 one (RFC 4291 §2.5.5.2).
    pub(crate) fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            v4 => v4,
        }
    }
}

/// Whether an address is still within its limit after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum FailureLimit {
    Within,
    Exceeded,
}

/// Limits failures by address, with a token bucket of [`BURST`] failures for each.
pub(crate) struct AuthFailureLimiter(Mutex<LruCache<IpAddr, FailureBucket>>);

struct FailureBucket {
    /// The refill time that the failures so far have used up, in milliseconds; 0 is a full bucket.
    deficit_ms: i64,
    /// When the deficit was computed, milliseconds since 1970.
    updated_ms: i64,
}

impl FailureBucket {
    fn full(now_ms: i64) -> Self {
        Self { deficit_ms: 0, updated_ms: now_ms }
    }

    fn take(&mut self, now_ms: i64) -> FailureLimit {
        // A clock that was set back refills nothing.
        let elapsed = now_ms.saturating_sub(self.updated_ms).max(0);
        self.deficit_ms = self.deficit_ms.saturating_sub(elapsed).max(0);
        self.updated_ms = now_ms;
        if self.deficit_ms > (BURST - 1) * REFILL_MS {
            return FailureLimit::Exceeded;
        }
        self.deficit_ms += REFILL_MS;
        FailureLimit::Within
    }
}

impl Default for AuthFailureLimiter {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_ADDRESSES)))
    }
}

impl AuthFailureLimiter {
    /// Counts a failure at `now_ms`, in milliseconds since 1970. All requests without a known peer count as one
    /// address.
    pub(super) fn record_failure(&self, peer: Option<&PeerAddress>, now_ms: i64) -> FailureLimit {
        let address = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.network());
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get_or_insert_mut(address, || FailureBucket::full(now_ms)).take(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    /// Counts how many of so many failures are within the limit.
    fn within(limiter: &AuthFailureLimiter, address: &str, now_ms: i64, failures: usize) -> usize {
        let peer = PeerAddress(address.parse().unwrap());
        let is_within = |_: &usize| limiter.record_failure(Some(&peer), now_ms) == FailureLimit::Within;
        (0..failures).filter(is_within).count()
    }

    #[test]
    fn twenty_failures_at_once_then_one_a_second() {
        let limiter = AuthFailureLimiter::default();
        assert_eq!(within(&limiter, "192.0.2.1", NOW, 100), 20);
        assert_eq!(within(&limiter, "192.0.2.1", NOW + 999, 100), 0);
        assert_eq!(within(&limiter, "192.0.2.1", NOW + 1000, 100), 1);
        assert_eq!(within(&limiter, "192.0.2.1", NOW + 6000, 100), 5);
        assert_eq!(within(&limiter, "192.0.2.1", NOW + 3_600_000, 100), 20);
        assert_eq!(within(&limiter, "192.0.2.1", 0, 100), 0, "a clock that was set back");
        assert_eq!(within(&limiter, "192.0.2.1", 3000, 100), 3);
        assert_eq!(within(&limiter, "192.0.2.2", NOW, 100), 20);
    }

    #[test]
    fn an_address_counts_with_the_rest_of_its_network() {
        let limiter = AuthFailureLimiter::default();
        assert_eq!(within(&limiter, "2001:db8:0:1::1", NOW, 15), 15);
        assert_eq!(within(&limiter, "2001:db8:0:1:ffff::2", NOW, 15), 5);
        assert_eq!(within(&limiter, "2001:db8:0:2::1", NOW, 15), 15);
        assert_eq!(within(&limiter, "192.0.2.1", NOW, 15), 15);
        assert_eq!(within(&limiter, "::ffff:192.0.2.1", NOW, 15), 5);
        assert_eq!(within(&limiter, "::ffff:192.0.2.2", NOW, 15), 15);
    }

    #[test]
    fn requests_without_a_peer_share_one_bucket() {
        let limiter = AuthFailureLimiter::default();
        let is_within = |_: &usize| limiter.record_failure(None, NOW) == FailureLimit::Within;
        assert_eq!((0..100).filter(is_within).count(), 20);
        assert_eq!(within(&limiter, "192.0.2.1", NOW, 100), 20);
    }

    #[test]
    fn the_address_that_failed_longest_ago_is_forgotten_first() {
        let limiter = AuthFailureLimiter::default();
        assert_eq!(within(&limiter, "192.0.2.1", NOW, 20), 20);
        for number in 1..MAX_ADDRESSES.get() {
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            assert_eq!(within(&limiter, &format!("10.0.{high}.{low}"), NOW, 1), 1);
        }
        assert_eq!(within(&limiter, "192.0.2.1", NOW, 1), 0, "it is remembered, and now the latest");
        assert_eq!(within(&limiter, "198.51.100.1", NOW, 20), 20, "it takes the place of 10.0.0.1");
        assert_eq!(within(&limiter, "192.0.2.1", NOW, 1), 0);
        assert_eq!(within(&limiter, "10.0.0.1", NOW, 100), 20);
    }
}
