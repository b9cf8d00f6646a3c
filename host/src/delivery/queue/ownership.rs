//! Which node serves a webhook, and whether this node may serve at all, if several nodes serve one database.
//!
//! A webhook that is ordered, has a rate limit or has few slots has one owner among the nodes, so that its limits hold
//! over all of them: only the owner holds its deliveries in memory and sends them. Other nodes spill the events that they
//! accept for it. The slots of every other webhook are divided among the nodes.
//!
//! A node that the others may soon take for dead is *fenced*: it begins no attempts, and those in flight end in time.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

/// How this node shares a webhook with other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// There is never more than this node.
    Sole,
    /// Every node serves the webhook, with its part of the slots.
    Shared { nodes: u32 },
    /// The webhook has one owner, and this node is it.
    Owner,
    /// The webhook has one owner, and this node does not know to be it.
    Other,
}

impl Ownership {
    /// Records the number of nodes; `single_owner`: the webhook's settings call for one owner.
    #[must_use]
    pub(super) fn node_count_set(self, nodes: u32, single_owner: bool) -> Self {
        match self {
            Self::Sole if single_owner => Self::Other,
            Self::Sole | Self::Shared { .. } => Self::Shared { nodes },
            Self::Owner | Self::Other => self,
        }
    }

    /// Records whether the webhook's settings call for one owner.
    #[must_use]
    pub(super) fn single_owner_set(self, single_owner: bool, node: NodeShare) -> Self {
        match (self, single_owner) {
            (Self::Sole, _) => Self::Sole,
            (Self::Shared { .. }, true) if node.owns => Self::Owner,
            (Self::Shared { .. }, true) => Self::Other,
            (Self::Owner | Self::Other, true) => self,
            (Self::Shared { .. } | Self::Owner | Self::Other, false) => Self::Shared { nodes: node.count },
        }
    }

    /// Records that the database has made this node the owner.
    #[must_use]
    pub(super) fn granted(self) -> Self {
        match self {
            Self::Other => Self::Owner,
            Self::Sole | Self::Shared { .. } | Self::Owner => self,
        }
    }

    /// Records that another node may be the owner.
    #[must_use]
    pub(super) fn lost(self) -> Self {
        match self {
            Self::Owner => Self::Other,
            Self::Sole | Self::Shared { .. } | Self::Other => self,
        }
    }

    /// Returns whether this node may hold the webhook's deliveries in memory and send them.
    pub(super) fn may_serve(self) -> bool {
        self != Self::Other
    }

    /// Returns whether there may be other nodes.
    pub(super) fn is_among_several(self) -> bool {
        self != Self::Sole
    }

    /// Returns this node's part of a webhook's slots.
    pub(super) fn slots(self, slots: u32) -> u32 {
        match self {
            Self::Shared { nodes } => (slots / nodes.max(1)).max(1),
            Self::Sole | Self::Owner | Self::Other => slots,
        }
    }
}

/// This node's share in one webhook, whatever the webhook's settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeShare {
    /// Nodes that serve the database.
    pub(super) count: u32,
    /// Whether this node owns the webhook, should it have one owner.
    pub(super) owns: bool,
}

/// When a node stops, unless its next heartbeat comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) struct Fence {
    /// From this instant on it begins no attempts.
    pub(in crate::delivery) begins_none_from: Instant,
    /// At this instant its attempts in flight end: from then on the other nodes can declare it dead.
    pub(in crate::delivery) attempts_end_at: Instant,
}

/// This node among the others. By default there is never another node.
#[derive(Debug, Default)]
pub(super) struct NodeOwnership {
    count: Option<u32>,
    /// The webhooks that this node owns: kept apart from their queues, which are removed when nothing waits in them.
    owned: HashSet<Arc<str>>,
    /// Counts how often it has lost all of them.
    term: u64,
    fence: Option<Fence>,
}

impl NodeOwnership {
    /// Returns this node's share in a webhook.
    pub(super) fn share_of(&self, webhook_id: &str) -> NodeShare {
        NodeShare { count: self.count.unwrap_or(1), owns: self.owns(webhook_id) }
    }

    /// Returns the ownership with which a webhook's queue begins.
    pub(super) fn ownership_of(&self, webhook_id: &str, single_owner: bool) -> Ownership {
        match self.count {
            None => Ownership::Sole,
            Some(nodes) => Ownership::Shared { nodes }.single_owner_set(single_owner, self.share_of(webhook_id)),
        }
    }

    /// Returns whether this node owns a webhook, should it have one owner.
    pub(super) fn owns(&self, webhook_id: &str) -> bool {
        self.owned.contains(webhook_id)
    }

    /// Sets the number of nodes. Returns whether it is another one.
    #[must_use]
    pub(super) fn set_count(&mut self, count: u32) -> bool {
        self.count.replace(count) != Some(count)
    }

    /// Notes an ownership that was claimed in `term`. Returns false if this node has lost all of them since.
    #[must_use]
    pub(super) fn grant(&mut self, webhook_id: &Arc<str>, term: u64) -> bool {
        let granted = self.term == term;
        if granted {
            self.owned.insert(webhook_id.clone());
        }
        granted
    }

    /// Forgets the ownership of a webhook.
    pub(super) fn forget(&mut self, webhook_id: &str) {
        self.owned.remove(webhook_id);
    }

    /// Forgets all ownerships, and begins a new term.
    pub(super) fn lose_all(&mut self) {
        self.owned.clear();
        self.term += 1;
    }

    /// Returns the number of times that all ownerships were lost.
    pub(super) fn term(&self) -> u64 {
        self.term
    }

    /// Sets when it stops.
    pub(super) fn set_fence(&mut self, fence: Fence) {
        self.fence = Some(fence);
    }

    /// Returns whether no attempt may begin now.
    pub(super) fn is_fenced(&self, now: Instant) -> bool {
        self.fence.is_some_and(|fence| now >= fence.begins_none_from)
    }

    /// Returns when attempts in flight end at the latest; `None`: there is never another node.
    pub(super) fn attempts_end_at(&self) -> Option<Instant> {
        self.fence.map(|fence| fence.attempts_end_at)
    }
}
