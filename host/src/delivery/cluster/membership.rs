//! Which nodes are alive, as one of them sees it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::queue::Fence;
use crate::store::Node;

/// A longer gap between two successful heartbeats of this node invalidates its earlier observations of the others.
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// One heartbeat of this node: when it began, and when the database answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat {
    pub(super) begun: Instant,
    pub(super) answered: Instant,
}

/// A node's counter, and since when it is known to stand still.
#[derive(Debug, Clone, Copy)]
struct Observation {
    counter: i64,
    since: Instant,
}

/// The nodes as their heartbeats show them.
#[derive(Debug)]
pub(in crate::delivery) struct Membership {
    /// How long a counter stands still before its node is dead.
    node_timeout: Duration,
    nodes: HashMap<String, Observation>,
    /// The last successful heartbeat of this node.
    last: Option<Beat>,
}

/// The differences between two observations.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MembershipChange {
    pub(super) joined: Vec<String>,
    /// Removed by themselves or by another node.
    pub(super) gone: Vec<String>,
    pub(super) dead: Vec<Node>,
}

impl Membership {
    /// A node is dead if its counter stands still for `node_timeout`.
    pub(in crate::delivery) fn new(node_timeout: Duration) -> Self {
        Self { node_timeout, nodes: HashMap::new(), last: None }
    }

    /// Forgets a former name of this node, so that its absence is not reported.
    pub(super) fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// When this node has to stop, unless it beats again: all of its attempts have to end before the others can declare it
    /// dead, which they can `node_timeout` after the heartbeat that began at `begun`. It stops to begin attempts early enough
    /// for those of up to `attempt_timeout` to end by themselves; longer ones are ended.
    pub(super) fn fence(&self, begun: Instant, attempt_timeout: Duration) -> Option<Fence> {
        let begins_none_from = begun.checked_add(self.node_timeout.saturating_sub(attempt_timeout))?;
        Some(Fence { begins_none_from, attempts_end_at: begun.checked_add(self.node_timeout)? })
    }

    /// Takes in the counters that a successful heartbeat of this node has read.
    pub(super) fn observe(&mut self, nodes: &[Node], beat: Beat) -> MembershipChange {
        let gap = LONGEST_GAP.min(self.node_timeout / 2);
        let unbroken = self.last.is_some_and(|last| beat.answered.duration_since(last.answered) <= gap);
        self.last = Some(beat);
        let mut change = MembershipChange::default();
        let before = std::mem::take(&mut self.nodes);
        for node in nodes {
            // From the answer that first showed the counter to the question that last did: it stood still at least as long.
            let since = match before.get(&node.id) {
                Some(seen) if seen.counter == node.beat && unbroken => seen.since,
                _ => beat.answered,
            };
            if !before.contains_key(&node.id) {
                change.joined.push(node.id.clone());
            }
            if beat.begun.checked_duration_since(since).is_some_and(|still| still >= self.node_timeout) {
                change.dead.push(node.clone());
            }
            self.nodes.insert(node.id.clone(), Observation { counter: node.beat, since });
        }
        change.gone.extend(before.into_keys().filter(|id| !self.nodes.contains_key(id)));
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn nodes(beats: &[(&str, i64)]) -> Vec<Node> {
        beats.iter().map(|(id, beat)| Node { id: (*id).into(), beat: *beat }).collect()
    }

    /// Observes once a second over these seconds, its own counter going on, and returns the second at which `b` was dead.
    fn dies(
        membership: &mut Membership,
        origin: Instant,
        seconds: std::ops::RangeInclusive<u32>,
        b: impl Fn(u32) -> i64,
    ) -> Option<u32> {
        seconds.into_iter().find(|second| {
            let at = origin + *second * SECOND;
            let change = membership
                .observe(&nodes(&[("a", i64::from(*second)), ("b", b(*second))]), Beat { begun: at, answered: at });
            !change.dead.is_empty()
        })
    }

    #[test]
    fn node_whose_counter_stands_still_is_dead_and_no_other() {
        let (mut membership, origin) = (Membership::new(30 * SECOND), Instant::now());
        assert_eq!(dies(&mut membership, origin, 0..=100, |second| i64::from(second / 29)), None);
        let mut membership = Membership::new(30 * SECOND);
        assert_eq!(dies(&mut membership, origin, 0..=100, |second| i64::from(second.min(10))), Some(40));
    }

    #[test]
    fn node_whose_own_heartbeat_had_a_gap_declares_nobody_dead() {
        let (mut membership, origin) = (Membership::new(30 * SECOND), Instant::now());
        assert_eq!(dies(&mut membership, origin, 0..=29, |_| 7), None);
        // The database was away, or this process stood still.
        assert_eq!(dies(&mut membership, origin, 60..=89, |_| 7), None);
        assert_eq!(dies(&mut membership, origin, 90..=95, |_| 7), Some(90));
    }

    #[test]
    fn duration_of_a_heartbeat_does_not_count_as_standing_still() {
        let (mut membership, origin) = (Membership::new(3 * SECOND), Instant::now());
        let mut dead = |begun: u32, answered: u32| {
            let at = |tenths: u32| origin + tenths * SECOND / 10;
            membership.observe(&nodes(&[("b", 1)]), Beat { begun: at(begun), answered: at(answered) }).dead.len()
        };
        assert_eq!([dead(0, 10), dead(20, 24), dead(30, 31), dead(39, 45), dead(50, 51)], [0, 0, 0, 0, 1]);
    }

    #[test]
    fn joining_and_leaving_are_reported_once() {
        let (mut membership, at) = (Membership::new(30 * SECOND), Instant::now());
        let beat = Beat { begun: at, answered: at };
        assert_eq!(membership.observe(&nodes(&[("a", 1), ("b", 1)]), beat).joined, ["a", "b"]);
        let change = membership.observe(&nodes(&[("a", 2), ("c", 1)]), beat);
        assert_eq!(change, MembershipChange { joined: vec!["c".into()], gone: vec!["b".into()], dead: Vec::new() });
        assert_eq!(membership.observe(&nodes(&[("a", 3), ("c", 2)]), beat), MembershipChange::default());
    }

    #[test]
    fn fence_leaves_time_for_an_attempt_and_ends_longer_ones() {
        let (membership, begun) = (Membership::new(30 * SECOND), Instant::now());
        let fence = |attempt_timeout| {
            let fence = membership.fence(begun, attempt_timeout).unwrap();
            (fence.begins_none_from - begun, fence.attempts_end_at - begun)
        };
        assert_eq!(fence(15 * SECOND), (15 * SECOND, 30 * SECOND));
        assert_eq!(fence(60 * SECOND), (Duration::ZERO, 30 * SECOND), "no attempt is short enough");
    }
}
