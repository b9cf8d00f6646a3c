//! This node among the others that serve the same database.
//!
//! Each node counts a heartbeat on, once a second. One whose counter stands still is dead: the others take up what it had in
//! memory. No two clocks are compared, and who has not beaten without a gap himself says nothing of others: after an outage
//! of the database nobody is dead at once.
//!
//! A node that does not reach the database stops beginning attempts in time for all of them to have ended before it can be
//! called dead. One that was called dead all the same, because it stood still, goes on under a new name.

mod last_run;
mod watch;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Pipeline;
use super::sweep::{LEASES_END_MS, parked};
use crate::store::{Node, StoreError};
use last_run::LastRun;
use watch::{Beat, News, Watch};

/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);

/// What the heartbeat goes by.
pub(super) struct Heart {
    watch: Watch,
    last_run: LastRun,
}

impl Pipeline {
    /// Joins the nodes that serve the database.
    pub(super) async fn join(&self) -> Result<Heart, StoreError> {
        let watch = Watch::new(self.0.parts.node_timeout);
        let mut heart = Heart { watch, last_run: LastRun::of(&self.0.parts.data_dir) };
        self.0.store.join(self.process(), self.0.time.of_day()).await?;
        if let Some(dead) = heart.last_run.replace(&self.process()) {
            let freed = self.0.store.leave(dead.into(), self.leases_end()).await?;
            if freed > 0 {
                tracing::info!(deliveries = freed, "taking up what an earlier process had begun");
            }
        }
        self.beat(&mut heart).await?;
        Ok(heart)
    }

    /// Beats until the pipeline is stopped.
    pub(super) async fn keep_beating(self, mut heart: Heart) {
        while timeout(BEAT, self.0.stop.cancelled()).await.is_err() {
            if let Err(error) = self.beat(&mut heart).await {
                self.0.said.warn("the heartbeat of this node did not reach the database", &error);
            }
        }
    }

    /// This process is a node no longer: others take up what it has not sent.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.0.store.leave(self.process(), self.leases_end()).await {
            self.0.said.warn("leaving the other nodes failed; they will find this one dead", &error);
        }
    }

    async fn beat(&self, heart: &mut Heart) -> Result<(), StoreError> {
        let watch = &mut heart.watch;
        let begun = Instant::now();
        let own = self.process();
        let Some(nodes) = self.0.store.beat(own.clone()).await? else {
            watch.forget(&own);
            return self.begin_anew(&mut heart.last_run).await;
        };
        let news = watch.look(&nodes, Beat { begun, answered: Instant::now() });
        let lasts = watch.patience.saturating_sub(self.0.parts.attempt_timeout);
        if begun.checked_add(lasts).is_some_and(|fence| self.0.lanes.fence(fence)) {
            self.start_worker();
        }
        if self.0.lanes.nodes(u32::try_from(nodes.len()).unwrap_or(u32::MAX)) {
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
        let id = node.id.clone();
        if let Some(deliveries) = self.0.store.bury(node, self.leases_end()).await? {
            tracing::warn!(node = id, deliveries, "a node is dead; taking up what it had begun");
            self.reconcile_at_once();
        }
        Ok(())
    }

    /// Others took this node for dead: what it had in memory is theirs. It goes on as a new one.
    async fn begin_anew(&self, last_run: &mut LastRun) -> Result<(), StoreError> {
        let new: Arc<str> = self.0.ids.next("run", self.0.time.of_day()).into();
        tracing::warn!(
            node = &*self.process(),
            now = &*new,
            "the other nodes took this one for dead, as it had stood still for too long; it goes on as a new one"
        );
        self.0.store.join(new.clone(), self.0.time.of_day()).await?;
        *self.0.process.write().unwrap_or_else(PoisonError::into_inner) = new;
        last_run.replace(&self.process());
        // What it had begun to store under the old name after that was removed is nobody's else.
        for job in self.0.lanes.lose_all() {
            self.0.store.finish(parked(&job)).await;
        }
        let written = self.0.store.written().await;
        self.reconcile_at_once();
        written
    }

    /// Now, and the last instant at which a lease can end.
    fn leases_end(&self) -> (i64, i64) {
        let now = self.0.time.due();
        (now, now + LEASES_END_MS)
    }

    /// Has the sweep ask the database which lanes have something parked.
    pub(super) fn reconcile_at_once(&self) {
        self.0.reconcile.store(true, Ordering::Relaxed);
        self.0.wake_sweep.notify_one();
    }
}
