//! The backlog of one queue: which rows may wait in the database, and whether they are being fetched.

/// The part of a backlog that a queue has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum BacklogKind {
    /// Spilled deliveries, the oldest first.
    Unordered,
    /// Spilled deliveries, up to the first that waits for its retry.
    Ordered,
    /// Deliveries that are to be sent again.
    Replay,
}

/// Rows that may lie in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BacklogRows {
    Spilled,
    Replays,
    Both,
}

impl BacklogRows {
    /// Returns these rows together with `others`.
    fn and(self, others: Option<Self>) -> Self {
        match others {
            Some(others) if others != self => Self::Both,
            Some(_) | None => self,
        }
    }

    /// Returns these rows without those of a fetch.
    fn without(self, kind: BacklogKind) -> Option<Self> {
        match (self, kind) {
            (Self::Both, BacklogKind::Replay) => Some(Self::Spilled),
            (Self::Both, BacklogKind::Unordered | BacklogKind::Ordered) => Some(Self::Replays),
            (Self::Spilled, BacklogKind::Replay) => Some(Self::Spilled),
            (Self::Replays, BacklogKind::Unordered | BacklogKind::Ordered) => Some(Self::Replays),
            (Self::Spilled, BacklogKind::Unordered | BacklogKind::Ordered) | (Self::Replays, BacklogKind::Replay) => {
                None
            }
        }
    }
}

impl From<BacklogKind> for BacklogRows {
    fn from(kind: BacklogKind) -> Self {
        match kind {
            BacklogKind::Unordered | BacklogKind::Ordered => Self::Spilled,
            BacklogKind::Replay => Self::Replays,
        }
    }
}

/// The state of a queue's backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// Nothing is known to lie in the database.
    Idle,
    /// These rows may lie there.
    Wanted(BacklogRows),
    /// A fetch is under way; `again`: besides its rows, or since it began, there may be these.
    Fetching { again: Option<BacklogRows> },
}

impl Backlog {
    /// Records that rows of this kind were written.
    pub(super) fn written(&mut self, rows: BacklogRows) {
        *self = match *self {
            Self::Idle => Self::Wanted(rows),
            Self::Wanted(others) => Self::Wanted(rows.and(Some(others))),
            Self::Fetching { again } => Self::Fetching { again: Some(rows.and(again)) },
        };
    }

    /// Records that a fetch of wanted rows begins.
    pub(super) fn fetch_started(&mut self, kind: BacklogKind) {
        if let Self::Wanted(rows) = *self {
            *self = Self::Fetching { again: rows.without(kind) };
        }
    }

    /// Records that the fetch has ended; `more`: it left rows of its kind.
    pub(super) fn fetch_ended(&mut self, kind: BacklogKind, more: bool) {
        if let Self::Fetching { again } = *self {
            let left = if more { Some(BacklogRows::from(kind).and(again)) } else { again };
            *self = left.map_or(Self::Idle, Self::Wanted);
        }
    }

    /// Records that none of the rows is wanted now: the webhook is disabled or removed, or the rows are another node's.
    /// A fetch under way continues.
    pub(super) fn dropped(&mut self) {
        *self = match self {
            Self::Idle | Self::Wanted(_) => Self::Idle,
            Self::Fetching { .. } => Self::Fetching { again: None },
        };
    }

    /// Returns whether nothing lies in the database and nothing is being fetched, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        *self == Self::Idle
    }

    /// Returns whether a new event passes nothing that was spilled. Replays wait behind it in any case.
    pub(super) fn lets_new_events_in(&self) -> bool {
        matches!(self, Self::Idle | Self::Wanted(BacklogRows::Replays))
    }

    /// Returns whether spilled rows are there to be fetched.
    pub(super) fn has_spilled(&self) -> bool {
        matches!(self, Self::Wanted(BacklogRows::Spilled | BacklogRows::Both))
    }

    /// Returns whether only replays are there to be fetched.
    pub(super) fn has_only_replays(&self) -> bool {
        *self == Self::Wanted(BacklogRows::Replays)
    }
}
