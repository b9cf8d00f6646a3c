//! Waiting deliveries as the metrics show them: how many in each state, and for how long.

/// The waiting deliveries of one state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingCount {
    /// How many there are, or at least are: counting stops at a limit.
    pub count: i64,
    /// When the oldest event was accepted, in milliseconds since 1970; `None` if there is none.
    pub oldest: Option<i64>,
}

impl WaitingCount {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
    }
}

/// The deliveries that wait in the database, by state; those in memory are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// They wait for the time of a retry.
    pub scheduled: WaitingCount,
    /// They are in the backlog of their webhook's queue.
    pub backlog: WaitingCount,
    /// Their webhook is disabled, whatever else they wait for.
    pub disabled: WaitingCount,
    /// They are part of a replay, and wait behind all others of their webhook.
    pub replayed: WaitingCount,
    /// They wait for the consumer of their webhook.
    pub pulled: WaitingCount,
}

impl Waiting {
    /// Adds the deliveries of other webhooks.
    pub fn add(&mut self, other: Self) {
        self.scheduled.add(other.scheduled);
        self.backlog.add(other.backlog);
        self.disabled.add(other.disabled);
        self.replayed.add(other.replayed);
        self.pulled.add(other.pulled);
    }

    /// Adds deliveries of disabled webhooks.
    pub fn add_disabled(&mut self, counts: impl IntoIterator<Item = WaitingCount>) {
        counts.into_iter().for_each(|count| self.disabled.add(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_the_oldest_is_kept() {
        let of = |count, oldest| WaitingCount { count, oldest };
        let mut waiting = Waiting { scheduled: of(1, Some(5)), ..Waiting::default() };
        let pulled = of(2, Some(1));
        waiting.add(Waiting { scheduled: of(2, Some(3)), backlog: of(4, Some(9)), pulled, ..Waiting::default() });
        waiting.add_disabled([of(1, None), of(1, Some(7)), of(0, Some(8))]);
        let expected = Waiting {
            scheduled: of(3, Some(3)),
            backlog: of(4, Some(9)),
            disabled: of(2, Some(7)),
            replayed: of(0, None),
            pulled,
        };
        assert_eq!(waiting, expected);
    }
}
