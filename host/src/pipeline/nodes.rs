//! This node among the others that serve the same database.
//!
//! Each node counts a heartbeat on, once a second. One whose counter stands still is dead: the others take up what it had in
//! memory. No two clocks are compared, and who has not beaten without a gap himself says nothing of others: after an outage
//! of the database nobody is dead at once.
//!
//! A node that does not reach the database stops beginning attempts in time for all of them to have ended before it can be
//! called dead. One that was called dead all the same, because it stood still, goes on under a new name.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Pipeline;
use super::sweep::LEASES_END_MS;
use crate::store::{Node, StoreError};

/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// Between two good heartbeats of one's own, a longer gap than this makes void what was seen of the others before.
const GAP: Duration = Duration::from_secs(5);

/// One heartbeat: when it was begun, and when it was answered.
#[derive(Debug, Clone, Copy)]
struct Beat {
    begun: Instant,
    answered: Instant,
}

/// What the heartbeats of the others have shown.
#[derive(Debug)]
pub(super) struct Watch {
    /// For how long a counter stands still before its node is dead.
    patience: Duration,
    /// The counters, and since when they are known to stand where they do.
    seen: HashMap<String, (i64, Instant)>,
    /// The last good heartbeat of one's own.
    last: Option<Beat>,
}

/// What has changed among the nodes.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    joined: Vec<String>,
    /// Removed by themselves or by another node.
    gone: Vec<String>,
    dead: Vec<Node>,
}

impl Watch {
    fn new(patience: Duration) -> Self {
        Self { patience, seen: HashMap::new(), last: None }
    }

    /// Takes in what a good heartbeat of one's own has shown.
    fn look(&mut self, nodes: &[Node], beat: Beat) -> News {
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

impl Pipeline {
    /// Joins the nodes that serve the database.
    pub(super) async fn join(&self) -> Result<Watch, StoreError> {
        let mut watch = Watch::new(self.0.parts.node_timeout);
        self.0.store.join(self.process(), self.0.time.of_day()).await?;
        self.beat(&mut watch).await?;
        Ok(watch)
    }

    /// Beats until the pipeline is stopped.
    pub(super) async fn keep_beating(self, mut watch: Watch) {
        while timeout(BEAT, self.0.stop.cancelled()).await.is_err() {
            if let Err(error) = self.beat(&mut watch).await {
                self.0.said.warn("the heartbeat of this node did not reach the database", &error);
            }
        }
    }

    /// This process is a node no longer: others take up what it has not sent.
    pub(super) async fn leave(&self) {
        let now = self.0.time.due();
        if let Err(error) = self.0.store.leave(self.process(), (now, now + LEASES_END_MS)).await {
            self.0.said.warn("leaving the other nodes failed; they will find this one dead", &error);
        }
    }

    async fn beat(&self, watch: &mut Watch) -> Result<(), StoreError> {
        let begun = Instant::now();
        let own = self.process();
        let Some(nodes) = self.0.store.beat(own.clone()).await? else {
            watch.seen.remove(&*own);
            return self.begin_anew().await;
        };
        let news = watch.look(&nodes, Beat { begun, answered: Instant::now() });
        let lasts = watch.patience.saturating_sub(self.0.parts.attempt_timeout);
        let unfenced = begun.checked_add(lasts).is_some_and(|fence| self.0.lanes.fence(fence));
        if self.0.lanes.nodes(u32::try_from(nodes.len()).unwrap_or(u32::MAX)) || unfenced {
            self.start_worker();
        }
        self.take_note(&news);
        for node in news.dead {
            self.bury(node).await?;
        }
        Ok(())
    }

    fn take_note(&self, news: &News) {
        let own = self.process();
        for node in news.joined.iter().filter(|node| ***node != *own) {
            tracing::info!(node, "another node serves this database");
        }
        for node in news.gone.iter().filter(|node| ***node != *own) {
            tracing::info!(node, "a node serves this database no longer");
            self.reconcile_at_once();
        }
    }

    async fn bury(&self, node: Node) -> Result<(), StoreError> {
        let (now, id) = (self.0.time.due(), node.id.clone());
        if let Some(deliveries) = self.0.store.bury(node, (now, now + LEASES_END_MS)).await? {
            tracing::warn!(node = id, deliveries, "a node is dead; taking up what it had begun");
            self.reconcile_at_once();
        }
        Ok(())
    }

    /// Others took this node for dead: what it had in memory is theirs. It goes on as a new one.
    async fn begin_anew(&self) -> Result<(), StoreError> {
        let new: Arc<str> = self.0.ids.next("run", self.0.time.of_day()).into();
        tracing::warn!(
            node = &*self.process(),
            now = &*new,
            "the other nodes took this one for dead, as it had stood still for too long; it goes on as a new one"
        );
        self.0.store.join(new.clone(), self.0.time.of_day()).await?;
        *self.0.process.write().unwrap_or_else(PoisonError::into_inner) = new;
        self.0.lanes.lose_all();
        self.reconcile_at_once();
        Ok(())
    }

    /// Has the sweep ask the database which lanes have something parked.
    pub(super) fn reconcile_at_once(&self) {
        self.0.reconcile.store(true, Ordering::Relaxed);
        self.0.wake_sweep.notify_one();
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
