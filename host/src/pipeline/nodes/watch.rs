//! Which nodes live, as one of them sees it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Node;

/// Between two good heartbeats of one's own, a longer gap than this makes void what was seen of the others before.
const GAP: Duration = Duration::from_secs(5);

/// One heartbeat: when it was begun, and when it was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat {
    pub(super) begun: Instant,
    pub(super) answered: Instant,
}

/// What the heartbeats of the others have shown.
#[derive(Debug)]
pub(super) struct Watch {
    /// For how long a counter stands still before its node is dead.
    pub(super) patience: Duration,
    /// The counters, and since when they are known to stand where they do.
    seen: HashMap<String, (i64, Instant)>,
    /// The last good heartbeat of one's own.
    last: Option<Beat>,
}

/// What has changed among the nodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) joined: Vec<String>,
    /// Removed by themselves or by another node.
    pub(super) gone: Vec<String>,
    pub(super) dead: Vec<Node>,
}

impl Watch {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, seen: HashMap::new(), last: None }
    }

    /// A node, once this one itself, is none any more: that is no news.
    pub(super) fn forget(&mut self, node: &str) {
        self.seen.remove(node);
    }

    /// Takes in what a good heartbeat of one's own has shown.
    pub(super) fn look(&mut self, nodes: &[Node], beat: Beat) -> News {
        let gap = GAP.min(self.patience / 2);
        let unbroken = self.last.is_some_and(|last| beat.answered.duration_since(last.answered) <= gap);
        self.last = Some(beat);
        let mut news = News::default();
        let before = std::mem::take(&mut self.seen);
        for node in nodes {
            // From the answer that first showed the counter to the question that last did: it stood still at least as long.
            let since = match before.get(&node.id) {
                Some((counter, since)) if *counter == node.beat && unbroken => *since,
                _ => beat.answered,
            };
            if !before.contains_key(&node.id) {
                news.joined.push(node.id.clone());
            }
            if beat.begun.checked_duration_since(since).is_some_and(|still| still >= self.patience) {
                news.dead.push(node.clone());
            }
            self.seen.insert(node.id.clone(), (node.beat, since));
        }
        news.gone.extend(before.into_keys().filter(|id| !self.seen.contains_key(id)));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn nodes(beats: &[(&str, i64)]) -> Vec<Node> {
        beats.iter().map(|(id, beat)| Node { id: (*id).into(), beat: *beat }).collect()
    }

    /// Looks once a second from `from` to `to`, its own counter going on, and answers the second at which `b` was dead.
    fn dies(watch: &mut Watch, origin: Instant, (from, to): (u32, u32), b: impl Fn(u32) -> i64) -> Option<u32> {
        (from..=to).find(|second| {
            let at = origin + *second * SECOND;
            let news =
                watch.look(&nodes(&[("a", i64::from(*second)), ("b", b(*second))]), Beat { begun: at, answered: at });
            !news.dead.is_empty()
        })
    }

    #[test]
    fn a_node_whose_counter_stands_still_is_dead_and_no_other() {
        let (mut watch, origin) = (Watch::new(30 * SECOND), Instant::now());
        assert_eq!(dies(&mut watch, origin, (0, 100), |second| i64::from(second / 29)), None);
        let mut watch = Watch::new(30 * SECOND);
        assert_eq!(dies(&mut watch, origin, (0, 100), |second| i64::from(second.min(10))), Some(40));
    }

    #[test]
    fn who_has_not_beaten_himself_calls_nobody_dead() {
        let (mut watch, origin) = (Watch::new(30 * SECOND), Instant::now());
        assert_eq!(dies(&mut watch, origin, (0, 29), |_| 7), None);
        // The database was away, or this process stood still.
        assert_eq!(dies(&mut watch, origin, (60, 89), |_| 7), None);
        assert_eq!(dies(&mut watch, origin, (90, 95), |_| 7), Some(90));
    }

    #[test]
    fn the_time_of_the_heartbeats_themselves_is_not_counted() {
        let (mut watch, origin) = (Watch::new(3 * SECOND), Instant::now());
        let mut look = |begun: u32, answered: u32| {
            let at = |tenths: u32| origin + tenths * SECOND / 10;
            watch.look(&nodes(&[("b", 1)]), Beat { begun: at(begun), answered: at(answered) }).dead.len()
        };
        assert_eq!([look(0, 10), look(20, 24), look(30, 31), look(39, 45), look(50, 51)], [0, 0, 0, 0, 1]);
    }

    #[test]
    fn who_comes_and_goes_is_told_once() {
        let (mut watch, at) = (Watch::new(30 * SECOND), Instant::now());
        let beat = Beat { begun: at, answered: at };
        assert_eq!(watch.look(&nodes(&[("a", 1), ("b", 1)]), beat).joined, ["a", "b"]);
        let news = watch.look(&nodes(&[("a", 2), ("c", 1)]), beat);
        assert_eq!(news, News { joined: vec!["c".into()], gone: vec!["b".into()], dead: Vec::new() });
        assert_eq!(watch.look(&nodes(&[("a", 3), ("c", 2)]), beat), News::default());
    }
}
