//! Which webhooks this node delivers, and whether it may deliver at all, where several nodes serve one database.
//!
//! A webhook that is ordered, has a pace or has few slots has one owner among the nodes, so that its limits hold over all
//! of them: only the node that has its *seat* holds anything of it in memory and sends it. What other nodes accept for it
//! they park. The slots of every other webhook are divided among the nodes.
//!
//! A node that the others may take for dead is *fenced*: it begins no attempts.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

/// How a lane's webhook is shared among the nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// How many nodes there are; `None`: never more than this one.
    pub(super) nodes: Option<u32>,
    /// Whether this node has the seat.
    pub(super) seat: bool,
}

impl Share {
    /// Whether there may be other nodes.
    pub(super) fn is_shared(self) -> bool {
        self.nodes.is_some()
    }

    /// This node's part of a webhook's slots.
    pub(super) fn part(self, slots: u32) -> u32 {
        self.nodes.map_or(slots, |nodes| (slots / nodes.max(1)).max(1))
    }
}

/// What this node knows of itself among the others. By default there are none, ever.
#[derive(Debug, Default)]
pub(super) struct Seats {
    pub(super) nodes: Option<u32>,
    /// The webhooks whose seat it has: kept apart from their lanes, which are forgotten when nothing waits in them.
    pub(super) ours: HashSet<Arc<str>>,
    /// Counts how often it has lost all of them.
    pub(super) term: u64,
    /// From then on it begins no attempts.
    pub(super) fence: Option<Instant>,
}

impl Seats {
    pub(super) fn share(&self, webhook: &str) -> Share {
        Share { nodes: self.nodes, seat: self.ours.contains(webhook) }
    }

    pub(super) fn term(&self) -> u64 {
        self.term
    }

    pub(super) fn is_fenced(&self, now: Instant) -> bool {
        self.fence.is_some_and(|fence| now >= fence)
    }
}
