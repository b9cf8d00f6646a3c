//! The order of an ordered webhook: which delivery waits for its retry, so that no later one passes it.
//!
//! Only the database has all of them, so an ordered queue sends nothing before it has asked the database. Attempts continue
//! while it is asked: the answer does not contain a delivery that fails meanwhile, and is void if the blocking delivery ends
//! meanwhile.

/// The database's answer to an ordered queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::delivery) enum OrderAnswer {
    /// The fetch did not find out.
    #[default]
    NotAsked,
    /// No delivery waits for its retry.
    Open,
    /// This delivery is the first that waits for its retry.
    BlockedBy(String),
}

/// The state of a webhook's order. Identifiers of deliveries ascend in the order of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeliveryOrder {
    /// The webhook is not ordered.
    Off,
    /// The database has to be asked. `retrying` has failed since, and waits for its retry.
    Unknown { retrying: Option<String> },
    /// The database is being asked. `retrying` as above.
    Asking { retrying: Option<String> },
    /// No delivery waits for its retry.
    Open,
    /// The same, and the database is asked again, since a fetch is under way.
    OpenAsking,
    /// `by` waits for its retry.
    Blocked { by: String },
    /// The same, and the database was asked before `by` failed.
    BlockedAsking { by: String },
}

impl DeliveryOrder {
    /// Returns the initial state.
    pub(super) fn new(ordered: bool) -> Self {
        if ordered { Self::Unknown { retrying: None } } else { Self::Off }
    }

    /// Records the webhook's setting. Returns whether its queue becomes ordered by it.
    #[must_use]
    pub(super) fn set_ordered(&mut self, ordered: bool) -> bool {
        let begins = ordered && !self.is_on();
        if ordered != self.is_on() {
            *self = Self::new(ordered);
        }
        begins
    }

    /// Forgets the order, because it may no longer hold. An answer under way is void.
    pub(super) fn invalidate(&mut self) {
        *self = Self::new(self.is_on());
    }

    /// Records that the database is being asked.
    pub(super) fn ask(&mut self) {
        *self = match std::mem::replace(self, Self::Off) {
            Self::Unknown { retrying } => Self::Asking { retrying },
            Self::Open => Self::OpenAsking,
            Self::Blocked { by } => Self::BlockedAsking { by },
            asking @ (Self::Off | Self::Asking { .. } | Self::OpenAsking | Self::BlockedAsking { .. }) => asking,
        };
    }

    /// Records the answer of the database. It changes nothing if it became void meanwhile.
    pub(super) fn answer(&mut self, answer: OrderAnswer) {
        // A delivery that failed since the database was asked is known here alone.
        let blocked_by = |known: Option<String>, answer: Option<String>| match (known, answer) {
            (Some(known), Some(answer)) => Self::Blocked { by: known.min(answer) },
            (Some(by), None) | (None, Some(by)) => Self::Blocked { by },
            (None, None) => Self::Open,
        };
        *self = match (std::mem::replace(self, Self::Off), answer) {
            (Self::Asking { retrying }, OrderAnswer::NotAsked) => Self::Unknown { retrying },
            (Self::OpenAsking, OrderAnswer::NotAsked) => Self::Open,
            (Self::BlockedAsking { by }, OrderAnswer::NotAsked) => Self::Blocked { by },
            (Self::Asking { retrying }, OrderAnswer::Open) => blocked_by(retrying, None),
            (Self::Asking { retrying }, OrderAnswer::BlockedBy(id)) => blocked_by(retrying, Some(id)),
            (Self::OpenAsking, OrderAnswer::Open) => Self::Open,
            (Self::OpenAsking, OrderAnswer::BlockedBy(by)) => Self::Blocked { by },
            (Self::BlockedAsking { by }, OrderAnswer::Open) => Self::Blocked { by },
            (Self::BlockedAsking { by }, OrderAnswer::BlockedBy(id)) => blocked_by(Some(by), Some(id)),
            (unasked @ (Self::Off | Self::Unknown { .. } | Self::Open | Self::Blocked { .. }), _) => unasked,
        };
    }

    /// Records that an attempt has ended; `will_retry`: its delivery waits for a retry. Returns whether the database has
    /// to be asked again, since the delivery that blocked the queue is done.
    #[must_use]
    pub(super) fn attempt_ended(&mut self, delivery_id: &str, will_retry: bool) -> bool {
        if !will_retry {
            let unblocks = self.waits_for() == Some(delivery_id);
            if unblocks {
                self.invalidate();
            }
            return unblocks;
        }
        let by = || delivery_id.to_owned();
        match self {
            Self::Off => (),
            Self::Unknown { retrying } | Self::Asking { retrying } => *retrying = Some(by()),
            Self::Open | Self::Blocked { .. } => *self = Self::Blocked { by: by() },
            Self::OpenAsking | Self::BlockedAsking { .. } => *self = Self::BlockedAsking { by: by() },
        }
        false
    }

    /// Returns whether the webhook is ordered.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Returns whether the database has to answer before anything is sent.
    pub(super) fn has_to_ask(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Asking { .. })
    }

    /// Returns whether no delivery is known to wait for its retry. While one does, no further delivery is taken into
    /// memory: it would only wait there.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Off | Self::Open | Self::OpenAsking)
    }

    /// Returns the delivery that is known to wait for its retry.
    pub(super) fn waits_for(&self) -> Option<&str> {
        match self {
            Self::Off | Self::Open | Self::OpenAsking => None,
            Self::Unknown { retrying } | Self::Asking { retrying } => retrying.as_deref(),
            Self::Blocked { by } | Self::BlockedAsking { by } => Some(by),
        }
    }

    /// Returns whether this delivery may be sent, if it is the first that is queued.
    pub(super) fn lets_pass(&self, delivery_id: &str) -> bool {
        match self {
            Self::Off | Self::Open | Self::OpenAsking => true,
            Self::Unknown { .. } | Self::Asking { .. } => false,
            Self::Blocked { by } | Self::BlockedAsking { by } => delivery_id <= by.as_str(),
        }
    }
}
