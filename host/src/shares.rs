//! The resources that all companies share, the bound of each, and the share of it that one of them may hold.
//!
//! A leaf module: other rooms take [`Part`]s and give them back. A resource is listed in [`Resource`] once, and everything
//! else follows from there: its share, its metrics, its line in `GET /limits` and in docs/operations.md. Attempts and thread
//! time of the sandbox are shared in the same way, by schedulers that also decide whose turn it is (`delivery/queue/rounds.rs`,
//! `sandbox/call_scheduler.rs`).

mod share;

use std::sync::Arc;

use crate::domain::company_limit::{CompanyLimit, LimitUnit};
use crate::metrics::Metrics;
pub use share::{Part, Share};

/// Connections that read the delivery log.
pub const LOG_READS: u32 = 3;
/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// A resource that companies share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Connections of clients to the API, each holder being a client address.
    ClientConnections,
    /// Idle connections to receivers.
    IdleConnections,
    /// Lookups of receivers' names.
    DnsLookups,
    /// Tests of webhooks.
    Pings,
    /// Consumers of pull webhooks that wait for events.
    PullWaits,
    /// Memory of request bodies that are arriving.
    RequestBytes,
    /// Batches that are checked and stored.
    BatchReads,
    /// Memory of answers that are being sent.
    AnswerBytes,
    /// Requests that run plugins or read large rows.
    HeavyCalls,
    /// Requests that read the delivery log.
    LogReads,
    /// Memory of writes that wait for the writer.
    WriterBytes,
    /// Memory of deliveries in the queues.
    QueueBytes,
    /// Memory of large configs of plugins in use, and of large bodies that plugins made and that are being sent.
    TransformBytes,
    /// Memory of webhooks that are kept for the next event.
    WebhookCacheBytes,
    /// Uploads that are compiled or wait for it.
    Compilations,
}

/// The description of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceInfo {
    /// Its name, in metrics, in problems and in `GET /limits`.
    pub name: &'static str,
    /// What is counted, as the end of "its share of".
    pub what: &'static str,
    /// The unit of its total.
    pub unit: LimitUnit,
    /// What happens to a request that finds no room.
    pub beyond: &'static str,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 15] = [
        Self::ClientConnections,
        Self::IdleConnections,
        Self::DnsLookups,
        Self::Pings,
        Self::PullWaits,
        Self::RequestBytes,
        Self::BatchReads,
        Self::AnswerBytes,
        Self::HeavyCalls,
        Self::LogReads,
        Self::WriterBytes,
        Self::QueueBytes,
        Self::TransformBytes,
        Self::WebhookCacheBytes,
        Self::Compilations,
    ];

    /// Returns the resource of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.info().name == name)
    }

    /// Returns whether its total is all that there is: open files, or connections to the database.
    pub fn is_given(self) -> bool {
        match self {
            Self::ClientConnections | Self::IdleConnections | Self::DnsLookups | Self::Pings | Self::LogReads => true,
            Self::PullWaits
            | Self::RequestBytes
            | Self::BatchReads
            | Self::AnswerBytes
            | Self::HeavyCalls
            | Self::WriterBytes
            | Self::QueueBytes
            | Self::TransformBytes
            | Self::WebhookCacheBytes
            | Self::Compilations => false,
        }
    }

    /// Describes the resource.
    pub fn info(self) -> ResourceInfo {
        use LimitUnit::{Bytes, Count};
        let (name, what, unit, beyond) = match self {
            Self::ClientConnections => {
                ("client-connections", "connections to the API, by client address", Count, "the connection is closed")
            }
            Self::IdleConnections => (
                "idle-connections",
                "idle connections to receivers",
                Count,
                "the connection idle for longest is closed",
            ),
            Self::DnsLookups => ("dns-lookups", "lookups of receivers' names", Count, "the attempt waits"),
            Self::Pings => ("pings", "tests of webhooks at once", Count, "the request waits, then 429"),
            Self::PullWaits => ("pull-waits", "consumers that wait for events", Count, "429"),
            Self::RequestBytes => (
                "request-bytes",
                "memory for request bodies that are arriving",
                Bytes,
                "the body waits unread, then 429",
            ),
            Self::BatchReads => ("batches", "batches that are stored at once", Count, "the request waits, then 429"),
            Self::AnswerBytes => (
                "answer-bytes",
                "memory for answers that are being sent",
                Bytes,
                "429; the download of a plugin waits first",
            ),
            Self::HeavyCalls => {
                ("heavy-calls", "calls that run plugins or read much", Count, "the request waits, then 429")
            }
            Self::LogReads => ("log-reads", "reads of the delivery log", Count, "the request waits, then 429"),
            Self::WriterBytes => ("writer-bytes", "memory for writes that wait", Bytes, "the request waits"),
            Self::QueueBytes => {
                ("queue-bytes", "memory for deliveries in queues", Bytes, "the data stay in the database")
            }
            Self::TransformBytes => {
                ("transform-bytes", "memory for large configs and bodies of plugins", Bytes, "the attempt waits")
            }
            Self::WebhookCacheBytes => {
                ("webhook-cache-bytes", "memory for webhooks between events", Bytes, "the webhook is read again")
            }
            Self::Compilations => ("uploads", "uploads that are compiled or wait for it", Count, "429"),
        };
        ResourceInfo { name, what, unit, beyond }
    }
}

/// The totals that depend on the limit on open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareTotals {
    /// Connections of clients.
    pub client_connections: u64,
    /// Idle connections to receivers.
    pub idle_connections: u64,
    /// Lookups of receivers' names.
    pub dns_lookups: u64,
    /// Tests of webhooks.
    pub pings: u64,
}

impl ShareTotals {
    /// Returns the total of a resource, in its unit.
    pub fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::ClientConnections => self.client_connections,
            Resource::IdleConnections => self.idle_connections,
            Resource::DnsLookups => self.dns_lookups,
            Resource::Pings => self.pings,
            Resource::PullWaits => 256,
            Resource::RequestBytes | Resource::AnswerBytes => 128 * MIB,
            Resource::BatchReads => 4,
            Resource::HeavyCalls => 16,
            Resource::LogReads => LOG_READS as u64,
            Resource::WriterBytes => 64 * MIB,
            Resource::QueueBytes | Resource::TransformBytes => 24 * MIB,
            Resource::WebhookCacheBytes => 32 * MIB,
            Resource::Compilations => 32,
        }
    }
}

/// The shares of all resources.
#[derive(Debug)]
pub struct Shares {
    /// In the order of [`Resource::ALL`].
    all: [Arc<Share>; Resource::ALL.len()],
}

impl Shares {
    /// Returns the shares of all resources, all of them free.
    pub fn new(totals: ShareTotals, metrics: &Metrics) -> Self {
        Self::with(|resource| totals.of(resource), metrics)
    }

    /// As [`Shares::new`], with these totals.
    pub fn with(total: impl Fn(Resource) -> u64, metrics: &Metrics) -> Self {
        Self { all: Resource::ALL.map(|resource| Arc::new(Share::new(resource, total(resource), metrics))) }
    }

    /// Returns the share of a resource.
    pub fn of(&self, resource: Resource) -> &Arc<Share> {
        #[expect(
            clippy::indexing_slicing,
            reason = "variants are numbered in the order of `ALL`, which a test compares"
        )]
        &self.all[resource as usize]
    }

    /// Returns every share.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Share>> {
        self.all.iter()
    }
}

/// A resource has no room for a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareExceeded {
    /// The resource.
    pub resource: Resource,
    /// Whether the holder has a part of it, so that it can make room itself.
    pub own: bool,
}

impl std::fmt::Display for ShareExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = self.resource.info().what;
        match self.own {
            true => write!(f, "this company has its share of {what}; try again when some of its requests have ended"),
            false => write!(f, "other companies have all {what} at the moment; try again"),
        }
    }
}

impl std::error::Error for ShareExceeded {}

impl From<ShareExceeded> for CompanyLimit {
    fn from(exceeded: ShareExceeded) -> Self {
        Self::in_progress(exceeded.resource.info().name, exceeded.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_its_own_share_and_name() {
        let metrics = Metrics::new(0, []);
        let shares = Shares::new(
            ShareTotals { client_connections: 10, idle_connections: 10, dns_lookups: 10, pings: 10 },
            &metrics,
        );
        for (index, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(shares.of(resource).resource(), resource);
            assert!(shares.of(resource).total() > 0);
            let name = resource.info().name;
            let twin = Resource::ALL.iter().position(|other| other.info().name == name);
            assert_eq!(twin, Some(index), "{name} names one resource");
        }
    }
}
